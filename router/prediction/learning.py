"""The online correction: after each completed request, how far was the prior off?

A normal belief about ln(observed / prior) per (backend, model), with an intercept only: information decays to the prior
with a half-life (never beyond it, so an idle backend does not wind up), outliers are clipped, and the noise is learnt
beside the mean. The regression on load and context, change detection and conformal quantiles take this same place.
"""

from __future__ import annotations

import math
from typing import Final

from router.domain.learned import Learned

HALF_LIFE_S: Final = 900.0
CLIP_SD: Final = 4.0
NOISE_RATE: Final = 0.05
MIN_NOISE: Final = 4e-4


def _update(
    mean: float, var: float, noise: float, prior_var: float, decay: float, z: float
) -> tuple[float, float, float]:
    var += (1.0 - decay) * (prior_var - var)
    # A slow pull of the mean to the prior, so that an idle backend is not frozen at its last bad value.
    mean *= decay**0.125
    spread = var + noise
    limit = CLIP_SD * math.sqrt(spread)
    error = min(max(z - mean, -limit), limit)
    gain = var / spread
    mean += gain * error
    noise = (1.0 - NOISE_RATE) * noise + NOISE_RATE * max(error * error - var, MIN_NOISE)
    return mean, var * (1.0 - gain), noise


def observe(
    learned: Learned,
    *,
    prior_ttft_s: float,
    prior_tpot_s: float,
    ttft_s: float | None,
    tpot_s: float | None,
    now: float,
) -> None:
    """Takes one completed request into the belief. Unobserved quantities (None) leave their half as it is."""
    elapsed = max(0.0, now - learned.updated_at) if learned.observations else 0.0
    decay = 2.0 ** (-elapsed / HALF_LIFE_S)
    if ttft_s is not None and ttft_s > 0.0 and prior_ttft_s > 0.0:
        learned.ttft_mean, learned.ttft_var, learned.ttft_noise = _update(
            learned.ttft_mean,
            learned.ttft_var,
            learned.ttft_noise,
            learned.prior_var,
            decay,
            math.log(ttft_s / prior_ttft_s),
        )
    if tpot_s is not None and tpot_s > 0.0 and prior_tpot_s > 0.0:
        learned.tpot_mean, learned.tpot_var, learned.tpot_noise = _update(
            learned.tpot_mean,
            learned.tpot_var,
            learned.tpot_noise,
            learned.prior_var,
            decay,
            math.log(tpot_s / prior_tpot_s),
        )
    learned.refresh()
    learned.observations += 1
    learned.updated_at = now
