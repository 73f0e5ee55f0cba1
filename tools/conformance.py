"""One table: every family by every judge, with how many of the judge's cases passed.

    python -m tools.conformance              run the judges and print the table
    python -m tools.conformance --engines    vLLM and mlx-lm too (see `make test-engines`)
    python -m tools.conformance --markdown   the README's table
    python -m tools.conformance --json       for programs

Exit status 1 when a case failed, or when a judge that should have spoken did not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tools.conformance_rows import FAMILIES, JUDGES, TITLES, Family

ROOT = Path(__file__).resolve().parent.parent


@dataclass(slots=True)
class Cell:
    """What one judge says of one family."""

    passed: int = 0
    failed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    absent: str = ""

    @property
    def text(self) -> str:
        if self.failed:
            return f"{self.passed} passed, {self.failed} FAILED"
        if self.passed:
            return f"{self.passed} passed"
        if self.skipped:
            return f"not run: {self.skipped.most_common(1)[0][0]}"
        return f"n/a: {self.absent}" if self.absent else "MISSING"

    @property
    def is_wrong(self) -> bool:
        return bool(self.failed) or self.text == "MISSING"


def judge(*, engines: bool) -> list[dict[str, Any]]:
    """Runs every test that speaks for a judge; pytest's own progress goes to stderr."""
    paths = ["tests/judges", "tests/contract", "tests/integration/backends", "tests/unit/backends", "tests/engines"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "judgements.json"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "tools.conformance_plugin", f"--judgements={out}"]
        command += [
            "-m",
            "judge",
            *(["--engines"] if engines else []),
            *(path for path in paths if (ROOT / path).is_dir()),
        ]
        done = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False)  # noqa: S603 - our own interpreter and arguments
        if not out.exists():
            raise SystemExit(f"pytest ended with {done.returncode} before any judge spoke; its own words are above")
        judgements: list[dict[str, Any]] = json.loads(out.read_text())
        return judgements


def table(judgements: list[dict[str, Any]]) -> dict[str, dict[str, Cell]]:
    """Cells by family and judge."""
    cells = {family.name: {judge: Cell(absent=family.absent.get(judge, "")) for judge in JUDGES} for family in FAMILIES}
    by_decoder: dict[str, list[str]] = {}
    for family in FAMILIES:
        by_decoder.setdefault(family.decoder, []).append(family.name)
    for said in judgements:
        names = by_decoder.get(said["family"], []) if said["judge"] == "fuzz" else [said["family"]]
        for name in names:
            if name not in cells or said["judge"] not in JUDGES:
                raise SystemExit(f"{said['test']} speaks for {name}/{said['judge']}, which is not in the table")
            cell = cells[name][said["judge"]]
            if said["outcome"] == "skipped":
                cell.skipped[said["reason"]] += 1
            elif said["outcome"] == "passed":
                cell.passed += 1
            else:
                cell.failed += 1
    return cells


def markdown(cells: dict[str, dict[str, Cell]]) -> str:
    """The table as the README has it."""
    lines = [
        "| family | wire, profile | " + " | ".join(TITLES[judge] for judge in JUDGES) + " |",
        "|---|---|" + "---|" * len(JUDGES),
    ]
    for family in FAMILIES:
        row = [_with_sdk(family, judge, cells[family.name][judge]) for judge in JUDGES]
        lines.append(f"| {family.title} | {family.reached} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def _with_sdk(family: Family, judge: str, cell: Cell) -> str:
    return f"{family.sdk}: {cell.text}" if judge == "sdk" and family.sdk and cell.passed else cell.text


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.conformance", description=__doc__.partition("\n")[0])
    parser.add_argument("--engines", action="store_true", help="vLLM and mlx-lm too; minutes, and gigabytes at first")
    parser.add_argument("--markdown", action="store_true", help="the README's table")
    parser.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args()
    cells = table(judge(engines=options.engines))
    if options.json:
        rows = {
            name: {
                judge: {"passed": c.passed, "failed": c.failed, "skipped": dict(c.skipped), "absent": c.absent}
                for judge, c in row.items()
            }
            for name, row in cells.items()
        }
        print(json.dumps(rows, indent=2))  # noqa: T201 - a command's output
    elif options.markdown:
        print(markdown(cells))  # noqa: T201 - a command's output
    else:
        shown = Table("family", "wire, profile", *(TITLES[judge] for judge in JUDGES))
        for family in FAMILIES:
            row = cells[family.name]
            shown.add_row(family.title, family.reached, *(_with_sdk(family, j, row[j]) for j in JUDGES))
        Console(width=None if sys.stdout.isatty() else 180).print(shown)
    return int(any(cell.is_wrong for row in cells.values() for cell in row.values()))


if __name__ == "__main__":
    raise SystemExit(main())
