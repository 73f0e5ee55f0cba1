"""A fleet whose decisions are caught and written, without a router around it."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from backends.scripted import ScriptedBackend
from router.clock import FakeClock
from router.decisions.capture import Capture
from router.decisions.draws import Draws
from router.decisions.lines import Ended, Lines
from router.dispatch.decider import Decider, Plan
from router.dispatch.fleet import Fleet
from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend, ServedModel
from router.domain.hardware import Hardware, Model
from router.domain.policies import Policies
from router.domain.pricing import Price, book_of
from router.domain.request import RequestProfile
from router.domain.snapshot import FleetSnapshot
from router.prediction.output_length import OutputLength

CATALOGUE = Catalogue(
    hardware={
        "fast": Hardware(id="fast", name="Fast", kind="hosted", fixed_ttft_s=0.05, fixed_tpot_s=0.002),
        "slow": Hardware(id="slow", name="Slow", kind="hosted", fixed_ttft_s=0.3, fixed_tpot_s=0.02),
    },
    models={"m": Model(id="m", context_tokens=8192), "n": Model(id="n", context_tokens=4096)},
    aliases={"alias": "m"},
    classes={"any": ("m", "n")},
)


class Site:
    """Decides and writes. `text` is a segment."""

    def __init__(
        self, prices: dict[str, float], *, seed: int = 0, hardware: Callable[[str], str] = lambda _: "fast"
    ) -> None:
        self.clock = FakeClock()
        self.lengths = OutputLength()
        self.policies = Policies()
        self.fleet = Fleet(catalogue=CATALOGUE, build_adapter=ScriptedBackend, clock=self.clock, policies=self.policies)
        self.fleet.apply(snapshot(prices, hardware))
        self.draws = Draws(random.Random(seed).random)
        self.decider = Decider(
            fleet=self.fleet, lengths=self.lengths, clock=self.clock, uniform=self.draws, age=lambda: 0.25
        )
        self.capture = Capture(snapshot=lambda: self.fleet.snapshot, rows_for=self.fleet.rows_for)
        self.lines = Lines("here")
        self.text = self.lines.begin(self.clock.time())

    def plan(self, profile: RequestProfile) -> tuple[Plan, Ended]:
        self.draws.taken()
        plan = self.decider.plan(profile)
        caught = self.capture.catch(plan, profile, self.draws.taken())
        return plan, Ended(caught, (), None, "CANCELLED")

    def decide(self, profile: RequestProfile, weight: float = 1.0) -> str:
        """Decides, writes, and says who was chosen."""
        plan, ended = self.plan(profile)
        self.text += self.lines.of(ended, weight)
        return plan.ranking.ordered[0].row.id if plan.ranking.ordered else ""


def snapshot(prices: dict[str, float], hardware: Callable[[str], str] = lambda _: "fast") -> FleetSnapshot:
    return FleetSnapshot(
        version=3,
        backends={
            name: Backend(
                id=name,
                wire="scripted",
                address=f"http://{name}",
                models=(ServedModel(model="m"), ServedModel(model="n")),
                hardware=hardware(name),
            )
            for name in prices
        },
        prices={
            (name, ""): book_of(Price(backend=name, input_usd_per_mtok=usd, output_usd_per_mtok=usd))
            for name, usd in prices.items()
        },
    )


def profile(number: int = 0, **fields: object) -> RequestProfile:
    base: dict[str, object] = {"request_id": f"r{number}", "model": "m", "input_tokens": 100.0 + number}
    return RequestProfile(**(base | fields))  # type: ignore[arg-type]  # a test's own keywords


@pytest.fixture
def segment() -> bytes:
    """Twelve decisions over three backends."""
    site = Site({"a": 1.0, "b": 1.01, "c": 3.0})
    for number in range(12):
        site.decide(profile(number))
    return site.text
