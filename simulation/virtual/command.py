"""`inference-router simulate`: a trace, a fleet and policies in virtual time."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from router.settings import ConfigError
from simulation.virtual import events, show, tables, traces
from simulation.virtual.extra import Missing, need
from simulation.virtual.policies import POLICIES, ROUTER
from simulation.virtual.scenario import Scenario, half_bandwidth, site
from simulation.virtual.sweep import BOUND, jobs, sweep
from simulation.virtual.tables import TablesError
from simulation.virtual.traces import TraceError
from simulation.virtual.truth import NoTruth

ALL = "all"
DATA = Path("../shared/data")
WIDTH = 140


def _loads(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> tuple[float, ...]:
    found: list[float] = []
    for part in ",".join(value).split(","):
        try:
            load = float(part)
        except ValueError:
            raise click.BadParameter(f"'{part}' is not a number") from None
        if not 0.0 < load < 1e6:
            raise click.BadParameter(f"'{part}' must be greater than 0")
        found.append(load)
    return tuple(found)


@click.command("simulate")
@click.option(
    "--trace",
    "trace",
    type=click.Path(path_type=Path),
    required=True,
    help="CSV or JSONL of arrivals and lengths: Azure's, Mooncake's, or one with their columns.",
)
@click.option(
    "--fleet",
    type=click.Path(path_type=Path),
    default=Path("config"),
    show_default=True,
    help="A fleet.yaml, or a folder with one; files that are not beside it come from --config.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("config"),
    show_default=True,
    help="Catalogues, policies and prices.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=DATA,
    show_default=True,
    help="The measurements that the truth is made of.",
)
@click.option("--model", help="Which of the fleet's models; absent: the one that most backends serve.")
@click.option(
    "--policy",
    "names",
    multiple=True,
    default=(ROUTER,),
    show_default=True,
    help=f"Repeatable, or with commas: {', '.join(POLICIES)}, {BOUND}, or {ALL}.",
)
@click.option(
    "--load",
    "loads",
    multiple=True,
    default=("1",),
    callback=_loads,
    show_default=True,
    help="How many times as fast as the trace; repeatable, or with commas.",
)
@click.option("--seeds", type=click.IntRange(1, 100), default=1, show_default=True)
@click.option("--limit", type=click.IntRange(1), help="Only the first so many requests.")
@click.option("--replicas", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option(
    "--stale",
    type=click.FloatRange(0.0, 60.0),
    default=0.0,
    show_default=True,
    help="Seconds between two times that replicas hear of each other and of engines.",
)
@click.option(
    "--late",
    type=click.FloatRange(0.0, 60.0),
    default=0.0,
    show_default=True,
    help="Seconds that what they hear is old when they hear it.",
)
@click.option(
    "--event",
    "happenings",
    multiple=True,
    metavar=events.FORM,
    help=f"Repeatable; KIND is one of {', '.join(events.Kind)}.",
)
@click.option("--wrong-catalogue", is_flag=True, help="The router is told half of every accelerator's speed.")
@click.option("--plot", "picture", type=click.Path(path_type=Path, dir_okay=False), help="Write a PNG.")
@click.option("--workers", type=click.IntRange(1), default=os.cpu_count() or 1, show_default="all cores")
@click.option("--json", "as_json", is_flag=True, help="Every run as JSON.")
def simulate(**options: Any) -> None:
    """Sends the requests of a trace to a simulated fleet, and compares policies.

    What backends do comes from measured tables, never from the router's own predictions. Virtual time: an hour of
    traffic takes seconds.
    """
    _run(**options)


def _run(
    *, trace: Path, fleet: Path, config: Path, data: Path, model: str | None, names: tuple[str, ...],
    loads: tuple[float, ...], seeds: int, limit: int | None, replicas: int, stale: float, late: float,
    happenings: tuple[str, ...], wrong_catalogue: bool, picture: Path | None, workers: int, as_json: bool,
) -> None:  # fmt: skip
    policies = _policies(tuple(name.strip() for name in ",".join(names).split(",")))
    _ready(policies, plots=picture is not None)
    try:
        asks = traces.read(trace, limit=limit)
    except TraceError as error:
        raise click.BadParameter(str(error), param_hint="--trace") from None
    try:
        measured = tables.load(data)
    except TablesError as error:
        raise click.BadParameter(str(error), param_hint="--data") from None
    try:
        there, left_out = site(fleet, model=model, tables=measured, config=config)
    except (ConfigError, NoTruth, KeyError) as error:
        raise click.BadParameter(str(error), param_hint="--fleet") from None
    try:
        happens = tuple(events.parse(text, there.truths) for text in happenings)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--event") from None
    lasts_s = asks[-1].at_s / min(loads)
    for text, each in zip(happenings, happens, strict=True):
        if each.at_s > lasts_s:
            raise click.BadParameter(f"'{text}': the last request is at {lasts_s:.0f} s", param_hint="--event")
    scenario = Scenario(
        site=half_bandwidth(there) if wrong_catalogue else there,
        asks=(),
        replicas=replicas,
        state_age_s=stale,
        late_s=late,
        events=happens,
    )
    found = jobs(scenario, asks, policies=policies, loads=loads, seeds=seeds)
    errors = Console(stderr=True)
    for name in left_out:
        errors.print(f"left out: {name}", style="yellow", highlight=False)
    try:
        with Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=errors
        ) as bar:
            task = bar.add_task(f"{len(asks):,} requests, {there.model}", total=len(found))
            results = sweep(found, workers=workers, done=lambda n: bar.update(task, completed=n))
        if picture is not None:
            show.plot(results, policies, loads, picture, title=f"{trace.name}, {len(asks):,} requests, {seeds} seeds")
    except OSError as error:
        raise click.BadParameter(str(error), param_hint="--plot") from None
    if as_json:
        click.echo(json.dumps({"truth": _truth(there), "runs": show.facts(results)}, indent=2))
        return
    console = Console()
    console = console if console.is_terminal else Console(width=WIDTH)
    for name, note in _truth(there).items():
        console.print(f"{name}: {note}", style="dim", highlight=False)
    console.print(show.table(results, policies, loads))


def _ready(policies: Sequence[str], *, plots: bool) -> None:
    """What the run needs beside the router is asked for before it begins, not when its results are there."""
    try:
        if BOUND in policies:
            need("scipy.optimize")
        if plots:
            need("matplotlib")
    except Missing as error:
        raise click.ClickException(str(error)) from None


def _policies(names: tuple[str, ...]) -> tuple[str, ...]:
    known = (*POLICIES, BOUND)
    if ALL in names:
        return known
    for name in names:
        if name not in known:
            raise click.BadParameter(
                f"no policy is called '{name}'; there are: {', '.join((*known, ALL))}", param_hint="--policy"
            )
    return tuple(dict.fromkeys(names))


def _truth(there: Any) -> dict[str, str]:
    return {name: truth.note for name, truth in there.truths.items()}
