"""The online correction (DECISION 2.2): what each answer says about how far the prior is off.

    learned = Learned(prior_sd_log=hardware.prior_sd_log)         # router.domain.learned; one per (backend, model)
    observe(learned, prior_ttft_s=, prior_tpot_s=, ttft_s=, tpot_s=, now=, batch=, prompt_tokens=, context_tokens=)
    x1, x2 = tpot_features(batch, context_tokens)                 # likewise ttft_features(prompt_tokens, batch)
    mean, variance = learned.tpot.mean(x1, x2), learned.tpot.variance(x1, x2)         # of ln(observed / prior)
    expected_s = prior_s * exp(mean + variance / 2); quantile_s = prior_s * exp(mean + z_q * sqrt(variance))
    learned.tail.within((ln(limit_s / prior_s) - mean) / sqrt(variance))              # P(TTFT <= limit), conformal
    fade(learned, now)                                            # what time alone changes
    unfinished(learned, waited_s=, ...)                           # an attempt that ended without a first token
    learned.ttft.shift = waiting_shift(learned.tail, late)       # those that go on

`batch` are the other sequences there, `prompt_tokens` those to prefill before the first token (others' that wait and
the request's own that no cache holds), `context_tokens` the prompt and half of the answer. Every observation is a
Kalman step whose process noise leads back to the prior, and never beyond it: an idle backend does not wind up.
"""

from __future__ import annotations

import math
from typing import Final

from router.domain import normal
from router.domain.learned import Belief, Learned, Tail

HALF_LIFE_S: Final = 900.0
# The mean is pulled to the prior as well, slower: an idle backend is not held at its last bad value.
PULL: Final = 0.125
CLIP_SD: Final = 4.0
# The noise follows the last fifty observations, in the beginning all of them.
NOISE_RATE: Final = 0.02
NOISE_START: Final = 8.0
MIN_NOISE: Final = 4e-4
MIN_SCALE: Final = 0.5
MAX_SCALE: Final = 4.0
# Change detection: two sums of surprise, and two large surprises in a row.
ALLOWANCE_SD: Final = 0.5
ALARM_SD: Final = 8.0
SURPRISE_SD: Final = 3.0
FEATURE_LIMIT: Final = 8.0
# Keeps P positive definite whatever is rounded.
RIDGE: Final = 1e-9
# Beyond this what is seen is a broken clock, not a slow backend.
MAX_LOG: Final = 40.0
# An attempt is late beyond this quantile of its forecast, 95 %.
LATE_SD: Final = 1.645


def tpot_features(batch: float, context_tokens: float) -> tuple[float, float]:
    """What TPOT's correction is linear in, beside a constant."""
    return _log(batch + 1.0, 32.0), _log(context_tokens, 2000.0)


def ttft_features(prompt_tokens: float, batch: float) -> tuple[float, float]:
    """What TTFT's correction is linear in, beside a constant."""
    return _log(prompt_tokens + 256.0, 2000.0), _log(batch + 1.0, 32.0)


def _log(value: float, unit: float) -> float:
    if not value > 1e-3 * unit:
        value = 1e-3 * unit
    return min(FEATURE_LIMIT, math.log(value / unit))


def observe(
    learned: Learned,
    *,
    prior_ttft_s: float,
    prior_tpot_s: float,
    ttft_s: float | None,
    tpot_s: float | None,
    now: float,
    batch: float = 31.0,
    prompt_tokens: float = 1744.0,
    context_tokens: float = 2000.0,
) -> None:
    """Takes one answer into the belief. What was not observed (None) leaves its half as it is."""
    if ttft_s is not None and _sane(ttft_s, prior_ttft_s):
        x1, x2 = ttft_features(prompt_tokens, batch)
        learned.tail.add(update(learned.ttft, x1, x2, math.log(ttft_s / prior_ttft_s), now))
    if tpot_s is not None and _sane(tpot_s, prior_tpot_s):
        x1, x2 = tpot_features(batch, context_tokens)
        update(learned.tpot, x1, x2, math.log(tpot_s / prior_tpot_s), now)
    learned.observations = max(learned.ttft.count, learned.tpot.count)


def _sane(seconds: float, prior_s: float) -> bool:
    return 0.0 < seconds < math.inf and 0.0 < prior_s < math.inf


def fade(learned: Learned, now: float) -> None:
    """Leads a belief back to the prior by the time that has passed. Any number of steps comes to the same."""
    _fade(learned.ttft, now)
    _fade(learned.tpot, now)


