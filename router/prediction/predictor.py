"""Turns a row and a request's shape into a forecast: latency as log-normals, tokens, money and energy.

The mean comes from the physics prior and the backend's present load, corrected by what was learnt about it: decode time
by the batch, queueing for a slot when all are taken. Dollars are in `money`, joules in `energy`.
"""

from __future__ import annotations

import math
from typing import Final

from router.domain.learned import Learned
from router.domain.rows import Forecast, Row, Shape
from router.prediction import money

P90: Final = 1.2816
SQRT2: Final = math.sqrt(2.0)
OUTPUT_SD_LOG: Final = 0.7
LENGTH_SPREAD: Final = math.exp(OUTPUT_SD_LOG * OUTPUT_SD_LOG) - 1.0
LENGTH_P90: Final = math.exp(P90 * OUTPUT_SD_LOG)


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

    output_p90 = min(shape.max_output_tokens, out.output_tokens * LENGTH_P90)
    money.price(out, shape, fresh=fresh, batch=batch, output_p90=output_p90)
    return out
