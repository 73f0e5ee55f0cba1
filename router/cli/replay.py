"""`replay`: what a change of the configuration would have done to recorded traffic."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import click

from router import app
from router.app.wires import wire_facts
from router.cli.admin_backends import show_config_error
from router.cli.progress import progress
from router.cli.rpc import EXIT_FAILED, json_option
from router.cli.show import dollars, print_json, print_table
from router.decisions.bootstrap import REPLICATES, Figure
from router.decisions.change import Pretending, ReplayChange, change_of
from router.decisions.reading import BadLogError, Logged, Reading
from router.decisions.replay import Replay
from router.decisions.report import Compared, Report, report
from router.domain.snapshot import FleetSnapshot
from router.settings import Settings
from router.settings.change import ChangeRules
from router.settings.config_files import ConfigText
from router.settings.strict import ConfigError, Problem, read_text

PAGE = 120
_CREDENTIAL = re.compile(r"\benv:([A-Za-z_][A-Za-z0-9_]*)")
_TITLES = {
    "served": "requests served",
    "cost_usd": "cost",
    "slo_attainment": "SLO attainment",
    "energy_j": "energy",
    "carbon_g": "carbon",
    "ttft_p50_s": "TTFT p50",
    "ttft_p90_s": "TTFT p90",
}


@click.command()
@click.option(
    "--decisions",
    "log_path",
    type=click.Path(path_type=Path),
    required=True,
    help="The log of decisions: a segment, or a directory of them.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("config"),
    show_default=True,
    help="Directory of the catalogues (and of backends that the log never saw).",
)
@click.option(
    "--with",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A proposed fleet, prices or policies file, known by what is in it; may be repeated. None: nothing changes.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the bootstrap.")
@json_option
def replay(*, log_path: Path, config: Path, files: tuple[Path, ...], seed: int, as_json: bool) -> None:
    """Decides recorded requests again, as they were and under a proposed change, and prints what would move.

    The decider is the one that serves. Intervals are of 90 %. Nothing is sent anywhere.
    """
    try:
        texts = _texts(files)
        settings = app.load_settings(config, _environment([*texts, *_fleet_of(config)]))
        reading = Reading(log_path)
        records = _read(reading)
        change = _change(records, texts, settings)
    except ConfigError as error:
        show_config_error(error, as_json=as_json)
        raise SystemExit(EXIT_FAILED) from None
    except BadLogError as error:
        show_config_error(
            ConfigError([Problem(str(log_path), "", str(error).removeprefix(f"{log_path}: "))]), as_json=as_json
        )
        raise SystemExit(EXIT_FAILED) from None
    player = Replay(catalogue=settings.catalogue, wires=wire_facts(), policies=settings.policies, change=change)
    with progress("deciding again", len(records)) as step:
        played = player.play(records, advance=step)
    with progress("intervals", REPLICATES) as step:
        found = report(played, seed=seed, advance=step, notes=(*change.notes, *reading.notes))
    if as_json:
        print_json(asdict(found))
    else:
        show_report(found)


def _texts(files: Sequence[Path]) -> list[ConfigText]:
    problems: list[Problem] = []
    texts = []
    for path in files:
        text = read_text(path.parent, path.name, problems)
        if text is not None:
            texts.append(ConfigText(str(path), text))
    if problems:
        raise ConfigError(problems)
    return texts


def _fleet_of(config: Path) -> list[ConfigText]:
    text = read_text(config, "fleet.yaml", [])
    return [] if text is None else [ConfigText("fleet.yaml", text)]


def _environment(texts: Sequence[ConfigText]) -> Mapping[str, str]:
    """Ours, with every credential that a file names: nothing is sent, so none has to be there."""
    return Pretending(os.environ, {name for text in texts for name in _CREDENTIAL.findall(text.text)})


def _read(reading: Reading) -> list[Logged]:
    total = sum(path.stat().st_size for path in reading.paths())
    records = []
    with progress("reading", max(1, total >> 16)) as step:
        told = 0
        for logged in reading.decisions():
            records.append(logged)
            while told < reading.read_bytes >> 16:
                told += 1
                step()
    if not records:
        raise BadLogError(f"{reading.path}: holds no decision")
    return records


def _change(records: Sequence[Logged], texts: Sequence[ConfigText], settings: Settings) -> ReplayChange:
    if not texts:
        return ReplayChange()
    last = FleetSnapshot()
    for snapshot in {id(one.snapshot): one.snapshot for one in records}.values():
        last = _joined(last, snapshot)
    rules = ChangeRules(catalogue=settings.catalogue, env=_environment(texts), wires=wire_facts())
    return change_of(texts, last, settings, rules, now=records[-1].line.at)


def _joined(before: FleetSnapshot, after: FleetSnapshot) -> FleetSnapshot:
    """What both know; where both know it, what the later one says."""
    return FleetSnapshot(
        version=after.version,
        backends={**before.backends, **after.backends},
        prices={**before.prices, **after.prices},
        health={**before.health, **after.health},
        policies_yaml=after.policies_yaml or before.policies_yaml,
    )


def show_report(found: Report) -> None:
    """The report as tables of 120 columns at most."""
    share = found.reproduced / found.records if found.records else 1.0
    click.echo(
        f"{found.records} records for {found.requests:.0f} requests; {found.reproduced} ({100.0 * share:.4g} %) came"
        f" out again as recorded.\n{_percent(found.moved)} would go to another backend."
    )
    print_table(
        "Before and after, with 90 % intervals",
        ["what", "before", "after", "difference"],
        [
            (_TITLES[name], _cell(name, both.before), _cell(name, both.after), _cell(name, both.difference, sign=True))
            for name, both in found.figures.items()
            if name != "carbon_g" or both.before.value or both.after.value
        ],
        right="before,after,difference",
        width=PAGE,
    )
    print_table(
        "Share of requests by backend",
        ["backend", "before", "after", "difference"],
        [
            (name, _percent(both.before), _percent(both.after), _percent(both.difference, sign=True))
            for name, both in found.shares.items()
        ],
        right="before,after,difference",
        width=PAGE,
    )
    for mover in found.movers:
        sign = "-" if mover.cost_usd < 0 else "+"
        click.echo(
            f"{mover.source or 'nobody'} → {mover.target or 'nobody'}: {mover.requests:.0f} requests, "
            f"{sign}{dollars(abs(mover.cost_usd))}"
        )
    if abs(found.calibration - 1.0) > 5e-4:
        click.echo(f"Attainment is predicted times {found.calibration:.3f}: what was met, of what was predicted.")
    for warning in found.warnings:
        click.echo(f"warning: {warning}")
    for note in found.notes:
        click.echo(f"note: {note}")


def _cell(name: str, figure: Figure, *, sign: bool = False) -> str:
    """The figure and its interval in one unit, which is that of its largest part."""
    if name in {"served", "slo_attainment"}:
        return _percent(figure, sign=sign)
    largest = max(abs(figure.value), abs(figure.low), abs(figure.high))
    unit, scale = {"cost_usd": ("$", 1.0), "energy_j": (" J", 1.0), "carbon_g": (" g", 1.0)}.get(name, (" s", 1.0))
    if unit == " s" and largest < 0.0995:
        unit, scale = " ms", 1e3
    digits = max(0, min(9, 2 - math.floor(math.log10(largest * scale)))) if largest > 0.0 else 0

    def one(value: float) -> str:
        return f"{value * scale:.{digits}f}"

    plus = "+" if sign and figure.value > 0 else ""
    interval = f"({one(figure.low)} to {one(figure.high)})"
    if unit == "$":
        return f"{'-' if figure.value < 0 else plus}${one(abs(figure.value))} {interval}"
    return f"{plus}{one(figure.value)} {interval}{unit}"


def _percent(figure: Figure, *, sign: bool = False) -> str:
    plus = "+" if sign and figure.value > 0 else ""
    return f"{plus}{100 * figure.value:.2f} % ({100 * figure.low:.2f} to {100 * figure.high:.2f})"


__all__ = ["Compared", "replay", "show_report"]
