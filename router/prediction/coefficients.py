"""A row at this moment as coefficients of a request's size, for predicting thousands of rows at once (`many`).

What a forecast computes from the load and from what was learnt, and not from the request, is worked out here once for
every change of the row. The formulas are those of `predictor`, `money`, `energy` and `sharing`.
"""

from __future__ import annotations

import math
from typing import Final

from router.domain.rows import Row
from router.prediction.energy import PREFILL_SHARE, decode_share
from router.prediction.sharing import batch_size, step_slope_s

# Where each coefficient is in what `coefficients` returns.
TTFT_S: Final = 0
TOKEN_S: Final = 1
SQUARE_S: Final = 2
QUEUED: Final = 3
TPOT_S: Final = 4
TPOT_CONTEXT_S: Final = 5
TPOT_WINDOW_S: Final = 6
WINDOW: Final = 7
TPOT_W: Final = 8
TPOT_W_SIZE: Final = 9
TPOT_VAR: Final = 10
TPOT_VAR_SIZE: Final = 11
TPOT_VAR_SQUARE: Final = 12
TTFT_W: Final = 13
TTFT_W_SIZE: Final = 14
TTFT_VAR: Final = 15
TTFT_VAR_SIZE: Final = 16
TTFT_VAR_SQUARE: Final = 17
WAITING: Final = 18
SLOPE_S: Final = 19
SLOPE_CONTEXT_S: Final = 20
SLOPE_WINDOW_S: Final = 21
OTHERS: Final = 22
INPUT_USD: Final = 23
CACHED_USD: Final = 24
OUTPUT_USD: Final = 25
REQUEST_USD: Final = 26
WORK_USD: Final = 27
DECODE_USD: Final = 28
WORK_J: Final = 29
DECODE_J: Final = 30
G_PER_J: Final = 31
PREEMPTIONS_PER_S: Final = 32
RESTART_USD: Final = 33
# Of Student's t while little was observed (`learned.within`): its degrees of freedom, one over them, and a factor.
FREEDOM: Final = 34
PER_FREEDOM: Final = 35
NEARLY_ONE: Final = 36
# What a second is worth to those in flight, -1 where that is not known.
SECOND_USD: Final = 37
COUNT: Final = 38


def coefficients(row: Row) -> tuple[float, ...]:
    """The coefficients of one row, `COUNT` of them, in the order above."""
    live, speed, learned = row.live, row.speed, row.learned
    batch = live.batch()
    waiting = live.prefilling()
    slots = row.max_concurrency
    freedom = len(learned.tail) + 3.0
    decoding = min(batch + 1.0, slots)
    load = min(8.0, math.log(max(1e-3, (batch + 1.0) / 32.0)))
    touched = 1.0
    if speed.expert_share > 0.0:
        touched = 1.0 - speed.expert_share * speed.expert_miss**decoding
    tpot, ttft = learned.tpot, learned.ttft
    others = max(0.0, min(batch, slots))
    sharing = batch_size(row, batch)
    watts = row.at_the_wall * row.watts
    work_j = watts * PREFILL_SHARE
    decode_j = watts * decode_share(sharing) / sharing
    work_usd = decode_usd = input_usd = cached_usd = output_usd = request_usd = 0.0
    if row.per_hour:
        powered = (1.0 - row.elastic) * row.usd_per_joule
        work_usd = row.elastic * row.usd_per_s + powered * work_j
        decode_usd = row.elastic * row.usd_per_s / sharing + powered * decode_j
    else:
        input_usd, cached_usd = row.input_usd, row.cached_usd
        output_usd, request_usd = row.output_usd, row.request_usd
    return (
        row.network_rtt_s + speed.prefill_base_s + waiting * speed.prefill_token_s,
        speed.prefill_token_s,
        speed.prefill_square_s,
        max(0.0, batch + 1.0 - slots) / slots,
        speed.fixed_s + speed.weights_s * touched + decoding * speed.sequence_s,
        decoding * speed.context_s,
        decoding * speed.window_s,
        speed.window_tokens,
        tpot.w0 + tpot.w1 * load + tpot.shift,
        tpot.w2,
        tpot.scale * (tpot.p00 + 2.0 * tpot.p01 * load + tpot.p11 * load * load + tpot.noise),
        tpot.scale * 2.0 * (tpot.p02 + tpot.p12 * load),
        tpot.scale * tpot.p22,
        ttft.w0 + ttft.w2 * load + ttft.shift,
        ttft.w1,
        ttft.scale * (ttft.p00 + 2.0 * ttft.p02 * load + ttft.p22 * load * load + ttft.noise),
        ttft.scale * 2.0 * (ttft.p01 + ttft.p12 * load),
        ttft.scale * ttft.p11,
        waiting,
        step_slope_s(row, others, 0.0),
        speed.context_s,
        speed.window_s,
        others,
        input_usd,
        cached_usd,
        output_usd,
        request_usd,
        work_usd,
        decode_usd,
        work_j,
        decode_j,
        row.grid.g_per_joule,
        row.preemptions_per_s,
        row.restart_usd,
        freedom,
        1.0 / freedom,
        (8.0 * freedom + 1.0) / (8.0 * freedom + 3.0),
        live.second_usd(-1.0),
    )
