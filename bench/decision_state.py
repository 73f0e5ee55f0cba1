"""What a backend's learned state takes: bytes of Python objects, with everything that it can come to hold."""

from __future__ import annotations

import math
import random
import tracemalloc
from collections.abc import Callable

from bench.decision_job import State
from router.domain.learned import RESIDUALS, Learned
from router.domain.live import Live
from router.domain.quality import MAX_TASKS, Quality
from router.prediction import learning
from router.prediction.coefficients import COUNT
from router.prediction.prefixes import MAX_ENTRIES, Prefixes, Room

# Backends of a fleet share what is known of its models.
MODELS = 20
SAMPLE = 256
CHAIN = 32
# Of each row of a large fleet: coefficients and load in single precision, the residuals' table, facts, places.
VECTORS = 4.0 * COUNT + 4.0 * 33 + 96.0


def teach(learned: Learned, rng: random.Random, answers: int) -> None:
    """Gives a belief so many answers to learn from, each with an error of its own."""
    off = rng.gauss(0.0, 0.3)
    for n in range(answers):
        learning.observe(
            learned,
            prior_ttft_s=0.1,
            prior_tpot_s=0.01,
            ttft_s=0.1 * math.exp(rng.gauss(off, 0.25)),
            tpot_s=0.01 * math.exp(rng.gauss(off, 0.05)),
            now=float(n),
            batch=float(rng.randrange(64)),
            prompt_tokens=rng.uniform(50.0, 4000.0),
            context_tokens=rng.uniform(100.0, 4000.0),
        )


def measure(backends: int) -> State:
    """Of one backend among so many."""
    rng = random.Random(3)
    return State(
        learned=_bytes(lambda: [_known(rng) for _ in range(SAMPLE)]) / SAMPLE,
        prefixes=_bytes(lambda: _prefixes(rng, backends)) / backends,
        quality=MODELS * _bytes(lambda: _graded(rng)) / backends,
        vectors=VECTORS,
    )


def _known(rng: random.Random) -> tuple[Live, Learned]:
    live, learned = Live(), Learned(prior_sd_log=0.3)
    teach(learned, rng, 2 * RESIDUALS)
    # A decision makes the table of its residuals.
    learned.tail.within(0.1)
    for name in ("others", "peers", "elsewhere", "prefill_tokens", "running", "waiting", "open_until", "failure_rate"):
        setattr(live, name, rng.random())
    return live, learned


def _prefixes(rng: random.Random, backends: int) -> Prefixes:
    """As many blocks as are kept, in conversations of `CHAIN` blocks."""
    index, room = Prefixes(), Room(blocks=1 << 20, ttl_s=math.inf)
    for _ in range(MAX_ENTRIES // CHAIN):
        blocks = tuple(rng.getrandbits(62) for _ in range(CHAIN))
        index.store("m", f"b{rng.randrange(backends):05d}", blocks, now=1.0, room=room)
    return index


def _graded(rng: random.Random) -> Quality:
    quality = Quality()
    for n in range(MAX_TASKS):
        quality.observe(f"task-{n}", rng.random())
    return quality


def _bytes(make: Callable[[], object]) -> float:
    """What is still allocated when something was made."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    made = make()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del made
    return float(after - before)
