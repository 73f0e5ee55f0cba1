"""The table for people and programs, docs/routing.md and its picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.routing.line import Bench, Line, Verdict
from bench.routing.runs import conversation, site
from simulation.virtual import show as shown
from simulation.virtual.policies import POLICIES
from simulation.virtual.sweep import BOUND

# What a reader has to know to believe the table no further than it goes.
CAVEATS = """\
- Requests: seed k takes the k-th 6,000 of the trace. On the whole trace at seven times its load nobody meets more
  than four in five objectives: hosted limits are exhausted.
- The fleet, its hosted limits, and what the router's objective adds for headroom and for slowing others were
  settled while looking at runs like these; other parts of the trace and the code trace were only looked at
  afterwards.
- "Above every baseline" counts a tie as reached. "cheapest-feasible" is the router's own prediction with a simpler
  rule.
- "Saturated" is when prompts arrive faster than owned engines can read them; the bound has no queues and may drop
  requests, so that nobody can reach it above saturation.
- A run is deterministic by its seed, and a change of any constant moves objectives met by about 0.1 points either
  way.
- Truth: prompts are read one at a time and do not slow decoding; TPOT does not depend on the context; Inferentia2
  is a guess, and labelled so; hosted TTFT does not depend on the prompt."""
HEAD = ("what", "reached", "at least", "stretch", "")
COLOURS = {Verdict.STRETCH: "green", Verdict.REACHED: "green", Verdict.MISSED: "red", Verdict.FAILED: "red"}
Found = Mapping[str, Sequence[Line]]


def show(console: Console, head: Sequence[str], found: Found) -> None:
    """Prints the table."""
    console.print("\n".join(head), style="dim", highlight=False, markup=False)
    table = Table(box=box.SIMPLE_HEAD)
    for name in HEAD:
        table.add_column(name, overflow="fold")
    for name, lines in found.items():
        table.add_row(f"[bold]{name}[/]")
        for line in lines:
            colour = COLOURS.get(line.verdict, "dim")
            cells = (f"  {line.what}", line.reached, line.at_least, line.stretch)
            table.add_row(*(escape(cell) for cell in cells), f"[{colour}]{line.verdict}[/]")
    console.print(table)
    console.print(summary(found), highlight=False)


def summary(found: Found) -> str:
    """How many of the lines of which something is asked are reached."""
    asked = [line for lines in found.values() for line in lines if line.verdict is not Verdict.NOTED]
    reached = [line for line in asked if line.verdict in {Verdict.REACHED, Verdict.STRETCH}]
    missed = [line.what for line in asked if line not in reached]
    return f"{len(reached)} of {len(asked)} reached" + (f"; not: {'; '.join(missed)}" if missed else "")


def as_json(head: Sequence[str], found: Found, bench: Bench) -> str:
    """Every line, and every run of the conversation."""
    rows = {name: [asdict(line) for line in lines] for name, lines in found.items()}
    return json.dumps({"run": list(head), "rows": rows, "runs": shown.facts(bench.results)}, indent=2)


def markdown(head: Sequence[str], found: Found, bench: Bench) -> str:
    """docs/routing.md."""
    lines = [
        "# How well it routes",
        "",
        "Written by `make bench-routing`, which makes every figure again. Traces and measurements are other people's",
        "(`../shared/data`, or `--data`); what backends do comes from measured tables, never from the router's prior.",
        "",
        *(f"- {line}" for line in head),
        *(f"- {name}: {truth.note}" for name, truth in site(bench).truths.items()),
        "",
        CAVEATS,
        "",
        "![Objectives met and dollars, by load](routing.png)",
        "",
        "| " + " | ".join(HEAD) + " |",
        "| " + " | ".join(["---"] * len(HEAD)) + " |",
    ]
    for rows in found.values():
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in _cells(line)) + " |" for line in rows]
    lines += ["", summary(found), ""]
    if bench.results:
        lines += [*_policies(bench)]
    return "\n".join(lines) + "\n"


def _cells(line: Line) -> tuple[str, ...]:
    return (line.what, line.reached, line.at_least, line.stretch, f"**{line.verdict}**" if line.verdict else "")


def _policies(bench: Bench) -> list[str]:
    lines = ["## Every policy at every load", "", "Azure's conversations; `$/1000` is money and missed objectives of a"]
    lines += ["thousand requests, `gap` the share of the way from power-of-two to the bound.", ""]
    lines += ["| " + " | ".join(shown.HEAD) + " |", "| " + " | ".join(["---"] * len(shown.HEAD)) + " |"]
    for load in bench.loads:
        lines += ["| " + " | ".join(shown.line(bench.results, policy, load)) + " |" for policy in (*POLICIES, BOUND)]
    return lines


def plot(bench: Bench, path: Path) -> None:
    """docs/routing.png."""
    title = f"Azure's conversations, {bench.seeds} x {bench.requests:,} requests, six ways to serve a 70B"
    shown.plot(conversation(bench), tuple(POLICIES), bench.loads, path, title=title)
