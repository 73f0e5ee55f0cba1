"""Replicas that follow one of the other routers' rules."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable

from router.domain.pricing import Price
from simulation.virtual.loop import Loop
from simulation.virtual.policy import COOLDOWN_S, FAILURES, Choice, Policy, SeenBackend, Served
from simulation.virtual.scenario import Scenario
from simulation.virtual.servers import Hosted, Server
from simulation.virtual.traces import Ask

MakePolicy = Callable[[random.Random], Policy]


class _Replica:
    def __init__(self, policy: Policy, seen: dict[str, SeenBackend]) -> None:
        self.policy = policy
        self.seen = seen


class RuleGroup:
    """The best information that the rules could have: metrics of every engine, limits and prices of every backend.

    With `state_age_s` 0 the metrics are those of the moment; otherwise of the last exchange.
    """

    follows = False

    def __init__(self, make: MakePolicy, scenario: Scenario, servers: dict[str, Server], loop: Loop) -> None:
        self._loop = loop
        self._servers = servers
        self._fresh = scenario.state_age_s <= 0.0
        self._late_s = scenario.late_s
        self._site = scenario.site
        joins = {event.backend for event in scenario.events if event.kind == "join"}
        self._replicas = [
            _Replica(
                make(random.Random(scenario.seed * 1_000 + n)),
                {b.id: self._seen(b.id) for b in scenario.site.backends if b.id not in joins},
            )
            for n in range(scenario.replicas)
        ]

    def _seen(self, backend: str) -> SeenBackend:
        told = next(b for b in self._site.backends if b.id == backend)
        server = self._servers[backend]
        return SeenBackend(told, self._site.prices.get(backend), server, hosted=isinstance(server, Hosted))

    def choose(self, replica: int, ask: Ask, tried: Collection[str]) -> Choice | None:
        now = self._loop.now
        here = self._replicas[replica]
        if self._fresh:
            self._measure((here,))
        left = [s for s in here.seen.values() if s.id not in tried]
        usable = [s for s in left if now >= s.usable_at]
        if not usable:
            # Waiting for the one that opens first is no option that these rules have.
            usable = sorted(left, key=lambda s: s.usable_at)[:1]
        if not usable:
            return None
        chosen = here.seen[here.policy.choose(ask, usable, now)]
        chosen.own += 1
        here.policy.begun(ask, chosen, now)
        return Choice(chosen.id)

    def first_token(self, replica: int, ask: Ask, choice: Choice) -> None:
        here = self._replicas[replica]
        here.policy.first_token(ask, here.seen[choice.backend], self._loop.now, 0.0)

    def progress(self, replica: int, ask: Ask, choice: Choice, tokens: int) -> None: ...

    def finished(self, replica: int, ask: Ask, choice: Choice, served: Served, cached_tokens: int) -> None:  # noqa: ARG002 - the protocol's signature
        here = self._replicas[replica]
        seen = here.seen[choice.backend]
        seen.own -= 1
        seen.failures = 0
        here.policy.finished(ask, seen, self._loop.now, served)

    def failed(self, replica: int, ask: Ask, choice: Choice, code: str, retry_after_s: float | None) -> None:
        here = self._replicas[replica]
        seen, now = here.seen[choice.backend], self._loop.now
        seen.own -= 1
        if code == "RATE_LIMITED":
            seen.usable_at = max(seen.usable_at, now + (retry_after_s or 1.0))
        else:
            seen.failures += 1
            if seen.failures >= FAILURES:
                seen.usable_at = now + COOLDOWN_S
        here.policy.failed(ask, seen, now)

    def exchange(self) -> None:
        self._measure(self._replicas)
        own = [{name: seen.own for name, seen in here.seen.items()} for here in self._replicas]
        totals = {name: sum(told.get(name, 0) for told in own) for name in self._servers}
        for here, told in zip(self._replicas, own, strict=True):
            for name, seen in here.seen.items():
                seen.others = float(totals[name] - told[name])

    def _measure(self, replicas: Iterable[_Replica]) -> None:
        for here in replicas:
            for name, seen in here.seen.items():
                server = self._servers[name]
                seen.running, seen.waiting, seen.kv_usage = server.running, server.waiting, server.kv_usage

    def tick(self) -> None: ...

    def price(self, backend: str, price: Price) -> None:
        for here in self._replicas:
            if backend in here.seen:
                here.seen[backend].price = price

    def join(self, backend: str) -> None:
        for here in self._replicas:
            here.seen[backend] = self._seen(backend)
