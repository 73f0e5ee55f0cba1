"""`python -m simulation.validate --tpot FILE.csv [--json] [--given NAME=VALUE]`: forecasts against measurements.

The file has a line of names and a row per measurement: accelerator, count, model, batch, context (or lengths of input
and output) and TPOT, under any of the usual names. Errors are of the prior, and of the belief after so many
observations of each stream (one model on so many accelerators), in the order of the file and in random orders.

Exit status: 0 when there was something to forecast, 1 when no row could be used, 2 when the file cannot be read.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Final

from router.settings import ConfigError, load
from simulation.measured.row import NoTable
from simulation.validate.anytable import Table, read
from simulation.validate.columns import NAMES
from simulation.validate.streams import Miss, Score, misses, score

CONFIG: Final = Path(__file__).resolve().parents[2] / "config"
SEEN: Final = (0, 1, 4, 20)
SEEDS: Final = 10
# Forecasts of all orders together: a table of 100,000 rows is shuffled twice, not ten times.
FORECASTS_MOST: Final = 200_000
HEAD: Final = ("obs", "order", "n", "error", "p90", "pred/meas", "sd ln", "50%", "90%")
NAMED_MOST: Final = 20


def main(arguments: list[str]) -> int:
    """The command line above."""
    parser = argparse.ArgumentParser(
        prog="python -m simulation.validate", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--tpot", metavar="FILE", required=True, type=Path, help="CSV file of measurements")
    parser.add_argument("--config", metavar="DIR", type=Path, default=CONFIG, help="catalogues (default: config/)")
    parser.add_argument("--data", metavar="DIR", type=Path, help="folder that a relative FILE may also be in")
    parser.add_argument(
        "--given",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="what holds for all rows of a file that has no such column: accelerator, count, model, ...",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    path: Path = options.tpot
    if options.data is not None and not path.is_file():
        path = options.data / path
    given = dict(pair.partition("=")[::2] for pair in options.given)
    for unknown in sorted(set(given) - set(NAMES)):
        sys.stderr.write(
            f"simulation.validate: --given {unknown}=...: no such quantity; known are {', '.join(NAMES)}\n"
        )
        return 2
    try:
        table = read(path, load(options.config, {}).catalogue, given)
    except (NoTable, ConfigError) as error:
        sys.stderr.write(f"simulation.validate: {error}\n")
        return 2
    groups = _groups(table)
    if options.json:
        sys.stdout.write(json.dumps(_document(table, groups), indent=1) + "\n")
    else:
        sys.stdout.write("\n".join(_text(table, groups)) + "\n")
    return 0 if table.points else 1


Group = dict[str, list[tuple[int, str, Score]]]


def _groups(table: Table) -> Group:
    """Scores of each accelerator and model, and of all of them, by observations and order."""
    found: Group = defaultdict(list)
    orders = range(max(1, min(SEEDS, FORECASTS_MOST // max(1, len(table.points)))))
    for seen in SEEN:
        for order, seeds in (("file", None), ("random", orders)):
            if not seen and seeds is not None:
                continue
            parts: dict[str, list[Miss]] = defaultdict(list)
            for miss in misses(table.points, seen, seeds=seeds):
                parts["all"].append(miss)
                parts[f"{miss.point.row.accelerator} x {miss.point.row.model}"].append(miss)
            for name, part in parts.items():
                summed = score(part)
                if summed is not None:
                    found[name].append((seen, order, summed))
    return found


def _document(table: Table, groups: Group) -> dict[str, object]:
    return {
        "used": len(table.points),
        "unusable": [{"line": line, "reason": reason} for line, reason in table.unusable],
        "assumed": table.said,
        "groups": {
            name: [{"observations": seen, "order": order, **asdict(summed)} for seen, order, summed in rows]
            for name, rows in groups.items()
        },
    }


def _text(table: Table, groups: Group) -> list[str]:
    lines = [f"{len(table.points)} rows used, {len(table.unusable)} not"]
    lines += [f"  assumed: {said}" for said in table.said]
    lines += [f"  line {line}: {reason}" for line, reason in table.unusable[:NAMED_MOST]]
    if len(table.unusable) > NAMED_MOST:
        lines.append(f"  and {len(table.unusable) - NAMED_MOST} more lines (--json names them all)")
    for name in sorted(groups, key=lambda name: (name == "all", name)):
        lines += ["", name, "  " + _row(HEAD)]
        lines += ["  " + _row(_cells(*row)) for row in groups[name]]
    return lines


def _cells(seen: int, order: str, summed: Score) -> tuple[str, ...]:
    return (
        str(seen),
        order if seen else "-",
        str(summed.n),
        f"{summed.mean_error:.1%}",
        f"{summed.p90:.1%}",
        f"{summed.median_ratio:.2f}",
        f"{summed.sd_log:.2f}",
        f"{summed.cover50:.0%}",
        f"{summed.cover90:.1%}",
    )


def _row(cells: tuple[str, ...]) -> str:
    return " ".join(cell.rjust(width) for cell, width in zip(cells, (3, 6, 6, 7, 7, 9, 6, 5, 6), strict=True))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
