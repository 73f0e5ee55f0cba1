"""How much of a trace's prompts is found in a prefix cache, whoever routes: `python -m bench.prefix TRACE.jsonl`.

The trace names its prompts' blocks (Mooncake's JSONL). Time is virtual; deciding, learning and the index are the
router's own. Each backend reads one prompt at a time, keeps what its memory has room for, least recently used first,
and says truthfully what it had cached. Speeds are the router's own prior: this is about caches, not about speed.
"""

from __future__ import annotations

import heapq
import random
import statistics
import sys
import time
import tracemalloc
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from backends.contract import Chunk, FinishReason, Usage
from backends.scripted import ScriptedBackend
from router.clock import FakeClock
from router.dispatch.affinity import Affinity, memory_tokens
from router.dispatch.decider import Decider
from router.dispatch.feedback import OK, Attempt, Feedback
from router.dispatch.fleet import Fleet
from router.dispatch.loads import Loads
from router.domain.fleet import Backend, ServedModel
from router.domain.prefix_cache import BLOCK_TOKENS, MAX_BLOCKS, OPTION
from router.domain.pricing import Price, book_of
from router.domain.replica import Replica
from router.domain.request import RequestProfile
from router.domain.rows import Forecast
from router.domain.snapshot import FleetSnapshot
from router.prediction.output_length import OutputLength
from router.prediction.prefixes import Prefixes, Room
from router.settings import Settings, load
from router.telemetry.metrics import Metrics
from simulation.virtual.traces import Ask, read

CONFIG = Path(__file__).parents[1] / "config"
MODEL = "llama-3.3-70b"
HARDWARE = "h100-sxm-80"
DEVICES = 4
TPOT_S = 0.03
USD_PER_HOUR = 11.8
ELASTIC = 0.0
TICK_S = 0.1

# Among the candidates of a plan, the one to send to.
Choose = Callable[[list[Forecast]], Forecast]


class Machine:
    """A backend's prefill queue and its cache."""

    def __init__(self, blocks: int) -> None:
        self._room = blocks
        self._held: OrderedDict[int, None] = OrderedDict()
        self._free_at = 0.0
        self.tokens = 0.0

    def prefill(self, at: float, seconds: float) -> float:
        """When a prompt that comes at a time and takes so long has been read."""
        self._free_at = max(at, self._free_at) + seconds
        return self._free_at

    def read(self, blocks: tuple[int, ...]) -> int:
        """How many of the first blocks it had; now it has them all, as far as there is room."""
        had = 0
        for block in blocks:
            if block not in self._held:
                break
            had += 1
        for block in reversed(blocks):
            self._held[block] = None
            self._held.move_to_end(block)
        while len(self._held) > self._room:
            self._held.popitem(last=False)
        return had


@dataclass
class Result:
    """What came of one replay. `cached` and `believed` are tokens, `waits` seconds to the first token."""

    name: str
    asked: float = 0.0
    cached: float = 0.0
    believed: float = 0.0
    missed_belief: float = 0.0
    waits: list[float] = field(default_factory=list)
    busiest: float = 0.0
    entries: int = 0
    room: int = 0

    def add(self, forecast: Forecast, had: int) -> None:
        believed = forecast.input_tokens - forecast.fresh_tokens
        self.asked += forecast.input_tokens
        self.cached += had
        self.believed += believed
        self.missed_belief += max(0.0, believed - had)

    def row(self) -> list[str]:
        share = 100.0 * self.cached / self.asked
        if not self.waits:
            return [self.name, f"{share:.1f} %", *[""] * 6]
        cuts = statistics.quantiles(self.waits, n=100)
        wrong = 100.0 * self.missed_belief / self.asked
        return [
            self.name,
            f"{share:.1f} %",
            f"{100.0 * self.believed / self.asked:.1f} %" if self.believed else "",
            f"{wrong:.1f} %" if self.believed else "",
            f"{statistics.fmean(self.waits):.2f}",
            f"{cuts[89]:.2f}",
            f"{self.busiest:.2f}",
            str(self.entries or ""),
        ]


