"""The prior as a sum of terms, one for each constant: what it is with that constant at 1 and all others at 0.

The terms are those of the product's own formula (`router.prediction.physics`), never a second version of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from router.domain.catalogue import Catalogue
from router.prediction.constants import FITTED, Constants
from router.prediction.physics import speed
from simulation.measured.row import Measured

Array = NDArray[np.float64]
NAMES: Final = tuple(field.name for field in fields(Constants))
DECODE: Final = tuple(name for name in NAMES if not name.startswith("prefill_"))
PREFILL: Final = tuple(name for name in NAMES if name.startswith("prefill_"))


@dataclass(frozen=True)
class Expected:
    """What physics expects of a constant before any table is read: the median of a log-normal and its sd (of ln)."""

    median: float
    sd_log: float
    meaning: str


EXPECTED: Final[dict[str, Expected]] = {
    "layer_s": Expected(80e-6, 0.3, "s per layer and step: launches of a dozen kernels that nothing hides"),
    "collective_s": Expected(25e-6, 1.0, "s more per layer where eight or more devices meet after it"),
    "cast_s": Expected(40e-6, 1.0, "s more per layer to cast activations to 8 bits"),
    "expert_layer_s": Expected(50e-6, 1.0, "s more per layer of experts spread over devices: two exchanges"),
    "weight_traffic": Expected(1.05, 0.15, "times the weights over nominal bandwidth; 1.05 is 95 % of it"),
    "expert_traffic": Expected(1.10, 0.25, "the same for the experts that a batch touches"),
    "cast_expert_traffic": Expected(0.60, 1.0, "added to that where spread experts are stored at 8 bits"),
    "kv_traffic": Expected(1.30, 0.4, "times the cache over nominal bandwidth"),
    "state_traffic": Expected(1.20, 0.4, "times the states of Mamba layers, read and written"),
    "arithmetic": Expected(1.40, 0.5, "times FLOPs over peak: 1.4 is 70 % of it"),
    "sequence_s": Expected(50e-6, 0.5, "s per sequence and step: scheduling, sampling, detokenising on the host"),
    "prefill_layer_s": Expected(370e-6, 0.5, "s per layer of a prompt, whatever its length"),
    "prefill_arithmetic": Expected(1.50, 0.5, "times FLOPs over peak: 1.5 is 67 % of it"),
    "prefill_hop_s": Expected(170e-9, 1.0, "s per layer, token and doubling of devices"),
}


def terms(rows: Sequence[Measured], catalogue: Catalogue, names: Sequence[str] = DECODE) -> Array:
    """TPOT of each row by each constant alone, (rows, constants) in seconds per unit of the constant."""
    return np.array([[_times(row, catalogue, _unit(name))[0] for name in names] for row in rows])


def prefill_terms(rows: Sequence[Measured], catalogue: Catalogue) -> Array:
    """Time to prefill the prompts of each row by each constant alone, (rows, constants)."""
    return np.array([[_times(row, catalogue, _unit(name))[1] for name in PREFILL] for row in rows])


def vector(names: Sequence[str], constants: Constants = FITTED) -> Array:
    """The constants of that name, in that order."""
    values = asdict(constants)
    return np.array([values[name] for name in names])


def _unit(name: str) -> Constants:
    return Constants(**{other: 1.0 if other == name else 0.0 for other in NAMES})


def _times(row: Measured, catalogue: Catalogue, constants: Constants) -> tuple[float, float]:
    pace = speed(
        catalogue.models[row.model],
        catalogue.hardware[row.accelerator],
        count=row.count,
        bytes_per_weight=row.bytes_per_weight,
        bytes_per_kv=row.bytes_per_kv,
        expert_parallel=row.expert_parallel,
        engine=row.engine,
        constants=constants,
    )
    # Prompts of a batch are prefilled together.
    tokens = row.batch * (row.prompt_tokens or 0.0)
    each = row.prompt_tokens or 0.0
    prefill = pace.prefill_base_s + tokens * (pace.prefill_token_s + pace.prefill_square_s * each)
    return pace.tpot_s(row.batch, row.context_tokens), prefill
