"""The figures of the predictor, each beside what is asked of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from router.domain.catalogue import Catalogue
from router.settings import load
from simulation.fit.judge import Tables, across, after, by_model, left_out, read
from simulation.measured.row import Measured
from simulation.validate.streams import Miss, Point, Score, misses, scored

CONFIG: Final = Path(__file__).resolve().parents[2] / "config"
FITTED_ON: Final = "h100-sxm-80"
NEVER_SEEN: Final = "b200-sxm-180"


def catalogue() -> Catalogue:
    """The shipped accelerators and models."""
    return load(CONFIG, {}).catalogue


def predictor_rows(data: Path) -> list[tuple[str, str, str, str]]:
    """(What, value, at least, stretch) of each figure that is asked of the predictor.

    Raises:
        NoTable: a table of measurements is missing.
    """
    tables = read(data, catalogue())
    found = left_out(tables, tables.published, by_model)
    none, four = after(found, 0), after(found, 4)
    other = after(across(tables, tables.published, from_=FITTED_ON, to=NEVER_SEEN), 0)
    return [
        ("TPOT, each model left out: mean error", _percent(none.mean_error), "12 %", "9 %"),
        ("the same after 4 observations", _percent(four.mean_error), "6 %", "4 %"),
        ("90 % intervals hold, 0 observations", _percent(none.cover90), "87-93 %", "89-91 %"),
        ("90 % intervals hold, 4 observations", _percent(four.cover90), "87-93 %", "89-91 %"),
        ("fitted on H100 only, on B200: mean error", _percent(other.mean_error), "15 %", "10 %"),
    ]


def families(found: Sequence[Point]) -> list[tuple[str, Score]]:
    """Errors of dense models, mixtures of experts and the others, with nothing observed."""
    kinds: dict[str, list[Miss]] = defaultdict(list)
    for miss in misses(found, 0):
        kinds[_kind(miss.point)].append(miss)
    return [(kind, scored(kinds[kind])) for kind in sorted(kinds)]


def _kind(point: Point) -> str:
    if point.model.experts > 1:
        return "mixture of experts"
    return "with Mamba layers" if point.model.state_bytes else "dense"


def worst(found: Sequence[Point], most: int = 6) -> list[tuple[str, Score]]:
    """The streams that the prior is furthest off on."""
    groups: dict[str, list[Miss]] = defaultdict(list)
    for miss in misses(found, 0):
        groups[_label(miss.point.row)].append(miss)
    ranked = sorted(((name, scored(group)) for name, group in groups.items()), key=lambda pair: -pair[1].mean_error)
    return ranked[:most]


def _label(row: Measured) -> str:
    return f"{row.name} on {row.count} x {row.accelerator}, {row.task}"


def of_tables(tables: Tables) -> str:
    """What was fitted to, in words."""
    models = {row.name for row in tables.decode}
    return f"{len(tables.decode)} points of {len(models)} models"


def _percent(share: float) -> str:
    return f"{100.0 * share:.1f} %"
