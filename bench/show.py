"""The figures for people and for programs: tables, a page, JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bench.figures import ROUTER, Figure, Section


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What the head of a report says."""

    date: str
    machine: str
    versions: str
    decision_core: str
    rounds: int
    quick: bool
    notes: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        kind = "quick run" if self.quick else "full run"
        return [
            f"{self.date}, {kind}, medians of {self.rounds} interleaved round{'s' if self.rounds != 1 else ''}",
            self.machine,
            self.versions,
            f"router under load: decision core {self.decision_core}; one core for the gateway, another for the rest",
            *self.notes,
        ]


def number(value: float | None) -> str:
    """Three digits that count, no exponent."""
    if value is None:
        return "-"
    if abs(value) >= 100.0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10.0 else f"{value:.2f}"


def verdict(figure: Figure) -> str:
    """Reached or missed, and by how much it is missed."""
    if figure.reached is None:
        return ""
    if figure.reached:
        return "reached"
    ours, target = figure.median(ROUTER), figure.target
    assert ours is not None
    assert target is not None
    return f"MISSED by {abs(ours - target) / target:.0%}"


def target(figure: Figure) -> str:
    if figure.target is None:
        return ""
    return f"{'<=' if figure.better == 'less' else '>='} {figure.target:g}"


def cells(section: Section, figure: Figure) -> list[str]:
    """One row: what, unit, the router, its target, then each other subject with how many times the router's it is."""
    row = [figure.title, figure.unit, number(figure.median(ROUTER)), target(figure), verdict(figure)]
    for subject in section.subjects[1:]:
        text = number(figure.median(subject))
        ratio = figure.ratio(subject)
        row.append(f"{text} ({number(ratio)}x)" if ratio is not None else text)
    return row


def head(section: Section) -> list[str]:
    return ["", "unit", ROUTER, "target", "", *section.subjects[1:]]


def print_tables(console: Console, run: Run, sections: Iterable[Section]) -> None:
    console.print("\n".join(run.lines), style="dim", highlight=False)
    for section in sections:
        table = Table(title=section.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
        for n, name in enumerate(head(section)):
            numeric = n == 2 or n > 4
            table.add_column(name, justify="right" if numeric else "left", style="bold" if n == 2 else None)
        for figure in section.figures:
            row = cells(section, figure)
            colour = {"r": "green", "M": "red"}.get(row[4][:1])
            row[4] = f"[{colour}]{row[4]}[/]" if colour else row[4]
            table.add_row(*row)
        console.print(table)
        for note in section.notes:
            console.print(f"  {note}", style="dim", highlight=False)
    console.print(
        "Nx: the other's figure over the router's, or the router's rate over the other's; over 1 the router is better.",
        style="dim",
        highlight=False,
    )


def markdown(run: Run, sections: Iterable[Section]) -> str:
    """The same tables in Markdown."""
    parts = ["\n".join(f"- {line}" for line in run.lines)]
    for section in sections:
        rows = [head(section), ["---", "---", "---:", "---", "---", *["---:"] * (len(section.subjects) - 1)]]
        rows += [cells(section, figure) for figure in section.figures]
        table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
        notes = "\n".join(f"- {note}" for note in section.notes)
        parts.append(f"### {section.title}\n\n{table}\n\n{notes}".rstrip())
    return "\n\n".join(parts) + "\n"


def json_text(run: Run, sections: Iterable[Section]) -> str:
    """Every figure with the values of all its rounds."""
    return json.dumps(_plain(run, sections), indent=2)


def _plain(run: Run, sections: Iterable[Section]) -> dict[str, Any]:
    return {
        "run": asdict(run),
        "sections": [
            {
                "id": section.id,
                "title": section.title,
                "notes": section.notes,
                "figures": [
                    {
                        "id": figure.id,
                        "title": figure.title,
                        "unit": figure.unit,
                        "better": figure.better,
                        "target": figure.target,
                        "reached": figure.reached,
                        "median": {subject: figure.median(subject) for subject in figure.rounds},
                        "ratio": {s: figure.ratio(s) for s in figure.rounds if s != ROUTER},
                        "rounds": figure.rounds,
                    }
                    for figure in section.figures
                ],
            }
            for section in sections
        ],
    }
