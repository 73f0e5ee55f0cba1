"""What a belief begins with: how far off the prior is expected to be, before anything was observed.

The constants are such that intervals of 90 % hold what was measured of models that were left out of the fit, with
nothing observed and after four observations (docs/prior.md).
"""

from __future__ import annotations

import math
from typing import Final

from router.domain.hardware import Hardware, Model
from router.domain.learned import Belief, Learned
from router.prediction.physics import ENGINE_OVERHEAD

# Added in squares to the accelerator's own: mixtures of experts and layers with states differ more than dense models,
# and so do engines whose own overhead is an estimate, and sizes that follow from a name.
UNLIKE_SD: Final = 0.11
ENGINE_SD: Final = 0.15
GUESS_SD: Final = 0.30
# Slopes over load and context, of the sd of the level, and at most (DECISION 2.2).
SLOPE_SHARE: Final = 0.4
SLOPE_MOST: Final = 0.15
TPOT_NOISE_SD: Final = 0.055
# First tokens also wait in queues that nobody sees, on stacks that differ more.
TTFT_SD: Final = 0.30
TTFT_SLOPE_SD: Final = 0.10
TTFT_NOISE_SD: Final = 0.25


def prior_sd_log(model: Model, hardware: Hardware, engine: str = "") -> float:
    """Standard deviation of ln(observed / prior) of TPOT, with nothing observed."""
    if hardware.kind == "hosted":
        return hardware.prior_sd_log
    variance = hardware.prior_sd_log**2
    if model.experts > 1 or model.state_bytes > 0.0:
        variance += UNLIKE_SD**2
    if engine in ENGINE_OVERHEAD:
        variance += ENGINE_SD**2
    if model.guessed:
        variance += GUESS_SD**2
    return math.sqrt(variance)


def beginning(model: Model, hardware: Hardware, engine: str = "") -> Learned:
    """The belief about a model on an accelerator, served by an engine, with nothing observed."""
    sd = prior_sd_log(model, hardware, engine)
    learned = Learned(prior_sd_log=sd, slope_sd_log=min(SLOPE_MOST, SLOPE_SHARE * sd), tpot_noise_sd=TPOT_NOISE_SD)
    learned.ttft = Belief(intercept_sd=max(sd, TTFT_SD), slope_sd=TTFT_SLOPE_SD, noise_sd=TTFT_NOISE_SD)
    return learned
