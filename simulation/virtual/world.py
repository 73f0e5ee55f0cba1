"""One run: requests arrive, a policy sends them somewhere, and what becomes of each is written down once."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from router.domain.pricing import Price
from simulation.virtual.events import Event, Kind
from simulation.virtual.loop import Loop
from simulation.virtual.policy import Choice, Group, Served
from simulation.virtual.scenario import Scenario
from simulation.virtual.servers import Engine, Hosted, Job, Server
from simulation.virtual.traces import Ask
from simulation.virtual.truth import EngineTruth

# As often as the router looks after its fleet.
TICK_S = 0.2
# How often replicas hear of each other where their state has no age of its own: the router's beats.
BEAT_S = 0.1

MakeGroup = Callable[[Scenario, dict[str, Server], Loop], Group]
Progress = Callable[[int], None]


@dataclass(slots=True)
class Record:
    """What became of one request. `backend` "" and infinite times: nothing served it. Money and joules are the truth.

    `sent_s` is when its last attempt was sent, `p_ttft` the policy's own probability that the first token came in time,
    negative when it does not say; `decision_s` the wall time of its decisions.
    """

    ask: Ask
    backend: str = ""
    attempts: int = 0
    sent_s: float = 0.0
    ttft_s: float = math.inf
    tpot_s: float = math.inf
    e2e_s: float = math.inf
    usd: float = 0.0
    joules: float = 0.0
    cached_tokens: int = 0
    met: bool = False
    ttft_met: bool = False
    p_ttft: float = -1.0
    decision_s: float = 0.0
    ended: int = 0


@dataclass(slots=True)
class Draws:
    """What chance does to requests at backends, the same whoever routes: by request, then by backend."""

    prefill: list[dict[str, float]]
    decode: list[dict[str, float]]
    call: list[dict[str, float]]
    error: dict[str, tuple[float, float]]


def draws(scenario: Scenario) -> Draws:
    """All that is random about the world, from the seed."""
    rng = random.Random(scenario.seed * 7_919 + 1)
    names = [b.id for b in scenario.site.backends]
    sd = scenario.model_error_sd
    error = {name: (math.exp(rng.gauss(0.0, sd)), math.exp(rng.gauss(0.0, sd))) for name in names}
    prefill, decode, call = [], [], []
    for _ in scenario.asks:
        prefill.append({name: math.exp(rng.gauss(0.0, scenario.prefill_noise_sd)) for name in names})
        decode.append({name: math.exp(rng.gauss(0.0, scenario.decode_noise_sd)) for name in names})
        call.append({name: rng.random() for name in names})
    return Draws(prefill=prefill, decode=decode, call=call, error=error)


def build_servers(scenario: Scenario, chance: Draws, loop: Loop) -> dict[str, Server]:
    servers: dict[str, Server] = {}
    for backend in scenario.site.backends:
        truth, error = scenario.site.truths[backend.id], chance.error[backend.id]
        if isinstance(truth, EngineTruth):
            servers[backend.id] = Engine(truth, loop, model_error=error, prefix_cache=scenario.prefix_cache)
        else:
            servers[backend.id] = Hosted(truth, loop, model_error=error)
    return servers


class _Request:
    """One request on its way; owns its present job."""

    def __init__(self, world: World, record: Record, replica: int) -> None:
        self._world = world
        self._record = record
        self._replica = replica
        self._tried: list[str] = []
        self._choice: Choice | None = None
        self._job: Job | None = None
        self._began = 0.0

    def begin(self) -> None:
        """Sends it somewhere, again if need be; without anywhere to go it has failed."""
        world, record = self._world, self._record
        started = time.perf_counter()
        choice = world.group.choose(self._replica, record.ask, self._tried) if self._may_go_on() else None
        record.decision_s += time.perf_counter() - started
        if choice is None:
            record.ended += 1
            world.left -= 1
            return
        self._choice = choice
        self._tried.append(choice.backend)
        record.attempts += 1
        record.p_ttft = choice.p_ttft
        self._began = record.sent_s = world.loop.now
        n, name, chance = record.ask.number, choice.backend, world.chance
        self._job = Job(
            record.ask,
            self,
            prefill_noise=chance.prefill[n][name],
            decode_noise=chance.decode[n][name],
            draw=chance.call[n][name],
        )
        world.servers[name].submit(self._job)

    def _may_go_on(self) -> bool:
        return len(self._tried) < self._world.scenario.site.workload(self._record.ask).max_attempts

    def first_token(self, job: Job) -> None:
        assert self._choice is not None  # noqa: S101 - only what was sent answers
        job.first_at = self._world.loop.now
        self._world.group.first_token(self._replica, self._record.ask, self._choice)
        if self._world.group.follows:
            self._world.streaming[self] = None

    def progress(self) -> None:
        """Tells how many tokens have come."""
        assert self._choice is not None  # noqa: S101 - it streams
        assert self._job is not None  # noqa: S101 - likewise
        tokens = self._world.servers[self._choice.backend].emitted(self._job)
        self._world.group.progress(self._replica, self._record.ask, self._choice, tokens)

    def finished(self, job: Job) -> None:
        world, record, choice = self._world, self._record, self._choice
        assert choice is not None  # noqa: S101 - only what was sent answers
        now, ask = world.loop.now, record.ask
        world.streaming.pop(self, None)
        served = Served(ttft_s=job.first_at - self._began, e2e_s=now - self._began, output_tokens=ask.output_tokens)
        world.group.finished(self._replica, ask, choice, served, job.cached_tokens)
        record.backend = choice.backend
        # The caller's clock began when the request came, not when its last attempt did.
        record.ttft_s = job.first_at - ask.at_s
        record.e2e_s = now - ask.at_s
        record.tpot_s = (now - job.first_at) / max(1, ask.output_tokens - 1)
        record.cached_tokens = job.cached_tokens
        record.joules = job.joules
        record.usd = world.bill(choice.backend, job)
        slo = world.scenario.site.slo(ask)
        record.ttft_met = slo.ttft_s is None or record.ttft_s <= slo.ttft_s
        record.met = (
            record.ttft_met
            and (slo.tpot_s is None or record.tpot_s <= slo.tpot_s)
            and (slo.e2e_s is None or record.e2e_s <= slo.e2e_s)
        )
        record.ended += 1
        world.left -= 1

    def failed(self, job: Job, code: str, retry_after_s: float | None) -> None:  # noqa: ARG002 - the protocol's signature
        assert self._choice is not None  # noqa: S101 - only what was sent answers
        self._world.group.failed(self._replica, self._record.ask, self._choice, code, retry_after_s)
        self.begin()


class World:
    """The state of one run."""

    def __init__(self, scenario: Scenario, make_group: MakeGroup, progress: Progress | None = None) -> None:
        self.scenario = scenario
        self.loop = Loop()
        self.chance = draws(scenario)
        self.servers = build_servers(scenario, self.chance, self.loop)
        self.group = make_group(scenario, self.servers, self.loop)
        self.prices = dict(scenario.site.prices)
        self.records = [Record(ask) for ask in scenario.asks]
        self.left = len(self.records)
        self.streaming: dict[_Request, None] = {}
        self._next = 0
        self._progress = progress
        self._rng = random.Random(scenario.seed)

    def run(self) -> list[Record]:
        """Until every request has ended."""
        loop, scenario = self.loop, self.scenario
        for event in scenario.events:
            loop.at(event.at_s, lambda event=event: self._happen(event))  # type: ignore[misc]
        if scenario.replicas > 1 or scenario.state_age_s > 0.0:
            loop.at(0.0, self._exchange)
        loop.at(0.0, self._tick)
        loop.at(self.records[0].ask.at_s, self._arrive)
        loop.run()
        return self.records

    def bill(self, backend: str, job: Job) -> float:
        """Dollars of one answer by the prices that hold now; owned hardware as in DECISION 2.4, by what really was."""
        price = self.prices.get(backend)
        if price is None:
            return 0.0
        if price.usd_per_hour is not None:
            rent = job.share_s * price.usd_per_hour / 3600.0
            electricity = job.joules * price.electricity_usd_per_kwh / 3.6e6
            return price.elastic_fraction * rent + (1.0 - price.elastic_fraction) * electricity
        return tokens_usd(price, job.ask)

    def _arrive(self) -> None:
        record = self.records[self._next]
        self._next += 1
        if self._next < len(self.records):
            self.loop.at(self.records[self._next].ask.at_s, self._arrive)
        if self._progress is not None and self._next % 100 == 0:
            self._progress(self._next)
        _Request(self, record, self._rng.randrange(self.scenario.replicas)).begin()

    def _tick(self) -> None:
        for request in self.streaming:
            request.progress()
        self.group.tick()
        if self.left:
            self.loop.at(self.loop.now + TICK_S, self._tick)

    def _exchange(self) -> None:
        self.group.exchange()
        if self.left:
            self.loop.at(self.loop.now + (self.scenario.state_age_s or BEAT_S), self._exchange)

    def _happen(self, event: Event) -> None:
        """What is left at the end is a price; a backend without one has none to change."""
        server = self.servers[event.backend]
        faults = server.faults
        if event.kind is Kind.SLOW:
            server.slower(event.amount)
        elif event.kind is Kind.ERRORS:
            faults.errors = event.amount
        elif event.kind is Kind.DEAD:
            faults.dead = True
        elif event.kind is Kind.LIMITED:
            faults.limited = True
        elif event.kind is Kind.WELL:
            server.slower(1.0)
            faults.errors, faults.dead, faults.limited = 0.0, False, False
        elif event.kind is Kind.JOIN:
            self.group.join(event.backend)
        elif event.backend in self.prices:
            dearer = self.prices[event.backend].scaled(event.amount)
            self.prices[event.backend] = dearer
            self.group.price(event.backend, dearer)


def tokens_usd(price: Price, ask: Ask) -> float:
    """What an answer costs by the token."""
    prompt, answer = price.input_usd_per_mtok or 0.0, price.output_usd_per_mtok or 0.0
    return 1e-6 * (ask.input_tokens * prompt + ask.output_tokens * answer) + (price.request_usd or 0.0)


def run(scenario: Scenario, make_group: MakeGroup, progress: Progress | None = None) -> list[Record]:
    """The records of all requests, in the order in which they came."""
    return World(scenario, make_group, progress).run()