def _fade(belief: Belief, now: float) -> None:
    elapsed = now - belief.at
    if not elapsed > 0.0:
        return
    belief.at = now
    if not belief.count:
        return
    kept = 2.0 ** (-elapsed / HALF_LIFE_S)
    lost = 1.0 - kept
    slope_var = belief.slope_var
    belief.p00 += lost * (belief.intercept_var - belief.p00)
    belief.p11 += lost * (slope_var - belief.p11)
    belief.p22 += lost * (slope_var - belief.p22)
    belief.p01 *= kept
    belief.p02 *= kept
    belief.p12 *= kept
    pull = kept**PULL
    belief.w0 *= pull
    belief.w1 *= pull
    belief.w2 *= pull
    belief.scale += (1.0 - pull) * (1.0 - belief.scale)


def update(belief: Belief, x1: float, x2: float, z: float, now: float) -> float:
    """One observed z. Returns by how many of the deviations that were forecast it was off."""
    _fade(belief, now)
    known = _known(belief, x1, x2)
    noise = belief.noise
    error = min(MAX_LOG, max(-MAX_LOG, z)) - belief.base(x1, x2)
    off = error / math.sqrt(known + noise)
    expected = math.sqrt(belief.scale)
    if _changed(belief, off):
        belief.reopen()
        known = _known(belief, x1, x2)
    spread = known + noise
    limit = CLIP_SD * math.sqrt(spread)
    error = min(limit, max(-limit, error))
    _step(belief, x1, x2, error / spread, 1.0 / spread)
    belief.count += 1
    # Of the squared error that share is noise which the model gives it, so that an uncertain mean does not pass for it.
    rate = max(NOISE_RATE, 1.0 / (NOISE_START + belief.count))
    share = noise / spread
    belief.noise = max(MIN_NOISE, (1.0 - rate) * noise + rate * share * (share * error * error + known))
    # A belief that fades faster than its backend changes expects more than comes.
    scale = belief.scale + NOISE_RATE * (min(CLIP_SD * CLIP_SD, off * off) - belief.scale)
    belief.scale = min(MAX_SCALE, max(MIN_SCALE, scale))
    return off / expected


def _known(belief: Belief, x1: float, x2: float) -> float:
    """x'Px: the variance of the mean."""
    cross = belief.p01 * x1 + belief.p02 * x2 + belief.p12 * x1 * x2
    return belief.p00 + belief.p11 * x1 * x1 + belief.p22 * x2 * x2 + 2.0 * cross


def _step(belief: Belief, x1: float, x2: float, pull: float, gain: float) -> None:
    """Moves w by Px times `pull` and takes Px x'P times `gain` off P."""
    p01, p02, p12 = belief.p01, belief.p02, belief.p12
    k0 = belief.p00 + p01 * x1 + p02 * x2
    k1 = p01 + belief.p11 * x1 + p12 * x2
    k2 = p02 + p12 * x1 + belief.p22 * x2
    belief.w0 += k0 * pull
    belief.w1 += k1 * pull
    belief.w2 += k2 * pull
    belief.p00 += RIDGE - k0 * k0 * gain
    belief.p01 = p01 - k0 * k1 * gain
    belief.p02 = p02 - k0 * k2 * gain
    belief.p11 += RIDGE - k1 * k1 * gain
    belief.p12 = p12 - k1 * k2 * gain
    belief.p22 += RIDGE - k2 * k2 * gain


def _changed(belief: Belief, off: float) -> bool:
    """Whether what is observed has become another: many small surprises to one side, or two large ones in a row."""
    bounded = min(CLIP_SD, max(-CLIP_SD, off))
    up = belief.up = max(0.0, belief.up + bounded - ALLOWANCE_SD)
    down = belief.down = max(0.0, belief.down - bounded - ALLOWANCE_SD)
    streak = belief.streak
    if off > SURPRISE_SD:
        streak = streak + 1 if streak > 0 else 1
    elif off < -SURPRISE_SD:
        streak = streak - 1 if streak < 0 else -1
    else:
        streak = 0
    belief.streak = streak
    return up > ALARM_SD or down > ALARM_SD or streak > 1 or streak < -1


