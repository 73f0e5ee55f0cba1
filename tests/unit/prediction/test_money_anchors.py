"""Money and energy against published figures (DECISION.md section 6): ML.ENERGY, MLPerf v5.1, vendors' list prices."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from router.domain.pricing import Price
from router.prediction.energy import energy_j
from router.prediction.money import amortised_usd, rent_usd, tokens_usd
from tests.unit.prediction.rows import make_row

MILLION = 1e6
BATCH = 256


class Anchor(NamedTuple):
    """A measured throughput of one accelerator in tokens/s, a price of its hour, and what that makes a token cost."""

    name: str
    tokens_per_s: float
    usd_per_hour: float
    usd_per_mtok: float


THROUGHPUT = [
    Anchor("70B on H100", 3_821, 2.95, 0.214),
    Anchor("70B on H200", 4_274, 3.50, 0.227),
    Anchor("70B on B200", 12_701, 5.50, 0.120),
    Anchor("70B on B200, interactive", 7_856, 5.50, 0.194),
    Anchor("70B on MI300X", 3_108, 1.30, 0.116),
    Anchor("8B on H100", 5_104, 2.95, 0.161),
    Anchor("8B on H200", 8_114, 3.50, 0.120),
    Anchor("8B on B200", 16_099, 5.50, 0.095),
    Anchor("8B on L40S", 1_207, 1.55, 0.357),
    Anchor("Mixtral on H200", 7_619, 3.50, 0.128),
]


def amortised_per_mtok(anchor: Anchor, utilisation: float) -> float:
    """Amortised dollars of a million output tokens with every slot taken, `utilisation` of the time."""
    row = make_row(Price(backend="a", usd_per_hour=anchor.usd_per_hour), max_concurrency=BATCH)
    row.live.in_flight = BATCH - 1
    row.live.utilisation = utilisation
    return amortised_usd(row, rent_usd(row, 0.0, MILLION, BATCH / anchor.tokens_per_s, row.live.batch()))


@pytest.mark.parametrize("anchor", THROUGHPUT, ids=lambda anchor: anchor.name)
def test_a_token_at_full_load_costs_what_measured_throughput_makes_of_rent(anchor: Anchor) -> None:
    """Dollars an hour over measured tokens an hour, to the third digit that is quoted."""
    assert amortised_per_mtok(anchor, 1.0) == pytest.approx(anchor.usd_per_mtok, abs=0.0006)


def test_idle_time_is_paid_by_those_who_use_the_hardware() -> None:
    """A 70B on an H100 that works three tenths of the time costs $0.71 a million tokens instead of $0.214."""
    assert amortised_per_mtok(THROUGHPUT[0], 0.3) == pytest.approx(0.71, abs=0.005)


class Power(NamedTuple):
    """Measured by ML.ENERGY on H100: batch, output tokens/s of the whole server, joules a token of the GPUs alone."""

    name: str
    devices: int
    batch: int
    tokens_per_s: float
    j_per_token: float


POWER = [
    Power("8B", 1, 8, 1_070, 0.45),
    Power("8B", 1, 255, 9_010, 0.077),
    Power("70B", 4, 8, 470, 3.76),
    Power("70B", 4, 255, 4_915, 0.48),
    Power("405B FP8", 8, 8, 233, 14.0),
    Power("405B FP8", 8, 255, 2_363, 2.06),
]


@pytest.mark.parametrize("point", POWER, ids=lambda point: f"{point.name}, batch {point.batch}")
def test_joules_of_a_token_follow_the_batch_as_measured(point: Power) -> None:
    """Given the measured pace, joules of an output token (GPUs alone) are within 15 % of what was measured."""
    row = make_row(None, max_concurrency=point.batch, devices=point.devices, at_the_wall=1.0, per_hour=True)

    joules = energy_j(row, 0.0, 1.0, point.batch / point.tokens_per_s, point.batch - 1.0)

    assert joules == pytest.approx(point.j_per_token, rel=0.15)


def test_joules_of_a_token_are_no_constant_of_a_device() -> None:
    """From a batch of 8 to one of 255 a token of each model takes a fifth to an eighth of the joules."""
    for small, large in zip(POWER[::2], POWER[1::2], strict=True):
        joules = []
        for point in (small, large):
            row = make_row(None, max_concurrency=point.batch, devices=point.devices, per_hour=True)
            joules.append(energy_j(row, 0.0, 1.0, point.batch / point.tokens_per_s, point.batch - 1.0))
        assert 5.0 < joules[0] / joules[1] < 9.0


# Dollars per million tokens of input, cached input and output (genai-prices 0.2.3); None: no price of its own.
LISTED = {
    "gpt-4": (30.0, None, 60.0),
    "gpt-4o": (2.50, 1.25, 10.0),
    "claude-3-5-sonnet": (3.0, 0.30, 15.0),
    "gemini-1.5-pro": (1.25, None, 5.0),
    "mixtral-8x7b at Mistral": (0.70, None, 0.70),
    "mixtral-8x7b at Together": (0.90, None, 0.90),
    "llama-3-70b at Groq": (0.59, None, 0.79),
    "llama-3-70b at Bedrock": (2.65, None, 3.50),
    "phi-3-mini at Azure": (0.13, None, 0.52),
}


@pytest.mark.parametrize("model", LISTED)
def test_a_hosted_model_costs_what_its_vendor_lists(model: str) -> None:
    """A thousand tokens in, four hundred of them cached, and two hundred out, to the last digit."""
    fed, cached, made = LISTED[model]
    row = make_row(
        Price(backend="a", input_usd_per_mtok=fed, cached_input_usd_per_mtok=cached, output_usd_per_mtok=made)
    )

    usd = tokens_usd(row, "", fresh=600.0, cached=400.0, written=0.0, output=200.0)

    assert usd == pytest.approx((600 * fed + 400 * (fed if cached is None else cached) + 200 * made) * 1e-6, rel=1e-12)


def test_gpt_4o_with_half_of_its_prompt_cached() -> None:
    """10,000 tokens in, 5,000 of them cached, 500 out: 1.25 + 0.625 + 0.5 cents."""
    row = make_row(Price(backend="a", input_usd_per_mtok=2.5, cached_input_usd_per_mtok=1.25, output_usd_per_mtok=10.0))

    assert tokens_usd(row, "", fresh=5e3, cached=5e3, written=0.0, output=500.0) == pytest.approx(0.02375)
