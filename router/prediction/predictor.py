"""Turns a row and a request's shape into a forecast: latency as log-normals, tokens, money and energy.

The mean comes from the physics prior and the backend's present load, corrected by what was learnt about it: decode time
by the batch, prompts that wait, queueing for a slot when all are taken. Dollars are in `money`, joules in `energy`.

Prompts that wait are worked off at the prefill rate of the prior, and the correction multiplies all of it: the rate
that was learnt is the prior's divided by `prefill_pace`. A rate learnt beside the correction would be learnt twice.
"""

from __future__ import annotations

import math
from typing import Final

from router.domain import normal
from router.domain.length import Length
from router.domain.rows import Forecast, Row, Shape
from router.prediction import money

# Where nothing is known of an answer's length but its mean.
OUTPUT_SD_LOG: Final = 0.7
LENGTH_SPREAD: Final = math.exp(OUTPUT_SD_LOG * OUTPUT_SD_LOG) - 1.0
LENGTH_P90: Final = math.exp(1.2816 * OUTPUT_SD_LOG)
# So wide is nothing: beyond it the mean of a log-normal is all tail.
MAX_VARIANCE: Final = 4.0
# No queue is known better than to a tenth: what is calm for two hundred answers still comes in bursts.
LEAST_TTFT_VAR: Final = 0.01
# Shared state that is older says less about queues, and a little less about batches: variance of the logarithm,
# each second.
FRESH_S: Final = 1.0
TTFT_AGEING: Final = 0.05
TPOT_AGEING: Final = 0.0125
MAX_AGEING_S: Final = 5.0
# Of the correction of TTFT, what is taken to be the prefill's own pace.
MIN_PACE: Final = 0.25
MAX_PACE: Final = 4.0
LOG_LIMIT: Final = 8.0


def p_within(limit: float, mean: float, sd_log: float) -> float:
    """P(X <= limit) for a log-normal X with this mean; `sd_log` is the standard deviation of its logarithm."""
    if limit <= 0.0:
        return 0.0
    return normal.below(math.log(limit / mean) / sd_log + 0.5 * sd_log)


def prior_times(
    row: Row, *, input_tokens: float, output_tokens: float, batch: float, cached_tokens: float = 0.0
) -> tuple[float, float]:
    """(TTFT, TPOT) in seconds by the prior alone, with `batch` other sequences on the backend."""
    tpot = row.speed.tpot_s(min(batch + 1.0, row.max_concurrency), input_tokens + 0.5 * output_tokens)
    return _prior_ttft_s(row, input_tokens - cached_tokens, output_tokens, batch, tpot), tpot


def _prior_ttft_s(row: Row, fresh: float, output_tokens: float, batch: float, tpot_s: float) -> float:
    speed = row.speed
    queue = row.live.prefilling() * speed.prefill_token_s
    excess = batch + 1.0 - row.max_concurrency
    if excess > 0.0:
        queue += excess * output_tokens * tpot_s / row.max_concurrency
    return row.network_rtt_s + queue + speed.prefill_s(fresh)


def _log(value: float) -> float:
    """The logarithm, within what a correction is linear in."""
    return min(LOG_LIMIT, math.log(max(1e-3, value)))


def forecasts(rows: list[Row], shape: Shape, lengths: dict[str, Length]) -> list[Forecast]:
    """The forecasts of rows, not yet scored; `lengths` holds the expected answer of each row's model."""
    return [predict(row, shape, lengths[row.model]) for row in rows]


def forecast(row: Row, shape: Shape, output_tokens: float) -> Forecast:
    """The forecast of one row for an answer of which only the expected number of tokens is known."""
    spread = output_tokens * output_tokens * LENGTH_SPREAD
    p90 = min(shape.max_output_tokens, output_tokens * LENGTH_P90)
    return predict(row, shape, Length(output_tokens, variance=spread, p90=p90, sd_log=OUTPUT_SD_LOG))


