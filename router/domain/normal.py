"""The normal distribution. Compiled, these are a few multiplications; `math.erfc` would be a call into Python."""

from __future__ import annotations

import math
from typing import Final

HALF_SQRT2: Final = math.sqrt(0.5)


def below(z: float) -> float:
    """P(Z <= z), with a relative error below 2e-7 in either tail: what is hopeless and what is more so stay apart.

    By the rational Chebyshev fit of erfc in Numerical Recipes (6.2).
    """
    x = HALF_SQRT2 * (z if z >= 0.0 else -z)
    t = 1.0 / (1.0 + 0.5 * x)
    series = -0.82215223 + t * 0.17087277
    series = -1.13520398 + t * (1.48851587 + t * series)
    series = -0.18628806 + t * (0.27886807 + t * series)
    series = 0.37409196 + t * (0.09678418 + t * series)
    series = -1.26551223 + t * (1.00002368 + t * series)
    # Not above a half, which rounding would make of it at zero.
    tail = min(0.5, 0.5 * t * math.exp(series - x * x))
    return 1.0 - tail if z >= 0.0 else tail
