"""Least squares on logarithms: positive constants, outliers that weigh less, and what physics expects of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from simulation.fit.terms import EXPECTED, Array

# Beyond this |ln(predicted / observed)| a point weighs less and less (soft L1).
SOFT: Final = 0.1
# Points of one run are not independent: an expectation weighs as if the noise of a point were three times as large.
NOISE: Final = 0.15
STRENGTH: Final = 3.0
STEPS: Final = 60


def solve(terms: Array, observed: Array, names: Sequence[str]) -> Array:
    """The constants for which `terms @ constants` is nearest to `observed` (rows,), every one of them positive.

    Minimises sum soft(ln predicted - ln observed) + sum (strength * noise * (ln c - ln expected) / sd)^2 over ln c, by
    Gauss-Newton with damping.
    """
    expected = np.log([EXPECTED[name].median for name in names])
    pull = STRENGTH * NOISE / np.array([EXPECTED[name].sd_log for name in names])
    at = expected.copy()
    damping = 1e-3
    cost = _cost(terms, observed, at, expected, pull)
    for _ in range(STEPS):
        parts = terms * np.exp(at)
        whole = parts.sum(axis=1)
        error = np.log(whole / observed)
        weight = 1.0 / np.sqrt(1.0 + (error / SOFT) ** 2)
        slopes = parts / whole[:, None]
        left = slopes.T @ (weight[:, None] * slopes) + np.diag(pull**2)
        right = slopes.T @ (weight * error) + pull**2 * (at - expected)
        step = np.linalg.solve(left + damping * np.diag(np.diag(left)), right)
        new = at - np.clip(step, -1.0, 1.0)
        new_cost = _cost(terms, observed, new, expected, pull)
        if new_cost <= cost:
            done = cost - new_cost < 1e-12 * cost
            at, cost, damping = new, new_cost, damping * 0.3
            if done:
                break
        else:
            damping *= 10.0
    return np.asarray(np.exp(at), dtype=np.float64)


def _cost(terms: Array, observed: Array, at: Array, expected: Array, pull: Array) -> float:
    error = np.log(terms @ np.exp(at) / observed) / SOFT
    soft = 2.0 * SOFT**2 * (np.sqrt(1.0 + error**2) - 1.0)
    return float(soft.sum() + ((pull * (at - expected)) ** 2).sum())
