"""What the demonstration prints: steps with their time, answers as they arrive, and tables a person can read."""

from __future__ import annotations

import math
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table
from rich.text import Text

from simulation.demo_calls import FirstLines, Result, Write
from simulation.demo_needs import Need
from supervise.child import Progress

NARROWEST = 118


class Screen:
    """A terminal, or a file: where nothing can be redrawn, each step is a line."""

    def __init__(self) -> None:
        wide = Console()
        self.console = Console(width=max(NARROWEST, wide.width) if wide.is_terminal else 150, highlight=False)

    def line(self, text: str = "", style: str = "") -> None:
        self.console.print(Text(text, style=style))

    @contextmanager
    def step(self, what: str) -> Iterator[Progress]:
        """Shows a slow step with the seconds it has taken; a tick and its time when it is done."""
        began = time.monotonic()
        if not self.console.is_terminal:
            self.line(f"... {what}")
        with self.console.status(what) as status:
            yield lambda waited: status.update(f"{what} ({waited:.0f} s)")
        self.line(f"  done in {time.monotonic() - began:4.1f} s  {what}", "green")

    def heading(self, text: str) -> None:
        self.console.rule(f"[bold]{text}", align="left")

    def ask(self, number: int, need: Need) -> Write:
        """Announces a need; what the returned function gets is shown as the answer's first line or two."""
        room = self.console.width - len(need.title) - len(need.model) - 14
        prompt = need.prompt if len(need.prompt) <= room else need.prompt[: room - 4] + " ..."
        self.console.print(Text(f"{number}. {need.title}", "bold"), Text(f"  {need.model} <- {prompt}", "dim"))
        sys.stdout.write("   ")
        sys.stdout.flush()
        return FirstLines(self._raw, 2 * self.console.width - 12)

    def answered(self, result: Result) -> None:
        self._raw("\n")
        if result.refused:
            self.line(f"   refused: {result.refused}: {result.why}", "yellow")
            return
        tries = f", {result.attempts} attempts" if result.attempts > 1 else ""
        where = f"{result.backend} on {result.hardware}, {result.output_tokens} tokens{tries}"
        self.line(f"   -> {where}", "cyan")

    def _raw(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def full_table(results: Sequence[Result]) -> Table:
    """Need, choice, prediction against reality, price and who was dropped: one line of rows per need."""
    table = Table(title="What was asked, who answered, and why", title_justify="left", show_lines=True)
    table.add_column("need", ratio=4)
    table.add_column("chosen, hardware", ratio=5)
    table.add_column("TTFT\npredicted\nactual", justify="right", no_wrap=True)
    table.add_column("TPOT\npredicted\nactual", justify="right", no_wrap=True)
    table.add_column("cost", justify="right", no_wrap=True)
    table.add_column("why", ratio=7)
    table.add_column("dropped, and for what reason", ratio=6)
    for result in results:
        table.add_row(
            Text(result.need.title),
            _chosen(result),
            "" if result.refused else f"{seconds(result.predicted_ttft_s)}\n{seconds(result.ttft_s)}",
            "" if result.refused else f"{seconds(result.predicted_tpot_s)}\n{seconds(result.tpot_s)}",
            "" if result.refused else dollars(result.cost_usd),
            Text(result.why),
            Text(_dropped(result)),
        )
    return table


def short_table(results: Sequence[Result], before: Sequence[Result]) -> Table:
    """The same needs over HTTP, beside what was chosen over gRPC."""
    table = Table(title="The same through the official openai SDK", title_justify="left")
    for name in ("need", "chosen, hardware"):
        table.add_column(name)
    for name in ("TTFT predicted / actual", "TPOT predicted / actual", "cost"):
        table.add_column(name, justify="right")
    table.add_column("over gRPC it was")
    for result, earlier in zip(results, before, strict=True):
        same = result.backend == earlier.backend
        table.add_row(
            Text(result.need.title),
            _chosen(result, one_line=True),
            "" if result.refused else f"{seconds(result.predicted_ttft_s)} / {seconds(result.ttft_s)}",
            "" if result.refused else f"{seconds(result.predicted_tpot_s)} / {seconds(result.tpot_s)}",
            "" if result.refused else dollars(result.cost_usd),
            "the same" if same else earlier.backend or earlier.refused,
        )
    return table


def _chosen(result: Result, *, one_line: bool = False) -> Text:
    if result.refused:
        return Text(f"nobody: {result.refused}", "yellow")
    return Text(f"{result.backend},{' ' if one_line else chr(10)}{result.hardware}")


def _dropped(result: Result) -> str:
    by_reason: dict[str, list[str]] = defaultdict(list)
    for backend, reason in result.drops:
        by_reason[reason].append(backend)
    return "\n".join(f"{reason}: {', '.join(dict.fromkeys(backends))}" for reason, backends in by_reason.items())


def seconds(value: float) -> str:
    """A duration in the unit that reads best."""
    if value <= 0.0:
        return "-"
    return f"{value * 1e3:.3g} ms" if value < 0.0995 else f"{value:.3g} s"


def dollars(value: float) -> str:
    """Two significant digits, never an exponent: "$0.000036"."""
    digits = 2 if value < 1e-9 else max(2, 1 - math.floor(math.log10(value)))
    return f"${value:.{digits}f}"