class Router:
    """One router: its own decider, feedback and index over the same fleet."""

    def __init__(
        self, clock: FakeClock, settings: Settings, snapshot: FleetSnapshot, number: int, *, shares: bool
    ) -> None:
        self.fleet = Fleet(
            catalogue=settings.catalogue, build_adapter=ScriptedBackend, clock=clock, policies=settings.policies
        )
        self.fleet.apply(snapshot)
        self.affinity = Affinity(self.fleet)
        lengths = OutputLength()
        shared: dict[str, Any] = {"fleet": self.fleet, "lengths": lengths, "clock": clock, "affinity": self.affinity}
        self.decider = Decider(**shared, uniform=random.Random(number).random, age=lambda: 0.0)
        self.feedback = Feedback(**shared, metrics=Metrics())
        self.loads = Loads(
            fleet=self.fleet,
            busy=self.feedback.busy,
            passive=self.feedback.passive,
            clock=clock,
            replica=str(number),
            affinity=self.affinity if shares else None,
        )


class Agenda:
    """What happens when, on a clock that it moves; ten times a second the routers tick, and hear each other."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.routers: list[Router] = []
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0
        self._ticked = 0.0

    def add(self, at: float, act: Callable[[], object]) -> None:
        self._count += 1
        heapq.heappush(self._due, (at, self._count, act))

    def until(self, at: float) -> None:
        while self._ticked + TICK_S <= at:
            self._ticked += TICK_S
            self._act_until(self._ticked)
            beats = tuple([Replica(beat=router.loads.beat()) for router in self.routers])
            for router in self.routers:
                router.feedback.tick(self._ticked)
                router.loads.heard(beats, self._ticked)
        self._act_until(at)

    def _act_until(self, at: float) -> None:
        while self._due and self._due[0][0] <= at:
            when, _, act = heapq.heappop(self._due)
            self.clock.advance(max(0.0, when - self.clock.monotonic()))
            act()
        self.clock.advance(max(0.0, at - self.clock.monotonic()))


def fleet_of(backends: int, cache_tokens: int | None) -> FleetSnapshot:
    """So many equal ones."""
    ids = [f"gpu-{n}" for n in range(backends)]
    return FleetSnapshot(
        version=1,
        backends={
            name: Backend(
                id=name,
                wire="scripted",
                address=f"http://{name}",
                models=(ServedModel(model=MODEL),),
                hardware=HARDWARE,
                hardware_count=DEVICES,
                max_concurrency=256,
                options=((OPTION, f"tokens={cache_tokens}"),) if cache_tokens else (),
            )
            for name in ids
        },
        prices={
            (name, ""): book_of(Price(backend=name, usd_per_hour=USD_PER_HOUR, elastic_fraction=ELASTIC))
            for name in ids
        },
    )


def replay(
    name: str,
    asks: list[Ask],
    *,
    backends: int,
    cache_tokens: int | None = None,
    replicas: int = 1,
    shares: bool = True,
    blind: bool = False,
    choose: Choose | None = None,
) -> Result:
    """Replays a trace.

    `blind` routers are not told of blocks, and without `shares` they do not tell each other what was read; `choose`
    stands for the router's own choice.
    """
    agenda = Agenda(FakeClock(now=0.0))
    settings, snapshot = load(CONFIG, {}), fleet_of(backends, cache_tokens)
    routers = [Router(agenda.clock, settings, snapshot, n, shares=shares) for n in range(replicas)]
    agenda.routers = routers
    rows = routers[0].fleet.rows_for(MODEL)
    room = int((cache_tokens or memory_tokens(rows[0])) / BLOCK_TOKENS)
    machines = {row.id: Machine(room) for row in rows}
    draws = random.Random(7)
    result = Result(name, room=room)
    for ask in asks:
        agenda.until(ask.at_s)
        router = routers[draws.randrange(replicas)]
        profile = RequestProfile(
            request_id=str(ask.number),
            model=MODEL,
            input_tokens=float(ask.input_tokens),
            blocks=() if blind else ask.blocks[:MAX_BLOCKS],
        )
        ordered = router.decider.plan(profile).ranking.ordered
        forecast = choose(ordered) if choose is not None else ordered[0]
        attempt = router.feedback.begin(forecast, force=True, blocks=profile.blocks)
        assert attempt is not None
        machine = machines[forecast.row.id]
        had = min(machine.read(ask.blocks) * BLOCK_TOKENS, ask.input_tokens)
        result.add(forecast, had)
        first_at = machine.prefill(ask.at_s, forecast.row.speed.prefill_s(float(ask.input_tokens - had)))
        machine.tokens += ask.input_tokens - had
        result.waits.append(first_at - ask.at_s)
        usage = Usage(input=ask.input_tokens, cached_input=had, output=ask.output_tokens)
        agenda.add(first_at, partial(attempt.take, Chunk(events=1)))
        agenda.add(first_at + TPOT_S * ask.output_tokens, partial(finish, attempt, usage))
    loads = [machine.tokens for machine in machines.values()]
    result.busiest = max(loads) / statistics.fmean(loads)
    result.entries = max(len(router.affinity) for router in routers)
    return result


def finish(attempt: Attempt, usage: Usage) -> None:
    """The last token came."""
    attempt.take(Chunk(events=usage.output - 1, usage=usage, finish_reason=FinishReason.STOP))
    attempt.close(OK)


def bound(name: str, asks: list[Ask], *, blocks: int) -> Result:
    """One cache for all, of this size: what no router over several can do better than, as far as it has the room."""
    result, machine = Result(name), Machine(blocks)
    for ask in asks:
        result.asked += ask.input_tokens
        result.cached += min(machine.read(ask.blocks) * BLOCK_TOKENS, ask.input_tokens)
    return result


def lookups(asks: list[Ask]) -> tuple[float, float, float]:
    """Microseconds a block to look up and to store, and bytes for each entry, over the trace itself."""
    index, room = Prefixes(), Room(blocks=1 << 20, ttl_s=float("inf"))
    looked = stored = 0
    look_s = store_s = 0.0
    for ask in asks:
        blocks = ask.blocks[:MAX_BLOCKS]
        if not blocks:
            continue
        now = time.process_time()
        found = index.match("m", blocks, ask.at_s)
        between = time.process_time()
        index.store("m", f"b{ask.number % 8}", blocks, now=ask.at_s, room=room)
        after = time.process_time()
        looked += min(len(blocks), max(found.values(), default=0) + 1)
        stored += len(blocks)
        look_s += between - now
        store_s += after - between
    tracemalloc.start()
    full = Prefixes()
    for ask in asks:
        fresh = tuple(int(block) + (1 << 40) for block in ask.blocks[:MAX_BLOCKS])
        full.store("m", f"b{ask.number % 8}", fresh, now=ask.at_s, room=room)
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return 1e6 * look_s / looked, 1e6 * store_s / stored, used / max(1, len(full))


@click.command(help=__doc__.split("\n", 1)[0] if __doc__ else None)
@click.argument("trace", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--backends", default=8, show_default=True, help="How many equal ones, of four H100 with a 70B each.")
@click.option("--cache-tokens", type=int, help="What each keeps of prompts; default: what its memory has room for.")
@click.option("--limit", type=int, default=None, help="Only so many requests of the trace.")
def main(trace: Path, backends: int, cache_tokens: int | None, limit: int | None) -> None:
    asks = read(trace, limit=limit)
    console = Console(width=150)
    ring = iter(range(sys.maxsize))
    drawn = random.Random(7)
    fleet: dict[str, Any] = {"asks": asks, "backends": backends, "cache_tokens": cache_tokens}
    results = [
        bound("bound: one cache without end", asks, blocks=sys.maxsize),
        replay("router", **fleet),
        replay("router, four replicas", **fleet, replicas=4),
        replay("router, four that tell each other nothing of prompts", **fleet, replicas=4, shares=False),
        replay("router, blind to prompts", **fleet, blind=True),
        replay("round robin", **fleet, blind=True, choose=lambda f: by_name(f)[next(ring) % len(f)]),
        replay("random", **fleet, blind=True, choose=lambda f: f[drawn.randrange(len(f))]),
    ]
    together = backends * results[1].room
    results.insert(1, bound(f"bound: one cache of all their memory, {together} blocks", asks, blocks=together))
    table = Table("", "cached", "believed", "of it wrong", "TTFT mean s", "p90 s", "busiest/mean", "entries")
    for result in results:
        table.add_row(*result.row())
    tokens = sum(ask.input_tokens for ask in asks)
    console.print(f"{trace.name}: {len(asks)} requests, {tokens:,} prompt tokens, {backends} backends")
    console.print(table)
    look, store, size = lookups(asks)
    console.print(f"index: {look:.2f} us a block looked up, {store:.2f} us a block stored, {size:.0f} bytes an entry")


def by_name(forecasts: list[Forecast]) -> list[Forecast]:
    return sorted(forecasts, key=lambda forecast: forecast.row.id)


if __name__ == "__main__":
    main()
