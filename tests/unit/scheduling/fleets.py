"""Rows of fleets that never were, and how they are ranked."""

from __future__ import annotations

import random
from dataclasses import replace

from router.domain.fleet import Backend, Capability, Health, PrivacyLevel, ServedModel
from router.domain.hardware import Hardware, Model
from router.domain.learned import Learned
from router.domain.length import Length
from router.domain.live import Live
from router.domain.policies import WorkloadClass
from router.domain.pricing import Price
from router.domain.request import RequestProfile, Slo
from router.domain.rows import EVERYTHING, Row
from router.prediction.physics import speed
from router.prediction.predictor import forecasts
from router.scheduling import scheduler
from router.scheduling.objective import Weights
from router.scheduling.scheduler import Ranking

MODEL = Model(id="m", parameters=8e9, layers=32, kv_bytes_per_token=131072.0, context_tokens=8192)
WORKLOAD = WorkloadClass(name="w", slo=Slo(ttft_s=2.0, tpot_s=0.1, probability=0.9))


def row(
    name: str,
    *,
    bandwidth: float = 3e12,
    usd: float = 1.0,
    privacy: PrivacyLevel = PrivacyLevel.ANY,
    region: str = "eu-1",
    capabilities: frozenset[Capability] = frozenset(),
    busy: int = 0,
    family: int = EVERYTHING,
    task_quality: float | None = None,
) -> Row:
    hardware = Hardware(
        id="h", name="H", kind="gpu", memory_bandwidth_bytes_per_s=bandwidth, flops_per_s=bandwidth * 300.0, tdp_w=700.0
    )
    backend = Backend(
        id=name,
        wire="scripted",
        address="http://x",
        models=(ServedModel(model="m"),),
        privacy=privacy,
        region=region,
        capabilities=capabilities,
    )
    live = Live()
    live.in_flight = busy
    return Row(
        backend=backend,
        model="m",
        upstream_model="m",
        context_tokens=8192,
        catalogue_model=MODEL if task_quality is None else replace(MODEL, quality=(("*", task_quality),)),
        hardware=hardware,
        speed=speed(MODEL, hardware, count=1, bytes_per_weight=2.0),
        price=Price(backend=name, input_usd_per_mtok=usd, output_usd_per_mtok=usd),
        health=Health(),
        usable=True,
        live=live,
        learned=Learned(prior_sd_log=0.35),
        family=family,
    )


def ask(**fields: object) -> RequestProfile:
    base: dict[str, object] = {"request_id": "r", "model": "m", "input_tokens": 100.0, "max_output_tokens": 200}
    return RequestProfile(**(base | fields))  # type: ignore[arg-type]


def rank(
    rows: list[Row],
    profile: RequestProfile | None = None,
    *,
    seed: int = 1,
    workload: WorkloadClass = WORKLOAD,
    explore: bool = False,
    now: float = 0.0,
    money: float = 1.0,
    avoid: frozenset[str] = frozenset(),
) -> Ranking:
    """The ranking of `rows`, drawn with a seed; an answer is expected to have 160 tokens, or as many as are allowed."""
    profile = profile or ask()
    return scheduler.rank(
        rows,
        profile,
        scheduler.shape_of(profile, workload, time_left_s=1e9, now=now, money_multiplier=money, explore=explore),
        Weights(workload),
        predict=forecasts,
        length_of=lambda _model, shape: Length(min(160.0, shape.max_output_tokens)),
        uniform=random.Random(seed).random,
        now=now,
        avoid=avoid,
    )
