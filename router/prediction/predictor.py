"""Turns a row and a request's shape into a forecast: latency as log-normals, tokens, money and energy.

The mean comes from the physics prior and the backend's present load, corrected by what was learnt about it. The terms
and their constants: batch-dependent decode time, queueing for a slot when all are taken, amortised and marginal cost of
owned hardware, power as a function of the batch.
"""

from __future__ import annotations

import math
from typing import Final

from router.domain.rows import Forecast, Learned, Row, Shape

P90: Final = 1.2816
SQRT2: Final = math.sqrt(2.0)
# Of the server around the accelerator, and of the building around the server.
HOST_SHARE: Final = 0.4
PUE: Final = 1.2
UTILISATION_FLOOR: Final = 0.05
OUTPUT_SD_LOG: Final = 0.7
LENGTH_SPREAD: Final = math.exp(OUTPUT_SD_LOG * OUTPUT_SD_LOG) - 1.0
LENGTH_P90: Final = math.exp(P90 * OUTPUT_SD_LOG)
HOSTED_FILL: Final = 0.5


def p_within(limit: float, mean: float, sd_log: float) -> float:
    """P(X <= limit) for a log-normal X with this mean; `sd_log` is the standard deviation of its logarithm."""
    if limit <= 0.0:
        return 0.0
    # By erfc, which still tells apart what is hopeless from what is more so.
    return 0.5 * math.erfc(-(math.log(limit / mean) / sd_log + 0.5 * sd_log) / SQRT2)


def prior_times(row: Row, *, input_tokens: float, output_tokens: float, batch: float) -> tuple[float, float]:
    """(TTFT, TPOT) in seconds by the prior alone, with `batch` other sequences on the backend."""
    speed = row.speed
    decoding = min(batch + 1.0, row.max_concurrency)
    tpot = speed.tpot_s(decoding, input_tokens + 0.5 * output_tokens)
    queue = row.live.prefill_tokens * speed.prefill_token_s
    excess = batch + 1.0 - row.max_concurrency
    if excess > 0.0:
        queue += excess * output_tokens * tpot / row.max_concurrency
    return row.network_rtt_s + queue + speed.prefill_s(input_tokens), tpot


def forecasts(rows: list[Row], shape: Shape, lengths: dict[str, float]) -> list[Forecast]:
    """The forecasts of rows, not yet scored; `lengths` holds the expected output tokens of each row's model."""
    return [forecast(row, shape, lengths[row.model]) for row in rows]


def forecast(row: Row, shape: Shape, output_tokens: float) -> Forecast:
    """The forecast of one row, not yet scored; `output_tokens` is the expected length of the answer."""
    out = Forecast(row)
    learned: Learned = row.learned
    batch = row.live.batch()
    out.batch = batch
    out.output_tokens = output_tokens
    out.input_tokens = shape.input_tokens
    fresh = max(0.0, shape.input_tokens - shape.cached_tokens)
    ttft, tpot = prior_times(row, input_tokens=fresh, output_tokens=output_tokens, batch=batch)
    out.ttft_s = max(1e-6, ttft) * learned.ttft_factor
    out.tpot_s = max(1e-7, tpot) * learned.tpot_factor
    out.ttft_sd = learned.ttft_sd
    out.tpot_sd = learned.tpot_sd

    steps = max(0.0, output_tokens - 1.0)
    decode = steps * out.tpot_s
    out.e2e_s = out.ttft_s + decode
    variance = out.ttft_s * out.ttft_s * learned.ttft_spread + decode * decode * (learned.tpot_spread + LENGTH_SPREAD)
    # The sum is taken as one more log-normal of the same mean and variance.
    out.e2e_var = math.log(1.0 + variance / (out.e2e_s * out.e2e_s))

    if shape.ttft_slo_s < math.inf:
        out.p_ttft = p_within(shape.ttft_slo_s, out.ttft_s, out.ttft_sd)
    if shape.tpot_slo_s < math.inf:
        out.p_tpot = p_within(shape.tpot_slo_s, out.tpot_s, out.tpot_sd)
    if shape.e2e_slo_s < math.inf:
        out.p_e2e = p_within(shape.e2e_slo_s, out.e2e_s, math.sqrt(out.e2e_var))

    _money(out, shape, fresh, batch)
    return out


