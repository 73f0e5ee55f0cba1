"""Rows and shapes for tests of forecasts: an H100 and an 8B unless something else is asked for."""

from __future__ import annotations

import math

from router.domain.fleet import Backend, Health, ServedModel
from router.domain.grid import Grid
from router.domain.hardware import Hardware, Model
from router.domain.learned import Learned
from router.domain.live import Live
from router.domain.pricing import Price
from router.domain.rows import AT_THE_WALL, Row, Shape
from router.prediction.physics import speed

H100 = Hardware(
    id="h100",
    name="H100",
    kind="gpu",
    memory_bandwidth_bytes_per_s=3.35e12,
    flops_per_s=989e12,
    tdp_w=700.0,
    prior_sd_log=0.2,
)
LLAMA_8B = Model(id="8b", parameters=8.03e9, layers=32, kv_bytes_per_token=131072.0, context_tokens=131072)
MIXTRAL = Model(
    id="moe",
    parameters=46.7e9,
    active_parameters=12.9e9,
    shared_parameters=1.6e9,
    experts=8,
    experts_per_token=2,
    layers=32,
    kv_bytes_per_token=131072.0,
)


def make_row(
    price: Price | None = None,
    *,
    model: Model = LLAMA_8B,
    hardware: Hardware = H100,
    devices: int = 1,
    max_concurrency: int = 32,
    at_the_wall: float = AT_THE_WALL,
    per_hour: bool = False,
    g_per_kwh: float = 0.0,
) -> Row:
    """`per_hour`: at a dollar an hour, whatever `price` says."""
    grid = Grid()
    grid.set(g_per_kwh)
    return Row(
        backend=Backend(
            id="a",
            wire="scripted",
            address="http://x",
            models=(ServedModel(model="8b"),),
            max_concurrency=max_concurrency,
            hardware_count=devices,
        ),
        model="8b",
        upstream_model="8b",
        context_tokens=8192,
        catalogue_model=model,
        hardware=hardware,
        speed=speed(model, hardware, count=devices, bytes_per_weight=2.0),
        price=Price(backend="a", usd_per_hour=1.0) if per_hour else price,
        health=Health(),
        usable=True,
        live=Live(),
        learned=Learned(prior_sd_log=hardware.prior_sd_log),
        at_the_wall=at_the_wall,
        grid=grid,
    )


def make_shape(
    input_tokens: float = 1000.0, *, cached_tokens: float = 0.0, service_tier: str = "", batch: bool = False
) -> Shape:
    """Of a request for as many tokens as there are: what money is about."""
    return shape(
        input_tokens=input_tokens,
        cached_tokens=cached_tokens,
        max_output_tokens=1e6,
        service_tier=service_tier,
        batch=batch,
    )


def shape(**fields: object) -> Shape:
    base: dict[str, object] = {
        "input_tokens": 1000.0,
        "cached_tokens": 0.0,
        "max_output_tokens": 500.0,
        "expected_output_tokens": 0.0,
        "ttft_slo_s": math.inf,
        "tpot_slo_s": math.inf,
        "e2e_slo_s": math.inf,
        "probability": 0.9,
        "batch": False,
        "quality_task": "*",
    }
    return Shape(**(base | fields))  # type: ignore[arg-type]  # a test's own keywords
