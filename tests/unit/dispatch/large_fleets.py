"""Large fleets that never were: backends of every kind at random loads, with random pasts."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from functools import cache

from router.dispatch.decider import Decider, Plan
from router.domain.fleet import Backend, Capability, Health, HealthState, PrivacyLevel, ServedModel
from router.domain.learned import Learned
from router.domain.live import Live
from router.domain.price_tiers import PriceTier
from router.domain.pricing import Price
from router.domain.request import Placement, RequestProfile, Slo
from router.prediction import learning
from router.prediction.predictor import forecasts
from router.scheduling import scheduler
from router.scheduling.scheduler import Ranking
from router.settings import Settings, load
from tests.unit.dispatch.deciding import CONFIG, Site

MODELS = ("llama-3.1-8b", "llama-3.3-70b")


@cache
def _settings() -> Settings:
    return load(CONFIG, {})


def site(seed: int, count: int, *, busy: int = 90, alike: bool = False) -> Site:
    """A fleet of `count`, all of which serve a model; `alike`: all the same but for their names."""
    rng = random.Random(seed)
    settings = _settings()
    kinds = sorted(name for name, hardware in settings.catalogue.hardware.items() if hardware.flops_per_s)
    backends, prices = [], []
    for n in range(count):
        name = f"b{n:05d}"
        backends.append(
            Backend(
                id=name,
                wire="scripted",
                address="http://x",
                models=(ServedModel(model=MODELS[0]),)
                if alike or rng.random() < 0.8
                else tuple(ServedModel(model=model) for model in MODELS),
                hardware=kinds[0 if alike else n % len(kinds)],
                region=f"eu-{n % 3}",
                privacy=PrivacyLevel.ANY if alike else rng.choice(list(PrivacyLevel)),
                capabilities=frozenset({Capability.TOOLS} if n % 2 else ()),
                max_concurrency=64 if alike else rng.choice((8, 32, 128)),
                network_rtt_s=0.01 if alike else rng.uniform(0.001, 0.05),
                drained=not alike and rng.random() < 0.05,
            )
        )
        usd, kind = (1.0, 0.5) if alike else (math.exp(rng.uniform(-2.0, 2.0)), rng.random())
        prices.append(_price(name, usd, kind))
    made = Site(settings.catalogue, tuple(backends), tuple(prices), settings.policies, seed=seed)
    if not alike:
        sick = {b.id: Health(state=rng.choice(list(HealthState))) for b in backends if rng.random() < 0.1}
        made.health = sick
        made.apply()
        for member in made.fleet.members.values():
            disturb(member.live, rng, busy=busy, now=made.clock.monotonic())
        for learned in made.fleet.beliefs():
            _past(learned, rng)
    return made


def _price(name: str, usd: float, kind: float) -> Price:
    by_token = Price(backend=name, input_usd_per_mtok=usd, output_usd_per_mtok=3.0 * usd, batch_discount=0.5)
    if kind < 0.05:
        return Price(backend=name)
    if kind < 0.3:
        return Price(backend=name, usd_per_hour=usd, electricity_usd_per_kwh=0.2, elastic_fraction=0.7)
    if kind < 0.4:
        return replace(by_token, tiers=(PriceTier(above_tokens=1000, input_usd_per_mtok=2.0 * usd),))
    if kind < 0.45:
        return replace(by_token, preemptions_per_hour=3.0, restart_usd=1e-4)
    return by_token


def dearer(price: Price) -> Price:
    """A hundred times the price."""
    usd = (price.input_usd_per_mtok or 1.0) * 100.0
    return replace(price, input_usd_per_mtok=usd, output_usd_per_mtok=3.0 * usd, tiers=())


def renamed(backend: Backend, name: str) -> Backend:
    return replace(backend, id=name)


def disturb(live: Live, rng: random.Random, *, busy: int, now: float) -> None:
    """Gives a backend another load, and now and then a limit or an open circuit."""
    live.in_flight = rng.randrange(busy)
    live.prefill_tokens = rng.choice((0.0, 0.0, 500.0, 5000.0))
    live.failure_rate = rng.choice((0.02, 0.02, 0.3))
    live.open_until = now + 5.0 if rng.random() < 0.05 else -1e18
    live.limit_requests = rng.choice((-1.0, -1.0, 0.2, 7.0))


def _past(learned: Learned, rng: random.Random) -> None:
    off = rng.gauss(0.0, 0.4)
    for _ in range(rng.choice((0, 3, 30))):
        learning.observe(
            learned,
            prior_ttft_s=0.1,
            prior_tpot_s=0.01,
            ttft_s=0.1 * math.exp(rng.gauss(off, 0.3)),
            tpot_s=0.01 * math.exp(rng.gauss(off, 0.1)),
            now=1.0,
            batch=float(rng.randrange(60)),
            prompt_tokens=float(rng.randrange(50, 4000)),
            context_tokens=float(rng.randrange(100, 4000)),
        )


def decider(made: Site, draw: float) -> Decider:
    """Decides over the fleet of `made`, with one draw for everything."""
    return Decider(fleet=made.fleet, lengths=made.lengths, clock=made.clock, uniform=lambda: draw, age=lambda: 0.0)


def request(seed: int, **fields: object) -> RequestProfile:
    """A request of any kind that a fleet of this file may be asked."""
    rng = random.Random(seed)
    base: dict[str, object] = {
        "request_id": f"r{seed}",
        "model": MODELS[0],
        "input_tokens": float(rng.choice((20, 300, 2000, 6000))),
        "max_output_tokens": rng.choice((1, 100, 1000)),
        "workload_class": rng.choice(("", "batch", "interactive")),
        "slo": rng.choice((Slo(), Slo(ttft_s=0.4, tpot_s=0.03), Slo(ttft_s=1.0, e2e_s=20.0, probability=0.8))),
        "placement": rng.choice(
            (Placement(), Placement(), Placement(privacy=PrivacyLevel.NO_TRAINING), Placement(regions=("eu-1",)))
        ),
        "needs": frozenset({Capability.TOOLS} if rng.random() < 0.2 else ()),
        "max_cost_usd": rng.choice((None, None, None, 2e-4)),
        "session_key": rng.choice(("", "", f"s{seed}")),
    }
    return RequestProfile(**(base | fields))  # type: ignore[arg-type]


def plain(**fields: object) -> RequestProfile:
    """A request that everything in a fleet may serve."""
    base: dict[str, object] = {
        "input_tokens": 300.0,
        "max_output_tokens": 100,
        "workload_class": "interactive",
        "slo": Slo(),
        "placement": Placement(),
        "needs": frozenset(),
        "max_cost_usd": None,
        "session_key": "",
    }
    return request(1, **(base | fields))


def whole(made: Site, plan: Plan, draw: float) -> Ranking:
    """The ranking in which every row is looked at, with the same draw."""
    return scheduler.rank(
        made.fleet.rows_for(plan.profile.model),
        plan.profile,
        plan.shape,
        made.fleet.weights[plan.workload.name],
        predict=forecasts,
        length_of=made.lengths.of,
        uniform=lambda: draw,
        now=plan.shape.now,
    )