def unfinished(
    learned: Learned, *, prior_ttft_s: float, waited_s: float, prompt_tokens: float, batch: float, now: float
) -> None:
    """An attempt ended after `waited_s` without a first token, not by a fault: TTFT is longer than that.

    One that was cut off early says nothing, so that callers who lose patience do not make a backend look slow.
    """
    belief = learned.ttft
    _fade(belief, now)
    if not _sane(waited_s, prior_ttft_s):
        return
    x1, x2 = ttft_features(prompt_tokens, batch)
    spread = _known(belief, x1, x2) + belief.noise
    error = math.log(waited_s / prior_ttft_s) - belief.base(x1, x2)
    if error < LATE_SD * math.sqrt(spread):
        return
    if _changed(belief, error / math.sqrt(spread)):
        belief.reopen()
        spread = _known(belief, x1, x2) + belief.noise
    # Mean and variance of a normal that is known to lie above: by its hazard rate there.
    above = min(CLIP_SD, error / math.sqrt(spread))
    hazard = math.exp(-0.5 * above * above) / (math.sqrt(2.0 * math.pi) * normal.below(-above))
    _step(belief, x1, x2, hazard / math.sqrt(spread), hazard * (hazard - above) / spread)
    # From now on time leads it back, also where no answer ever came.
    belief.count += 1


# How much slower a backend may have become, each with the probability that it just has.
# A list: mypyc takes a constant tuple of tuples of floats for one that was never set.
SLOWER: Final[list[tuple[float, float]]] = [
    (math.log(1.5), 0.0015),
    (math.log(2.0), 0.00125),
    (math.log(3.0), 0.001),
    (math.log(5.0), 0.0006),
    (math.log(10.0), 0.0004),
    (math.log(30.0), 0.00015),
    (math.log(100.0), 0.0001),
]
STEADY: Final = 0.995
# Attempts that wait behind each other are no independent witnesses.
MAX_WITNESSES: Final = 8
LEAST_LIKELY: Final = 1e-6
# Tokens that are expected at least, before their absence says anything; how the variation of their flow is learnt.
LEAST_EXPECTED: Final = 6.0
FLOW_RATE: Final = 0.01
FLOW_CLIP: Final = 9.0


def waiting_shift(tail: Tail, late: list[tuple[float, float]]) -> float:
    """By how much (in the logarithm) TTFT is longer now, judging by attempts that still wait for their first token.

    `late` holds, of each, how far beyond the expected logarithm it is already, and the standard deviation. The mean
    over what may have happened: nothing, or any slow-down of `SLOWER`.
    """
    same, changed, total = STEADY, 0.0, 0.0
    for beyond, sd in late[:MAX_WITNESSES]:
        same *= max(LEAST_LIKELY, 1.0 - tail.within(beyond / sd))
    for shift, chance in SLOWER:
        for beyond, sd in late[:MAX_WITNESSES]:
            chance *= max(LEAST_LIKELY, 1.0 - tail.within((beyond - shift) / sd))  # noqa: PLW2901 - a product
        total += chance
        changed += chance * shift
    return changed / (same + total)


def pace_shift(seen: list[tuple[float, float]]) -> float:
    """The same for TPOT, by the pace of answers since they began: how far off each is, and the deviation."""
    same, total, changed = 0.0, 0.0, 0.0
    for beyond, sd in seen[:MAX_WITNESSES]:
        same -= 0.5 * min(50.0, (beyond / sd) ** 2)
    for shift, chance in SLOWER:
        off = 0.0
        for beyond, sd in seen[:MAX_WITNESSES]:
            off -= 0.5 * min(50.0, ((beyond - shift) / sd) ** 2)
        weight = chance * math.exp(min(600.0, off - same))
        total += weight
        changed += weight * shift
    return changed / (STEADY + total)


def flow_shift(learned: Learned, expected: float, came: float, variance: float) -> float:
    """The same for TPOT, by answers on their way: `came` of the `expected` tokens did so in the last moments.

    How much that varies from moment to moment by itself (prompts of others are read in between) is learnt beside it.
    """
    if expected < LEAST_EXPECTED:
        return 0.0
    beyond = math.log(expected / max(0.5, came))
    counting = 1.0 / max(1.0, came)
    learned.flow_var += FLOW_RATE * (min(beyond * beyond, FLOW_CLIP * learned.flow_var) - learned.flow_var)
    learned.flow_var = max(MIN_NOISE, learned.flow_var)
    if beyond <= 0.0:
        return 0.0
    spread = variance + counting + learned.flow_var
    same = STEADY * math.exp(-0.5 * beyond * beyond / spread)
    changed, total = 0.0, 0.0
    for shift, chance in SLOWER:
        weight = chance * math.exp(-0.5 * (beyond - shift) ** 2 / spread)
        total += weight
        changed += weight * shift
    # Beyond all that is thought of nothing is likely; it is as slow as can be.
    return changed / (same + total) if total > 0.0 else SLOWER[-1][0]
