"""Deciders over fleets that never were, and over the shipped one; time stands still until it is told to go on."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from backends.scripted import ScriptedBackend
from router.clock import FakeClock
from router.dispatch.decider import Decider
from router.dispatch.feedback import Feedback
from router.dispatch.fleet import Fleet
from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend, Health
from router.domain.policies import Policies
from router.domain.pricing import Price, book_of
from router.domain.request import RequestProfile
from router.domain.snapshot import FleetSnapshot
from router.prediction.output_length import OutputLength
from router.settings import Settings, load
from router.telemetry.metrics import Metrics

CONFIG = Path(__file__).parents[3] / "config"


class Site:
    """A fleet, what decides over it and what it learns from."""

    def __init__(
        self,
        catalogue: Catalogue,
        backends: tuple[Backend, ...],
        prices: tuple[Price, ...],
        policies: Policies,
        *,
        seed: int = 7,
        money: Callable[[str], float] = lambda _: 1.0,
        age_s: float = 0.0,
    ) -> None:
        self.clock = FakeClock()
        self.lengths = OutputLength()
        self.fleet = Fleet(catalogue=catalogue, build_adapter=ScriptedBackend, clock=self.clock, policies=policies)
        self.decider = Decider(
            fleet=self.fleet,
            lengths=self.lengths,
            clock=self.clock,
            uniform=random.Random(seed).random,
            age=lambda: age_s,
            money=money,
        )
        self.feedback = Feedback(fleet=self.fleet, lengths=self.lengths, metrics=Metrics(), clock=self.clock)
        self.backends = {backend.id: backend for backend in backends}
        self.prices = {(price.backend, price.model): price for price in prices}
        self.health: Mapping[str, Health] = {}
        self.version = 0
        self.apply()

    def apply(self) -> None:
        """The fleet takes over what `backends`, `prices` and `health` say now."""
        self.version += 1
        self.fleet.apply(
            FleetSnapshot(
                version=self.version,
                backends=dict(self.backends),
                prices={key: book_of(price) for key, price in self.prices.items()},
                health=dict(self.health),
            )
        )

    def choose(self, **profile: object) -> tuple[str, str]:
        """The chosen backend and why."""
        plan = self.decider.plan(asked(**profile))
        decision = self.decider.full(plan)
        return decision.chosen.backend if decision.chosen is not None else "", decision.why

    def busy(self, backend: str, requests: int) -> None:
        """The backend has so many requests in flight."""
        self.fleet.members[backend].live.in_flight = requests


def asked(**fields: object) -> RequestProfile:
    base: dict[str, object] = {"request_id": "r", "model": "m", "input_tokens": 500.0, "max_output_tokens": 400}
    return RequestProfile(**(base | fields))  # type: ignore[arg-type]


@cache
def _settings() -> Settings:
    return load(CONFIG, {})


def shipped(*, seed: int = 7) -> Site:
    """The fleet, prices and policies of config/, as they are when nothing has been learnt."""
    settings = _settings()
    return Site(settings.catalogue, settings.seed.backends, settings.seed.prices, settings.policies, seed=seed)