def predict(row: Row, shape: Shape, length: Length) -> Forecast:
    """The forecast of one row, not yet scored."""
    out = Forecast(row)
    learned = row.learned
    batch = row.live.batch()
    tokens = length.tokens
    out.batch = batch
    out.length = length
    out.output_tokens = tokens
    out.input_tokens = shape.input_tokens
    cached = shape.cached_on.get(row.id, shape.cached_tokens) if shape.cached_on else shape.cached_tokens
    fresh = max(0.0, shape.input_tokens - cached)
    context = shape.input_tokens + 0.5 * tokens

    decoding = min(batch + 1.0, row.max_concurrency)
    load = _log((batch + 1.0) / 32.0)
    if length.context_tokens != context:
        # The same for all that serve the model.
        length.context_tokens = context
        length.context_log = _log(context / 2000.0)
    size = length.context_log
    tpot = max(1e-7, row.speed.tpot_s(decoding, context))
    tpot_var = min(MAX_VARIANCE, learned.tpot.variance(load, size))
    # Of a log-normal: its mean over its median, whose square is 1 and the squared coefficient of variation.
    tpot_skew = math.exp(0.5 * tpot_var)
    tpot_median = tpot * math.exp(learned.tpot.mean(load, size))

    # Slots become free at the pace of decoding as it was learnt.
    ttft = max(1e-6, _prior_ttft_s(row, fresh, tokens, batch, tpot_median * tpot_skew))
    prompt = row.live.prefilling() + fresh
    size = _log((prompt + 256.0) / 2000.0)
    ttft_var = min(MAX_VARIANCE, max(LEAST_TTFT_VAR, learned.ttft.variance(size, load)))
    pace = math.exp(learned.ttft.mean(size, load))

    if shape.state_age_s > FRESH_S:
        stale = min(MAX_AGEING_S, shape.state_age_s - FRESH_S)
        ttft_var += TTFT_AGEING * stale
        tpot_var += TPOT_AGEING * stale
        tpot_skew = math.exp(0.5 * tpot_var)
    ttft_skew = math.exp(0.5 * ttft_var)
    out.prior_ttft_s = ttft
    out.prior_tpot_s = tpot
    out.prompt_tokens = prompt
    out.prefill_pace = min(MAX_PACE, max(MIN_PACE, pace))
    out.ttft_s = ttft * pace * ttft_skew
    out.tpot_s = tpot_median * tpot_skew
    out.ttft_sd = math.sqrt(ttft_var)
    out.tpot_sd = math.sqrt(tpot_var)

    decode = max(0.0, tokens - 1.0) * out.tpot_s
    out.e2e_s = out.ttft_s + decode
    variance = (
        out.ttft_s * out.ttft_s * (ttft_skew * ttft_skew - 1.0)
        + decode * decode * (tpot_skew * tpot_skew - 1.0)
        + out.tpot_s * out.tpot_s * length.variance
    )
    # The sum is taken as one more log-normal of the same mean and variance.
    out.e2e_var = math.log(1.0 + variance / (out.e2e_s * out.e2e_s))
    _chances(out, shape, ttft * pace)
    money.price(out, shape, fresh=fresh, batch=batch, output_p90=min(shape.max_output_tokens, length.p90))
    return out


def _chances(out: Forecast, shape: Shape, ttft_median_s: float) -> None:
    """How likely each objective is to be met; that of the first token by the residuals that were observed."""
    limit = shape.ttft_slo_s
    if limit <= 0.0:
        out.p_ttft = 0.0
    elif limit < math.inf:
        out.p_ttft = out.row.learned.tail.within(math.log(limit / ttft_median_s) / out.ttft_sd)
    if shape.tpot_slo_s < math.inf:
        out.p_tpot = p_within(shape.tpot_slo_s, out.tpot_s, out.tpot_sd)
    if shape.e2e_slo_s < math.inf:
        out.p_e2e = p_within(shape.e2e_slo_s, out.e2e_s, math.sqrt(out.e2e_var))
