"""`top`: the fleet as it runs, renewed every second or so: for people, over the admin API of any router."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click
import grpc
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from router.cli.rpc import ADMIN_TIMEOUT_S, admin_address_option, connected, failure, fleet_stub, json_option
from router.cli.show import WIDTH_WITHOUT_TERMINAL, dollars, enum_name, hardware, print_message, seconds
from router.v1 import common_pb2, fleet_pb2
from router.v1.fleet_pb2_grpc import FleetServiceStub

_HEALTH_STYLE = {
    common_pb2.HEALTH_STATE_HEALTHY: "green",
    common_pb2.HEALTH_STATE_SUSPECT: "yellow",
    common_pb2.HEALTH_STATE_WARMING: "cyan",
    common_pb2.HEALTH_STATE_DRAINING: "magenta",
    common_pb2.HEALTH_STATE_EJECTED: "bold red",
}
# Lines that are not rows of backends: titles, headings, replicas, alarms.
_FRAME_LINES = 14
# A screen of so many characters shows everything.
WIDE = 130


@click.command()
@admin_address_option
@json_option
@click.option("--interval", type=click.FloatRange(min=0.1), default=1.0, show_default=True, help="Seconds.")
@click.option("--once", is_flag=True, help="Print one view and end.")
@click.option("--decisions", type=click.IntRange(0, 100), default=8, show_default=True, help="Recent ones to show.")
@click.option("--backends", type=click.IntRange(1, 10_000), help="At most so many. Default: what fits the screen.")
def top(*, address: str, as_json: bool, interval: float, once: bool, decisions: int, backends: int | None) -> None:
    """Shows the fleet live: hardware, health, load, speed, price, share of traffic and recent decisions.

    Ends with Ctrl-C. Without a terminal, or with --once or --json, it prints one view.
    """
    console = Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL)
    fits = max(4, console.size.height - _FRAME_LINES - decisions) if sys.stdout.isatty() else 100
    request = fleet_pb2.GetOverviewRequest(decisions=decisions, backends=backends or fits)
    with connected(address, as_json=as_json) as channel:
        stub = fleet_stub(channel)
        view = stub.GetOverview(request, timeout=ADMIN_TIMEOUT_S)
        if as_json:
            print_message(view)
        elif once or not sys.stdout.isatty():
            console.print(render(view, address, width=console.width, decisions=decisions))
        else:
            _follow(console, stub, request, view, address, interval)


def _follow(
    console: Console,
    stub: FleetServiceStub,
    request: fleet_pb2.GetOverviewRequest,
    view: fleet_pb2.GetOverviewResponse,
    address: str,
    interval: float,
) -> None:
    """Renews the view until interrupted. A router that goes away meanwhile is waited for, and said to be away."""
    problem = ""
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            screen = render(view, address, width=console.width, decisions=request.decisions, problem=problem)
            live.update(screen, refresh=True)
            time.sleep(interval)
            try:
                view, problem = stub.GetOverview(request, timeout=ADMIN_TIMEOUT_S), ""
            except grpc.RpcError as error:
                problem = failure(error, address).message


def render(
    view: fleet_pb2.GetOverviewResponse, address: str, *, width: int, decisions: int, problem: str = ""
) -> RenderableType:
    """The whole screen, `width` characters wide."""
    parts: list[RenderableType] = [_head(view, address)]
    if problem:
        parts.append(Text(f"{problem}; this is the last view", style="bold red"))
    parts += [Text(f"! {alarm}", style="yellow") for alarm in view.alarms]
    parts.append(_backends(view, width))
    if decisions:
        parts.append(_decisions(view.decisions, width))
    parts.append(_replicas(view.replicas))
    return Group(*parts)


def _head(view: fleet_pb2.GetOverviewResponse, address: str) -> Text:
    store = f"store {view.store}"
    if view.store != "connected":
        store += f" for {seconds(view.store_for_s)}, snapshot {seconds(view.snapshot_age_s)} old"
    return Text.assemble(
        (f"{view.replica}", "bold"),
        f" at {address}   fleet version {view.fleet_version}   ",
        (store, "" if view.store == "connected" else "bold red"),
        f"   {view.in_flight} in flight   {view.requests_per_s:.1f} requests/s   {dollars(view.usd_per_hour)}/h",
    )


@dataclass(frozen=True, slots=True)
class _Column:
    """`width`: at most, `least`: on narrow screens; `from_width`: of the screen, where narrower ones do without it."""

    name: str
    cell: Callable[[fleet_pb2.BackendOverview], Text]
    width: int
    right: bool = True
    least: int = 8
    from_width: int = 0


def _health(backend: fleet_pb2.BackendOverview) -> Text:
    health = enum_name(common_pb2.HealthState.Name(backend.health), "HEALTH_STATE_")
    reason = f": {backend.health_reason}" if backend.health_reason and health not in {"healthy", "unknown"} else ""
    return Text(f"{health}{reason}", style=_HEALTH_STYLE.get(backend.health, ""))


def _hardware(backend: fleet_pb2.BackendOverview) -> str:
    """Emulation first: whatever a narrow screen cuts off, that is still said."""
    label = common_pb2.Hardware()
    label.CopyFrom(backend.hardware)
    label.emulated = False
    return f"emulated {hardware(label)}" if backend.hardware.emulated else hardware(label)


def _blended(backend: fleet_pb2.BackendOverview) -> Text:
    known = backend.HasField("usd_per_mtok_blended")
    return Text(dollars(backend.usd_per_mtok_blended) if known else "unknown")


def _price(backend: fleet_pb2.BackendOverview) -> Text:
    return Text(f"{backend.price} ({backend.price_source})" if backend.price else "unknown")


COLUMNS = (
    _Column("backend", lambda b: Text(b.id, style="bold"), 24, right=False, least=13),
    _Column("hardware", lambda b: Text(_hardware(b)), 36, right=False, least=13),
    _Column("health", _health, 20, right=False),
    _Column("load", lambda b: Text(f"{b.in_flight:.0f}/{b.max_concurrency}"), 9),
    _Column("share", lambda b: Text(f"{b.share:.0%}"), 5),
    _Column("req/s", lambda b: Text(f"{b.requests_per_s:.1f}"), 7, from_width=140),
    _Column("tok/s", lambda b: Text(f"{b.tokens_per_s:.0f}"), 7, from_width=150),
    _Column("TTFT pred/act", lambda b: Text(_pair(b, "ttft", 0)), 14),
    _Column("TPOT pred/act", lambda b: Text(_pair(b, "tpot", 2)), 14),
    _Column("$/Mtok", _blended, 9),
    _Column("$/h", lambda b: Text(dollars(b.usd_per_hour)), 8, from_width=130),
    _Column("price", _price, 40, right=False),
)


def _backends(view: fleet_pb2.GetOverviewResponse, width: int) -> Table:
    table = _table(f"Backends, busiest first ({len(view.backends)} of {view.backend_count})")
    columns = [column for column in COLUMNS if width >= column.from_width]
    # What is cut when the screen is narrow is words, never numbers.
    spare = width - sum(column.width + 2 for column in columns if column.right)
    words = sum(column.width for column in columns if not column.right)
    for column in columns:
        room = column.width
        if not column.right:
            room = max(column.least, min(column.width, column.width * (spare - 8) // words))
        table.add_column(column.name, justify="right" if column.right else "left", no_wrap=True, max_width=room)
    for backend in view.backends:
        table.add_row(*(column.cell(backend) for column in columns))
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD, pad_edge=False)


def _pair(backend: fleet_pb2.BackendOverview, name: str, digits: int) -> str:
    """Predicted and actual, in milliseconds."""
    if not backend.HasField(f"{name}_actual_s"):
        return "-"
    predicted, actual = (getattr(backend, f"{name}_{which}_s") * 1e3 for which in ("predicted", "actual"))
    return f"{predicted:.{digits}f}/{actual:.{digits}f} ms"


def _decisions(recent: Sequence[fleet_pb2.RecentDecision], width: int) -> Table:
    table = _table("Recent decisions, newest first")
    wide = width >= WIDE
    for name in ("at", "tenant", "model", *(("class",) if wide else ()), "chosen", "result"):
        table.add_column(name, overflow="ellipsis", no_wrap=True)
    for name in (*(("candidates", "attempts") if wide else ()), "TTFT pred/act", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    for decision in recent:
        actual = f"{decision.ttft_actual_s * 1e3:.0f}" if decision.HasField("ttft_actual_s") else "-"
        table.add_row(
            Text(decision.at.ToDatetime().strftime("%H:%M:%S")),
            Text(decision.tenant),
            Text(decision.model),
            *((Text(decision.workload_class),) if wide else ()),
            Text(decision.backend),
            Text(decision.result or "running", style="" if decision.result in {"OK", ""} else "red"),
            *((Text(str(decision.candidates)), Text(str(decision.attempts))) if wide else ()),
            Text(f"{decision.ttft_predicted_s * 1e3:.0f}/{actual} ms"),
            Text(dollars(decision.cost_usd)),
        )
    return table


def _replicas(replicas: Sequence[fleet_pb2.Replica]) -> Text:
    line = Text("Replicas: ", style="bold")
    for position, replica in enumerate(replicas):
        mine = " (this)" if replica.self else ""
        line.append(", " if position else "", style="not bold")
        line.append(f"{replica.id}{mine} v{replica.fleet_version} {replica.in_flight} in flight", style="not bold")
    return line
