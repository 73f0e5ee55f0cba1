"""`admin usage`: what was used and what it cost, as a table, CSV, Parquet or JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import click
from google.protobuf.timestamp_pb2 import Timestamp

from router.cli import usage_export
from router.cli.rpc import admin_address_option, connected, json_option
from router.cli.show import print_json, print_table
from router.cli.usage_lines import DIMENSIONS, EACH, FIGURES, Line, each, grouped, nothing, parse_time
from router.clock import SystemClock
from router.v1 import usage_pb2
from router.v1.usage_pb2_grpc import UsageServiceStub

# Months of a large fleet are many pages.
TIMEOUT_S = 600.0


class _Time(click.ParamType[datetime]):
    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return parse_time(str(value), SystemClock().time())
        except (ValueError, OverflowError):
            self.fail(f"{value!r}: expected a date or time like 2026-11-23 or 2026-11-23T14:00, or 24h, 7d", param, ctx)


@click.command()
@click.option("--from", "begin", type=_Time(), help="Hours that begin at or after; UTC. Default: this day.")
@click.option("--to", "end", type=_Time(), help="Hours that begin before. Default: now.")
@click.option("--tenant", default="", help="Only this tenant's.")
@click.option("--model", default="", help="Only this model's.")
@click.option("--backend", default="", help="Only this backend's.")
@click.option("--by", multiple=True, type=click.Choice(DIMENSIONS), help="Sum up by these; may be given again.")
@click.option("--csv", "csv_path", metavar="FILE", help="Write CSV; '-' is standard output.")
@click.option("--parquet", "parquet_path", type=click.Path(dir_okay=False), metavar="FILE", help="Write Parquet.")
@admin_address_option
@json_option
def usage(
    *,
    address: str,
    as_json: bool,
    begin: datetime | None,
    end: datetime | None,
    tenant: str,
    model: str,
    backend: str,
    by: tuple[str, ...],
    csv_path: str | None,
    parquet_path: str | None,
) -> None:
    """Shows what tenants used and what it cost, by hour (UTC), tenant, model and backend.

    Every attempt counts where it was made; a request counts where it was answered, or tried last. Usage of the last
    second or two may not be in yet.
    """
    if (csv_path is not None) + (parquet_path is not None) + as_json > 1:
        raise click.UsageError("choose one of --csv, --parquet and --json")
    if parquet_path is not None:
        usage_export.load_pyarrow()
    request = usage_pb2.ListUsageRequest(
        to=_timestamp(end), tenant=tenant, model=model, backend=backend, **{"from": _timestamp(begin)}
    )
    columns = tuple(dict.fromkeys(by)) or EACH
    with connected(address, as_json=as_json) as channel:
        stub = UsageServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        lines: Iterable[Line] = each(stub.ListUsage(request, timeout=TIMEOUT_S), columns)
        if by:
            lines = grouped(lines)
        if csv_path is not None:
            usage_export.write_csv(csv_path, columns, lines)
        elif parquet_path is not None:
            usage_export.write_parquet(parquet_path, columns, lines)
        elif as_json:
            _print_json(columns, lines)
        else:
            _print_table(columns, lines)


def _timestamp(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def _print_json(columns: Sequence[str], lines: Iterable[Line]) -> None:
    total = nothing()
    rows = []
    for line in lines:
        total.add(line)
        rows.append(dict(zip(columns, map(usage_export.shown, line.group), strict=True)) | _figures(line))
    print_json({"rows": rows, "total": _figures(total)})


def _figures(line: Line) -> dict[str, object]:
    """Dollars as a string: a JSON number is read as a float, which holds fewer digits."""
    counts: dict[str, object] = dict(zip(FIGURES, line.figures, strict=True))
    return counts | {"cost_usd": f"{line.cost_usd:f}", "energy_j": line.energy_j}


def _print_table(columns: Sequence[str], lines: Iterable[Line]) -> None:
    total = nothing()
    rows: list[tuple[object, ...]] = []
    for line in lines:
        total.add(line)
        rows.append((*map(usage_export.shown, line.group), *_cells(line)))
    rows.append(("total", *("" for _ in columns[1:]), *_cells(total)))
    heads = ("requests", "attempts", "failed", "input", "cached", "output", "reasoning", "cost USD", "energy J")
    print_table("usage", (*columns, *heads), rows, right=", ".join(heads))


def _cells(line: Line) -> tuple[str, ...]:
    return (*(f"{n:,}" for n in line.figures), f"{line.cost_usd:,.6f}", f"{line.energy_j:,.1f}")
