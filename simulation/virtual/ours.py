"""The router itself in virtual time: its own fleet, decider, feedback and loads, one set for each replica.

No adapter is ever called: an attempt is begun, told of its tokens when they come in virtual time, and closed.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import cast

from backends.contract import Backend as Adapter
from backends.contract import Chunk, FinishReason, Usage
from backends.errors import BackendError, by_code
from backends.spec import BackendSpec
from router.dispatch.affinity import Affinity
from router.dispatch.decider import Decider, Plan
from router.dispatch.feedback import OK, Attempt, Feedback
from router.dispatch.fleet import Fleet, Member
from router.dispatch.loads import Loads
from router.domain.prefix_cache import BLOCK_TOKENS, MAX_BLOCKS
from router.domain.pricing import Price, book_of
from router.domain.replica import Beat, Replica
from router.domain.request import RequestProfile
from router.domain.rows import Forecast
from router.domain.snapshot import FleetSnapshot
from router.prediction.output_length import OutputLength
from router.scheduling import filters
from router.telemetry.metrics import Metrics
from simulation.virtual.loop import Loop
from simulation.virtual.policy import Choice, Served
from simulation.virtual.scenario import Scenario
from simulation.virtual.servers import Engine, Server
from simulation.virtual.traces import Ask

# The collector's, whose tick this is: half of what is known of a backend's utilisation is from the last minute.
UTILISATION_GAIN = 1.0 - 2.0 ** (-0.2 / 60.0)
# Ticks between two probes of an engine: two seconds.
PROBE_TICKS = 10

Pick = Callable[[Plan, list[Forecast]], Forecast]


class _Line:
    """What stands for an adapter: the fleet wants one, and nobody calls it."""

    def __init__(self, spec: BackendSpec) -> None:
        self.spec = spec


class RouterReplica:
    """One replica of the router."""

    def __init__(self, scenario: Scenario, loop: Loop, number: int, heard: Callable[[], float]) -> None:
        self.name = f"r{number}"
        lengths = OutputLength()
        self.fleet = Fleet(
            catalogue=scenario.site.catalogue,
            build_adapter=lambda spec: cast(Adapter, _Line(spec)),
            clock=loop,
            policies=scenario.site.policies,
        )
        affinity = Affinity(self.fleet)
        self.feedback = Feedback(fleet=self.fleet, lengths=lengths, metrics=Metrics(), clock=loop, affinity=affinity)
        self.decider = Decider(
            fleet=self.fleet,
            lengths=lengths,
            clock=loop,
            uniform=random.Random(scenario.seed * 1_000 + number).random,
            age=heard,
            affinity=affinity,
        )
        self.loads = Loads(
            fleet=self.fleet,
            busy=self.feedback.busy,
            passive=self.feedback.passive,
            clock=loop,
            replica=self.name,
        )


class RouterGroup:
    """Replicas of the router. `pick` chooses among the forecasts; None: the router's own choice.

    `true_lengths`: callers say how long their answers will be, and are right.
    """

    follows = True

    def __init__(
        self,
        scenario: Scenario,
        servers: dict[str, Server],
        loop: Loop,
        *,
        pick: Pick | None = None,
        true_lengths: bool = False,
    ) -> None:
        self._scenario = scenario
        self._servers = servers
        self._loop = loop
        self._pick = pick
        self._true_lengths = true_lengths
        self._heard_at = 0.0
        self._replicas = [RouterReplica(scenario, loop, n, self._age) for n in range(scenario.replicas)]
        self._beats: deque[tuple[float, list[Beat]]] = deque()
        joins = {event.backend for event in scenario.events if event.kind == "join"}
        site = scenario.site
        self._snapshot = FleetSnapshot(
            version=1,
            backends={b.id: b for b in site.backends if b.id not in joins},
            prices={(name, ""): book_of(replace(price, model="")) for name, price in site.prices.items()},
        )
        self._scrapes = 0
        self._apply()

    def _age(self) -> float:
        return self._loop.now - self._heard_at if len(self._replicas) > 1 else 0.0

    def _apply(self) -> None:
        for here in self._replicas:
            here.fleet.apply(self._snapshot)

    def profile(self, ask: Ask) -> RequestProfile:
        """The request as an edge would describe it."""
        workload = self._scenario.site.workload(ask)
        return RequestProfile(
            request_id=str(ask.number),
            model=self._scenario.site.model,
            input_tokens=float(ask.input_tokens),
            expected_output_tokens=float(ask.output_tokens) if self._true_lengths else None,
            slo=self._scenario.site.slo(ask),
            workload_class=workload.name,
            blocks=ask.blocks[: min(MAX_BLOCKS, ask.input_tokens // BLOCK_TOKENS)],
        )

    def choose(self, replica: int, ask: Ask, tried: Collection[str]) -> Choice | None:
        here = self._replicas[replica]
        now = self._loop.monotonic()
        here.loads.refresh(now)
        plan = here.decider.plan(self.profile(ask), avoid=frozenset(tried))
        queue = list(plan.ranking.ordered)
        if self._pick is not None and queue:
            first = self._pick(plan, queue)
            queue = [first, *(f for f in queue if f is not first)]
        panic = plan.ranking.panic
        for forecast in queue:
            code = filters.check(forecast.row, plan.ranking.constraints, now, ignore_health=panic)
            if code != filters.KEEP:
                continue
            attempt = here.feedback.begin(forecast, force=panic, blocks=plan.profile.blocks)
            if attempt is not None:
                return Choice(forecast.row.id, p_ttft=forecast.p_ttft, promise=attempt)
        return None

    def first_token(self, replica: int, ask: Ask, choice: Choice) -> None:  # noqa: ARG002 - the protocol's signature
        _attempt(choice).take(Chunk(events=1))

    def progress(self, replica: int, ask: Ask, choice: Choice, tokens: int) -> None:  # noqa: ARG002 - the protocol's signature
        attempt = _attempt(choice)
        if tokens > attempt.events:
            attempt.take(Chunk(events=tokens - attempt.events))

    def finished(self, replica: int, ask: Ask, choice: Choice, served: Served, cached_tokens: int) -> None:  # noqa: ARG002 - the protocol's signature
        attempt = _attempt(choice)
        attempt.take(
            Chunk(
                events=ask.output_tokens - attempt.events,
                usage=Usage(input=ask.input_tokens, cached_input=cached_tokens, output=ask.output_tokens),
                finish_reason=FinishReason.STOP,
            )
        )
        attempt.close(OK)

    def failed(self, replica: int, ask: Ask, choice: Choice, code: str, retry_after_s: float | None) -> None:  # noqa: ARG002 - the protocol's signature
        kind: type[BackendError] = by_code()[code]
        _attempt(choice).close(code, kind("simulated", retry_after_s=retry_after_s))

    def exchange(self) -> None:
        """Every replica beats, and hears what all said `late_s` ago."""
        now = self._loop.now
        late = self._scenario.late_s
        self._beats.append((now, [here.loads.beat() for here in self._replicas]))
        while len(self._beats) > 1 and self._beats[1][0] <= now - late + 1e-9:
            self._beats.popleft()
        said_at, beats = self._beats[0]
        if said_at > now - late + 1e-9:
            return
        self._heard_at = said_at
        replicas = tuple(Replica(beat=beat, age_s=now - said_at) for beat in beats)
        for here in self._replicas:
            here.loads.heard(replicas, self._loop.monotonic())

    def tick(self) -> None:
        """What the collector does five times a second, and its probes of engines."""
        now = self._loop.monotonic()
        for here in self._replicas:
            here.loads.refresh(now)
            here.feedback.tick(now)
            for member in here.fleet.members.values():
                member.rate_limit.refill(now)
                member.breaker.fade(now)
                live = member.live
                busy = 1.0 if live.batch() > 0.0 else 0.0
                live.utilisation += UTILISATION_GAIN * (busy - live.utilisation)
        self._scrapes += 1
        if self._scrapes % PROBE_TICKS == 1:
            # Leases share out who probes: one replica asks each engine, the others hear of it in its beat.
            for n, (name, member) in enumerate(self._replicas[0].fleet.members.items()):
                prober = self._replicas[n % len(self._replicas)]
                self._scrape(prober, name, prober.fleet.members.get(name, member))

    def _scrape(self, here: RouterReplica, name: str, member: Member) -> None:
        server = self._servers[name]
        if isinstance(server, Engine):
            here.loads.scraped(
                name,
                member.live,
                running=float(server.running),
                waiting=float(server.waiting),
                kv_cache_usage=server.kv_usage,
            )

    def price(self, backend: str, price: Price) -> None:
        snapshot = self._snapshot
        books = {**snapshot.prices, (backend, ""): book_of(replace(price, model=""))}
        self._snapshot = replace(snapshot, version=snapshot.version + 1, prices=books)
        self._apply()

    def join(self, backend: str) -> None:
        snapshot = self._snapshot
        new = next(b for b in self._scenario.site.backends if b.id == backend)
        self._snapshot = replace(snapshot, version=snapshot.version + 1, backends={**snapshot.backends, backend: new})
        self._apply()


def _attempt(choice: Choice) -> Attempt:
    assert isinstance(choice.promise, Attempt)  # noqa: S101 - made by choose
    return choice.promise


def fastest(plan: Plan, forecasts: list[Forecast]) -> Forecast:  # noqa: ARG001 - as every pick
    """Least predicted latency, by the router's own predictor."""
    return min(forecasts, key=lambda f: f.e2e_s)


def cheapest_feasible(plan: Plan, forecasts: list[Forecast]) -> Forecast:
    """The least money of those that are likely enough to meet every objective; of none the likeliest."""
    feasible = [f for f in forecasts if f.feasible]
    if feasible:
        return min(feasible, key=lambda f: f.cost_usd)
    del plan
    return max(forecasts, key=lambda f: f.p_ttft * f.p_tpot * f.p_e2e)