def _money(out: Forecast, shape: Shape, fresh: float, batch: float) -> None:
    row = out.row
    output_p90 = min(shape.max_output_tokens, out.output_tokens * LENGTH_P90)
    out.energy_j = energy_j(row, fresh, out.output_tokens, out.tpot_s, batch)
    if row.per_hour:
        longest = max(output_p90, out.output_tokens)
        energy_p90 = energy_j(row, fresh, longest, out.tpot_s, batch)
        rent = rent_usd(row, fresh, out.output_tokens, out.tpot_s, batch)
        out.cost_amortised_usd = rent / max(UTILISATION_FLOOR, row.live.utilisation)
        out.cost_marginal_usd = out.energy_j * row.usd_per_joule
        out.cost_usd = owned_usd(row, rent, out.energy_j)
        out.cost_p90_usd = owned_usd(row, rent_usd(row, fresh, longest, out.tpot_s, batch), energy_p90)
    else:
        factor = 1.0 - row.batch_discount if shape.batch else 1.0
        out.price_factor = factor
        prompt = fresh * row.input_usd + shape.cached_tokens * row.cached_usd
        out.cost_usd = factor * (prompt + out.output_tokens * row.output_usd) + row.request_usd
        out.cost_p90_usd = factor * (prompt + max(output_p90, out.output_tokens) * row.output_usd) + row.request_usd
        out.cost_marginal_usd = out.cost_usd
        out.cost_amortised_usd = out.cost_usd
    # What this request costs the others in its batch, in user-seconds: slower steps, and a prefill in between.
    slope = row.speed.sequence_s + row.speed.context_s * (fresh + 0.5 * out.output_tokens)
    out.slowed_s = batch * (slope * out.output_tokens + 0.5 * row.speed.prefill_token_s * fresh)


def batch_size(row: Row, batch: float) -> float:
    """How many share a decode step. What is billed by the token is shared with callers nobody here sees: half full."""
    others = batch if row.per_hour else max(batch, HOSTED_FILL * row.max_concurrency)
    return min(max(1.0, others + 1.0), row.max_concurrency)


def replica_seconds(row: Row, fresh: float, output_tokens: float, tpot_s: float, batch: float) -> float:
    """A request's share of the replica's time: its prefill, and its part of each decode step."""
    sharing = batch_size(row, batch)
    return row.speed.prefill_token_s * fresh + output_tokens * tpot_s / sharing


def rent_usd(row: Row, fresh: float, output_tokens: float, tpot_s: float, batch: float) -> float:
    """Rent of the request's replica-seconds."""
    return row.usd_per_s * replica_seconds(row, fresh, output_tokens, tpot_s, batch)


def owned_usd(row: Row, rent: float, energy: float) -> float:
    """What a request on owned hardware costs: the elastic share of its rent, and for the rest its electricity.

    Rent is not divided by utilisation here, unlike the amortised cost that is reported: idle backends would look dear,
    stay idle and look dearer still.
    """
    return row.elastic * rent + (1.0 - row.elastic) * energy * row.usd_per_joule


def energy_j(row: Row, fresh: float, output_tokens: float, tpot_s: float, batch: float) -> float:
    """Joules at the wall. Power depends on the batch: a constant per device is wrong by five to ten times."""
    if row.watts <= 0.0:
        return 0.0
    sharing = batch_size(row, batch)
    decode_w = row.watts * (0.62 + 0.24 * math.sqrt(min(1.0, sharing / 256.0)))
    prefill = 0.9 * row.watts * row.speed.prefill_token_s * fresh
    return (1.0 + HOST_SHARE) * PUE * (prefill + decode_w * output_tokens * tpot_s / sharing)
