"""`decisions`: what the log of decisions holds: a list, the newest as they come, or JSON lines for other tools."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from router.cli.admin_backends import show_config_error
from router.cli.options import SECONDS
from router.cli.rpc import EXIT_FAILED, EXIT_INTERRUPTED, json_option
from router.cli.show import dollars, print_json, print_table
from router.clock import SystemClock
from router.decisions.reading import BadLogError, Reading
from router.decisions.record import DecisionLine, encode
from router.settings.strict import ConfigError, Problem

FOLLOW_S = 0.5
PAGE = 120


@click.command()
@click.argument("log_path", metavar="PATH", type=click.Path(path_type=Path))
@click.option("--since", **SECONDS, help="Only of the last so long: 3600, 90min, 2h.")
@click.option("--backend", help="Only those that this backend was chosen for, or answered.")
@click.option("--class", "workload", help="Only those of this workload class.")
@click.option("--result", help="Only those that ended so: OK, CANCELLED, or a reason code.")
@click.option("--missed", is_flag=True, help="Only those that missed an objective.")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="The newest; 0: all.")
@click.option("--follow", is_flag=True, help="Go on with those that come.")
@click.option("--export", type=click.Path(path_type=Path, dir_okay=False), help="Write whole records as JSON lines.")
@json_option
def decisions(
    *,
    log_path: Path,
    since: float | None,
    backend: str | None,
    workload: str | None,
    result: str | None,
    missed: bool,
    limit: int,
    follow: bool,
    export: Path | None,
    as_json: bool,
) -> None:
    """Lists what the log of decisions at PATH (a segment, or a directory of them) holds, the newest last.

    Without a path of its own in router.yaml the log is below the state directory, in STORE/decisions.
    """
    begins = SystemClock.time() - since if since is not None else 0.0

    def wanted(line: DecisionLine) -> bool:
        return (
            line.at >= begins
            and (backend is None or backend in {line.chosen, line.actual.backend})
            and (workload is None or line.workload == workload)
            and (result is None or line.result == result)
            and (line.missed or not missed)
        )

    reading = Reading(log_path)
    try:
        found = [line for line in _lines(reading) if wanted(line)]
    except BadLogError as error:
        what = str(error).removeprefix(f"{log_path}: ")
        show_config_error(ConfigError([Problem(str(log_path), "", what)]), as_json=as_json)
        raise SystemExit(EXIT_FAILED) from None
    found.sort(key=lambda line: line.at)
    shown = found[-limit:] if limit else found
    if export is not None:
        export.write_bytes(b"".join(encode(line) + b"\n" for line in found))
        click.echo(f"{len(found)} records in {export}", err=True)
    elif as_json:
        for line in shown:
            print_json(as_row(line))
    else:
        _show(shown, len(found))
    for note in reading.notes:
        click.echo(f"note: {note}", err=True)
    if follow:
        _follow(log_path, {line.id for line in found}, wanted, as_json=as_json)


def _lines(reading: Reading) -> Iterator[DecisionLine]:
    return (logged.line for logged in reading.decisions())


def _show(lines: list[DecisionLine], total: int) -> None:
    print_table(
        f"{len(lines)} of {total} decisions",
        ["when (UTC)", "class", "model", "chosen", "result", "TTFT ms (expected)", "TPOT ms (expected)", "cost", "for"],
        [_cells(line) for line in lines],
        right="TTFT ms (expected),TPOT ms (expected),cost,for",
        width=PAGE,
    )


def _cells(line: DecisionLine) -> list[str]:
    best, actual = line.candidates[0] if line.candidates else None, line.actual
    elsewhere = actual.backend and actual.backend != line.chosen
    return [
        datetime.fromtimestamp(line.at, UTC).strftime("%m-%d %H:%M:%S"),
        line.workload,
        str(line.profile.get("model", "")),
        f"{line.chosen or '-'}{f', then {actual.backend}' if elsewhere else ''}",
        f"{line.result}{' late' if line.missed else ''}",
        _pair(actual.ttft_s, best.ttft_s if best else None),
        _pair(actual.tpot_s, best.tpot_s if best else None),
        dollars(actual.cost_usd),
        f"{line.weight:.3g}",
    ]


def _pair(actual_s: float | None, expected_s: float | None) -> str:
    """Both in milliseconds: "18.7 (11.4)"."""

    def one(value_s: float | None) -> str:
        if value_s is None:
            return "-"
        return f"{1000.0 * value_s:.3g}" if value_s < 1.0 else f"{1000.0 * value_s:.0f}"

    return f"{one(actual_s)} ({one(expected_s)})"


def as_row(line: DecisionLine) -> dict[str, object]:
    """The record in short, predicted against actual; `--export` writes all of it."""
    best, actual = line.candidates[0] if line.candidates else None, line.actual
    return {
        "id": line.id,
        "at": line.at,
        "class": line.workload,
        "model": line.profile.get("model", ""),
        "tenant": line.profile.get("tenant", "default"),
        "chosen": line.chosen,
        "answered": actual.backend,
        "result": line.result,
        "missed": line.missed,
        "weight": line.weight,
        "snapshot": line.snapshot,
        "candidates": len(line.candidates) + line.more,
        "drops": line.drop_counts,
        "slo": line.slo,
        "predicted": None
        if best is None
        else {
            "ttft_s": best.ttft_s,
            "tpot_s": best.tpot_s,
            "e2e_s": best.e2e_s,
            "output_tokens": best.output_tokens,
            "cost_usd": best.cost_usd,
            "energy_j": best.energy_j,
            "p_slo": best.p_ttft * best.p_tpot * best.p_e2e,
        },
        "actual": {
            "ttft_s": actual.ttft_s,
            "tpot_s": actual.tpot_s,
            "e2e_s": actual.e2e_s,
            "input_tokens": actual.input_tokens,
            "output_tokens": actual.output_tokens,
            "cost_usd": actual.cost_usd,
            "energy_j": actual.energy_j,
            "attempts": actual.attempts,
        },
    }


def _follow(path: Path, known: set[str], wanted: Callable[[DecisionLine], bool], *, as_json: bool) -> None:
    sizes: dict[Path, int] = {}
    try:
        while True:
            time.sleep(FOLLOW_S)
            for line in _grown(path, sizes):
                if line.id in known or not wanted(line):
                    continue
                known.add(line.id)
                if as_json:
                    print_json(as_row(line))
                else:
                    click.echo("  ".join(_cells(line)))
    except KeyboardInterrupt:
        raise SystemExit(EXIT_INTERRUPTED) from None


def _grown(path: Path, sizes: dict[Path, int]) -> Iterator[DecisionLine]:
    """The decisions of segments that have grown since they were looked at last."""
    for segment in Reading(path).paths():
        size = segment.stat().st_size
        if sizes.get(segment) != size:
            sizes[segment] = size
            yield from _lines(Reading(segment))
