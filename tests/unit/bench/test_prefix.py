"""The replay of prompts through caches: knowing prompts finds more of them, and none finds what is not there."""

from __future__ import annotations

import random

from bench.prefix import bound, replay
from simulation.virtual.traces import Ask

BACKENDS = 4
CACHE_TOKENS = 1000 * 512


def conversations(count: int) -> list[Ask]:
    """Each of four turns, two new blocks a turn, taken up again some seconds later; all under one system prompt."""
    rng = random.Random(7)
    asks = []
    for talk in range(count):
        at, blocks = rng.uniform(0.0, 60.0), [1, 2]
        for turn in range(4):
            blocks += [100 * talk + 10 * turn + 1_000, 100 * talk + 10 * turn + 1_001]
            asks.append((at, tuple(blocks)))
            at += rng.uniform(15.0, 30.0)
    return [
        Ask(number=n, at_s=at, input_tokens=512 * len(blocks) + 50, output_tokens=100, blocks=blocks)
        for n, (at, blocks) in enumerate(sorted(asks))
    ]


def test_knowing_prompts_finds_more_of_them_and_no_more_than_there_is() -> None:
    """With prompts known, far more is cached than without; what was believed was there, and the bound is not passed."""
    asks = conversations(400)
    known = replay("known", asks, backends=BACKENDS, cache_tokens=CACHE_TOKENS)
    blind = replay("blind", asks, backends=BACKENDS, cache_tokens=CACHE_TOKENS, blind=True)
    most = bound("bound", asks, blocks=1_000_000)
    assert blind.cached < 0.8 * known.cached
    assert known.cached <= most.cached
    assert known.missed_belief < 0.1 * known.believed
    assert known.asked == blind.asked == most.asked


def test_replicas_that_tell_each_other_find_more() -> None:
    """Turns of one conversation come in at any of three routers; what one has read the others know."""
    asks = conversations(400)
    told, untold = (
        replay("r", asks, backends=BACKENDS, cache_tokens=CACHE_TOKENS, replicas=3, shares=shares)
        for shares in (True, False)
    )
    assert told.cached > 1.1 * untold.cached
