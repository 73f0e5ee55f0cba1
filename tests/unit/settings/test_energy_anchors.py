"""Joules of a token from the shipped catalogues alone, against what ML.ENERGY measured on H100."""

from __future__ import annotations

import pytest

from router.domain.fleet import Backend, Health, ServedModel
from router.domain.learned import Learned
from router.domain.live import Live
from router.domain.pricing import Price
from router.domain.rows import Row
from router.prediction.energy import energy_j
from router.prediction.physics import speed
from router.settings import Settings

# What a chat request of that benchmark has, about: its table tells of answers only.
PROMPT, ANSWER = 300.0, 390.0


@pytest.mark.parametrize(
    ("model", "devices", "bytes_per_weight", "batch", "measured_j"),
    [
        ("llama-3.1-8b", 1, 2.0, 8, 0.45),
        ("llama-3.1-8b", 1, 2.0, 255, 0.077),
        ("llama-3.3-70b", 4, 2.0, 8, 3.76),
        ("llama-3.3-70b", 4, 2.0, 255, 0.48),
        ("llama-3.1-405b", 8, 1.0, 8, 14.0),
        ("llama-3.1-405b", 8, 1.0, 255, 2.06),
    ],
)
def test_joules_of_a_token_need_no_measurement(
    shipped: Settings, *, model: str, devices: int, bytes_per_weight: float, batch: int, measured_j: float
) -> None:
    """Pace and power of the prior together, with nothing observed, are within 30 % of the GPUs' joules a token."""
    known, h100 = shipped.catalogue.models[model], shipped.catalogue.hardware["h100-sxm-80"]
    row = Row(
        backend=Backend(
            id="a",
            wire="scripted",
            address="http://x",
            models=(ServedModel(model=model),),
            hardware_count=devices,
            max_concurrency=batch,
        ),
        model=model,
        upstream_model=model,
        context_tokens=8192,
        catalogue_model=known,
        hardware=h100,
        speed=speed(known, h100, count=devices, bytes_per_weight=bytes_per_weight),
        price=Price(backend="a", usd_per_hour=1.0),
        health=Health(),
        usable=True,
        live=Live(),
        learned=Learned(prior_sd_log=0.2),
        at_the_wall=1.0,
    )

    tpot = row.speed.tpot_s(batch, PROMPT + 0.5 * ANSWER)
    joules = energy_j(row, PROMPT, ANSWER, tpot, batch - 1.0) / ANSWER

    assert joules == pytest.approx(measured_j, rel=0.30)
