"""What was learnt about a backend with a model. Plain typed attributes: it compiles to native code unchanged."""

from __future__ import annotations

import math

from router.domain.live import NEVER


class Learned:
    """How far a (backend, model) is from its prior: a normal belief about the logarithm of observed over predicted.

    `*_noise` is the variance of one observation, `*_var` of the belief itself. What a forecast needs of them is kept:
    `*_factor` (mean of observed over prior), `*_spread` (squared coefficient of variation) and `*_sd` (of the
    logarithm), made anew by `refresh`: a decision reads a belief far more often than an answer changes it.
    """

    def __init__(self, *, prior_sd_log: float) -> None:
        self.prior_var = prior_sd_log * prior_sd_log
        self.ttft_mean = 0.0
        self.ttft_var = self.prior_var
        self.ttft_noise = 0.0625
        self.tpot_mean = 0.0
        self.tpot_var = self.prior_var
        self.tpot_noise = 0.0025
        self.observations = 0
        self.updated_at = NEVER
        self.ttft_factor = 1.0
        self.ttft_spread = 0.0
        self.ttft_sd = 1.0
        self.tpot_factor = 1.0
        self.tpot_spread = 0.0
        self.tpot_sd = 1.0
        self.refresh()

    def refresh(self) -> None:
        """Brings the kept figures up to date."""
        ttft, tpot = self.ttft_var + self.ttft_noise, self.tpot_var + self.tpot_noise
        self.ttft_factor = math.exp(self.ttft_mean + 0.5 * ttft)
        self.ttft_spread = math.exp(ttft) - 1.0
        self.ttft_sd = math.sqrt(ttft)
        self.tpot_factor = math.exp(self.tpot_mean + 0.5 * tpot)
        self.tpot_spread = math.exp(tpot) - 1.0
        self.tpot_sd = math.sqrt(tpot)
