"""How well the router decides: `make bench-routing`, `python -m bench.routing --help`.

Everything is from other people's measurements and traces; see docs/routing.md. A miss makes the exit status 1.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from bench.lab import Progress
from bench.machine import describe
from bench.routing import report
from bench.routing.line import CONVERSATION, Bench, Line, Row, Verdict
from bench.routing.rows.attainment import attainment, brier, gap
from bench.routing.rows.changes import changes, robustness
from bench.routing.rows.classes import classes
from bench.routing.rows.deciding import deciding
from bench.routing.rows.prediction import prediction
from bench.routing.rows.replicas import replicas
from bench.routing.rows.traces import other_traces
from simulation.virtual.extra import Missing, need

DATA = Path(__file__).parents[2].parent / "shared" / "data"
WIDTH = 150
ROWS: dict[str, Row] = {
    "prediction": prediction,
    "brier": brier,
    "attainment": attainment,
    "gap": gap,
    "replicas": replicas,
    "changes": changes,
    "classes": classes,
    "deciding": deciding,
    "robustness": robustness,
    "traces": other_traces,
}


def measure(name: str, bench: Bench) -> list[Line]:
    """One row's lines; whatever goes wrong is its line, and the others go on."""
    try:
        return ROWS[name](bench)
    except Exception as error:  # noqa: BLE001 - a row that fails in any way is a line of the table
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return [Line(name, text, "runs", "", Verdict.FAILED)]


@click.command()
@click.option("--quick", is_flag=True, help="Fewer loads, seeds and requests: about a minute and a half on two cores.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=DATA,
    show_default=True,
    help="Traces and measurements, laid out as ../shared/data.",
)
@click.option("--only", help="Only these rows, by name, with commas between.")
@click.option("--list", "only_list", is_flag=True, help="Say which rows there are.")
@click.option("--workers", type=click.IntRange(1), default=os.cpu_count() or 1, show_default="all cores")
@click.option("--json", "form", flag_value="json", help="Print every line and run as JSON.")
@click.option("--markdown", "markdown", type=click.Path(path_type=Path, dir_okay=False), help="Write docs/routing.md.")
@click.option("--plot", "picture", type=click.Path(path_type=Path, dir_okay=False), help="Write docs/routing.png.")
def main(
    *, quick: bool, data: Path, only: str | None, only_list: bool, workers: int, form: str | None,
    markdown: Path | None, picture: Path | None,
) -> None:  # fmt: skip
    """Runs every row and prints one table: what, reached, at least, stretch."""
    if only_list:
        for name, row in ROWS.items():
            click.echo(f"{name:<12} {(row.__doc__ or '').splitlines()[0]}")
        return
    if picture is not None:
        try:
            need("matplotlib")
        except Missing as error:
            raise click.ClickException(str(error)) from None
    if not (data / CONVERSATION).exists():
        raise click.BadParameter(f"{data / CONVERSATION} is not there", param_hint="--data")
    names = [name.strip() for name in (only or "").split(",") if name.strip()] or list(ROWS)
    if unknown := set(names) - ROWS.keys():
        raise click.UsageError(f"no row is called {min(unknown)}; there are: {', '.join(ROWS)}")
    progress = Progress(Console(stderr=True))
    bench = Bench(data=data, quick=quick, workers=workers, say=progress.step)
    began = time.monotonic()
    found = {name: measure(name, bench) for name in names}
    head = (
        f"{datetime.now(UTC):%Y-%m-%d}, {'quick' if quick else 'full'} run, {time.monotonic() - began:.0f} s",
        describe(),
    )
    if form == "json":
        click.echo(report.as_json(head, found, bench))
    else:
        console = Console()
        report.show(console if console.is_terminal else Console(width=WIDTH), head, found)
    if markdown is not None:
        markdown.write_text(report.markdown(head, found, bench), encoding="utf-8")
    if picture is not None:
        report.plot(bench, picture)
    if any(line.verdict in {Verdict.MISSED, Verdict.FAILED} for lines in found.values() for line in lines):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
