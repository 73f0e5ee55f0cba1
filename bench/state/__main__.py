"""State that every replica agrees on, shown on real processes: `make bench-state`, `python -m bench.state --help`.

Routers, Valkey servers, Sentinel and Cluster are real and are really killed, frozen and cut off. Each row says what
must be reached and what was; a row that misses, fails or cannot run makes the exit status 1.
"""

from __future__ import annotations

import asyncio
import platform
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import click
import grpc
import grpc.aio
from rich.console import Console

from bench import copies
from bench.lab import Progress
from bench.machine import Others, describe
from bench.state import table
from bench.state.lab import Lab
from bench.state.registry import ROWS
from bench.state.row import Findings, NotBuilt, Result, Row, Verdict
from supervise.child import ChildError

WIDTH = 150
WHY_CHARS = 400
# What a row ends with that did not get on.
STARVED = ("TimeoutError", "DEADLINE_EXCEEDED")
BUSY_CORES = 0.1
ROW_LIMIT_S = {True: 240.0, False: 3_600.0}


async def measure(row: Row, lab: Lab) -> Result:
    """Runs one row; a second time when it missed by nothing but time, as the machine may have paused."""
    result = await once(row, lab)
    starved = result.why.startswith(STARVED)
    if not starved and (result.why or not result.findings.missed_in_time_only):
        return result
    facts = [f"{fact.what}: {fact.got}" for fact in result.findings.facts if fact.reached is False]
    missed = "; ".join([*([result.why] if starved else ()), *facts])
    lab.say(f"once more, it missed {missed}")
    again = await once(row, lab)
    again.findings.note(f"a second try; the first one missed {missed}")
    again.seconds += result.seconds
    return again


async def once(row: Row, lab: Lab) -> Result:
    """Runs one row; whatever goes wrong in it is its result, and the others go on."""
    findings, began, why = Findings(), time.monotonic(), ""
    try:
        async with asyncio.timeout(ROW_LIMIT_S[lab.quick]):
            await row.run(lab, findings)
        verdict = Verdict.REACHED if findings.reached else Verdict.MISSED
    except Exception as error:  # noqa: BLE001 - a row that fails in any way is a line of the table
        verdict, why = explain(first_cause(error))
    return Result(row=row, verdict=verdict, findings=findings, seconds=time.monotonic() - began, why=why)


def first_cause(error: BaseException) -> BaseException:
    """The first failure in a group of them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def explain(error: BaseException) -> tuple[Verdict, str]:
    """A failure as the table shows it; a call that no router offers is one thing, all else another."""
    if isinstance(error, NotBuilt):
        return Verdict.NOT_BUILT, f"not built yet: {error}"
    if isinstance(error, grpc.aio.AioRpcError):
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            return Verdict.NOT_BUILT, f"not built yet: {error.details()}"
        return Verdict.FAILED, f"{error.code().name}: {error.details()}"[:WHY_CHARS]
    if isinstance(error, ChildError) and error.tail:
        return Verdict.FAILED, f"{str(error).splitlines()[0]}: {error.tail.splitlines()[-1]}"[:WHY_CHARS]
    return Verdict.FAILED, " ".join(f"{type(error).__name__}: {error}".split())[:WHY_CHARS]


async def run(rows: tuple[Row, ...], *, quick: bool, compiled: bool, progress: Progress) -> tuple[str, list[Result]]:
    """How the decision core ran, and the results."""
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="router-state-") as name:
        folder = Path(name)
        made = await copies.make(folder, progress.step, compiled=compiled)
        for n, row in enumerate(rows):
            said = f"[{n + 1}/{len(rows)}] {row.name}"
            progress.step(f"{said}: {row.does}")

            def say(text: str, said: str = said) -> None:
                progress.step(f"{said}: {text}")

            lab = Lab(quick=quick, folder=folder, sources=made.best, say=say)
            result = await measure(row, lab)
            results.append(result)
            progress.step(
                f"{said}: {result.verdict} after {result.seconds:.0f} s" + (f", {result.why}" if result.why else "")
            )
    return made.label, results


@click.command()
@click.option("--json", "form", flag_value="json", help="Print every fact as JSON.")
@click.option("--markdown", "form", flag_value="markdown", help="Print the table in Markdown.")
@click.option("--quick", is_flag=True, help="Every row, shortened: under ten minutes on two cores.")
@click.option("--only", help="Only these rows, by name, with commas between.")
@click.option("--plain", is_flag=True, help="Do not compile the decision core.")
@click.option("--list", "only_list", is_flag=True, help="Say which rows there are.")
def main(*, form: str | None, quick: bool, only: str | None, plain: bool, only_list: bool) -> None:
    """Runs every row and prints one table: the test, what must be reached, what was reached."""
    if platform.system() == "Windows":
        raise click.ClickException("the benchmarks need a Unix")
    if only_list:
        for row in ROWS:
            click.echo(f"{row.name:<20} {row.title}")
        return
    names = [name.strip() for name in (only or "").split(",") if name.strip()]
    if unknown := set(names) - {row.name for row in ROWS}:
        raise click.UsageError(f"no row is called {min(unknown)}; there are: {', '.join(row.name for row in ROWS)}")
    rows = tuple(row for row in ROWS if not names or row.name in names)
    others, began = Others(), time.monotonic()
    try:
        core, results = asyncio.run(run(rows, quick=quick, compiled=not plain, progress=Progress(Console(stderr=True))))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    used = others.cores()
    notes = (f"others used {used:.2f} cores of this machine meanwhile: times are upper bounds",)
    head = table.Head(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        machine=describe(),
        quick=quick,
        core=core,
        seconds=time.monotonic() - began,
        notes=notes if used is not None and used > BUSY_CORES else (),
    )
    if form == "json":
        click.echo(table.json_text(head, results))
    elif form == "markdown":
        click.echo(table.markdown(head, results), nl=False)
    else:
        console = Console()
        table.print_table(console if console.is_terminal else Console(width=WIDTH), head, results)
    if any(result.verdict is not Verdict.REACHED for result in results):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
