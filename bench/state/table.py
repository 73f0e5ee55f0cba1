"""The table for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.state.row import Fact, Result, Verdict

HEAD = ("test", "must be", "reached", "")
COLOURS = {Verdict.REACHED: "green", Verdict.MISSED: "red", Verdict.FAILED: "red", Verdict.NOT_BUILT: "yellow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What is said above the table."""

    date: str
    machine: str
    quick: bool
    core: str
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        kind = "quick run" if self.quick else "full run"
        return [f"{self.date}, {kind}, {self.seconds:.0f} s", self.machine, f"decision core {self.core}", *self.notes]


def _facts(result: Result) -> list[Fact]:
    """The facts of a row; what kept it from having them is one too."""
    facts = list(result.findings.facts)
    if result.why:
        facts.append(Fact("the row itself", "runs", result.why, reached=False))
    return facts


def _mark(fact: Fact) -> str:
    return "" if fact.reached is None or fact.reached else "MISSED"


def print_table(console: Console, head: Head, results: Iterable[Result]) -> None:
    results = list(results)
    console.print("\n".join(head.lines), style="dim", highlight=False, markup=False)
    table = Table(box=box.SIMPLE_HEAD, show_lines=False)
    for name in HEAD:
        table.add_column(name, overflow="fold")
    for result in results:
        verdict = f"[{COLOURS[result.verdict]}]{result.verdict}[/]"
        table.add_row(f"[bold]{escape(result.row.title)}[/]", "", f"[dim]{result.seconds:.0f} s[/]", verdict)
        for fact in _facts(result):
            style = "red" if fact.reached is False else None
            table.add_row(f"  {escape(fact.what)}", escape(fact.bound), escape(fact.got), _mark(fact), style=style)
    console.print(table)
    for result in results:
        for note in result.findings.notes:
            console.print(f"  {result.row.name}: {note}", style="dim", highlight=False, markup=False)
    console.print(summary(results), highlight=False)


def summary(results: Sequence[Result]) -> str:
    reached = sum(result.verdict is Verdict.REACHED for result in results)
    rest = [f"{result.row.name} ({result.verdict})" for result in results if result.verdict is not Verdict.REACHED]
    return f"{reached} of {len(results)} reached" + (f"; not: {', '.join(rest)}" if rest else "")


def markdown(head: Head, results: Sequence[Result]) -> str:
    """The same table in Markdown, a line per fact."""
    lines = [f"- {line}" for line in head.lines]
    lines += ["", "| " + " | ".join(HEAD) + " |", "| " + " | ".join(["---"] * len(HEAD)) + " |"]
    for result in results:
        first = (f"**{result.row.title}**", "", f"{result.seconds:.0f} s", f"**{result.verdict}**")
        rows = [first, *((fact.what, fact.bound, fact.got, _mark(fact)) for fact in _facts(result))]
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    notes = [f"- {result.row.name}: {note}" for result in results for note in result.findings.notes]
    return "\n".join([*lines, "", *notes, "", summary(results)]) + "\n"


def json_text(head: Head, results: Iterable[Result]) -> str:
    """Every fact."""
    rows = [
        {
            "name": result.row.name,
            "title": result.row.title,
            "verdict": str(result.verdict),
            "seconds": round(result.seconds, 1),
            "why": result.why,
            "facts": [asdict(fact) for fact in result.findings.facts],
            "notes": result.findings.notes,
        }
        for result in results
    ]
    return json.dumps({"run": asdict(head), "rows": rows}, indent=2)
