"""A small fleet and short traces for tests: nothing is read from outside the project."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from router.domain.fleet import Backend, ServedModel
from router.domain.pricing import Price
from router.settings import Settings, load
from simulation.virtual.scenario import Scenario, Site
from simulation.virtual.tables import Call
from simulation.virtual.traces import Ask
from simulation.virtual.truth import EngineTruth, HostedTruth, Truth

MODEL = "llama-3.1-70b"
CONFIG = Path(__file__).parents[4] / "config"


@lru_cache(maxsize=1)
def settings() -> Settings:
    return load(CONFIG, {})


def engine(name: str, *, pace: float = 1.0, batch: int = 16) -> EngineTruth:
    return EngineTruth(
        id=name,
        tpot_s=tuple(pace * (0.02 + 0.0005 * b) for b in range(batch + 1)),
        watts=tuple(1000.0 + 50.0 * b for b in range(batch + 1)),
        prefill=((128.0, 0.05 * pace), (8192.0, 0.9 * pace)),
        max_batch=batch,
        kv_tokens=200_000.0,
        rtt_s=0.002,
        note="made up",
    )


def hosted(name: str, *, per_minute: float | None = None) -> HostedTruth:
    calls = tuple(Call(0.2 + 0.02 * n, 0.005 + 0.0005 * n) for n in range(10))
    return HostedTruth(name, calls, per_minute, None, 32, "made up")


def site(*, per_minute: float | None = None) -> Site:
    """Two engines of our own, one twice as fast, and a hosted service that is dearer."""
    truths: dict[str, Truth] = {
        "fast": engine("fast"),
        "slow": engine("slow", pace=2.0),
        "api": hosted("api", per_minute=per_minute),
    }
    backends = tuple(
        Backend(
            id=name,
            wire="openai_chat",
            profile="vllm",
            address="http://127.0.0.1:1",
            models=(ServedModel(model=MODEL, context_tokens=131072, bytes_per_weight=2.0),),
            hardware="hosted" if name == "api" else "h100-sxm-80",
            hardware_count=1 if name == "api" else 4,
            max_concurrency=32 if name == "api" else 16,
            requests_per_minute=int(per_minute) if name == "api" and per_minute else None,
        )
        for name in truths
    )
    prices = {
        "fast": Price(backend="fast", usd_per_hour=10.0, elastic_fraction=0.0),
        "slow": Price(backend="slow", usd_per_hour=5.0, elastic_fraction=0.1),
        "api": Price(backend="api", input_usd_per_mtok=0.6, output_usd_per_mtok=0.8),
    }
    loaded = settings()
    return Site(
        model=MODEL,
        catalogue=loaded.catalogue,
        policies=loaded.policies,
        backends=backends,
        prices=prices,
        truths=truths,
    )


def asks(count: int, *, rate: float, seed: int = 0, blocks: bool = False) -> tuple[Ask, ...]:
    rng = random.Random(seed)
    at, made = 0.0, []
    for n in range(count):
        tokens = int(rng.lognormvariate(6.5, 0.8))
        group = rng.randrange(5)
        made.append(
            Ask(
                number=n,
                at_s=at,
                input_tokens=max(1, tokens),
                output_tokens=max(1, int(rng.lognormvariate(4.5, 0.8))),
                interactive=rng.random() < 0.7,
                blocks=tuple(1000 * group + k for k in range(tokens // 512)) if blocks else (),
            )
        )
        at += rng.expovariate(rate)
    return tuple(made)


def scenario(
    count: int = 150, *, rate: float = 4.0, seed: int = 0, per_minute: float | None = None, **fields: object
) -> Scenario:
    made = Scenario(site=site(per_minute=per_minute), asks=asks(count, rate=rate, seed=seed), seed=seed)
    return replace(made, **fields)  # type: ignore[arg-type]
