"""`top`: the fleet as it runs, renewed every second or so: for people, over the admin API of any router."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import click
import grpc
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
            console.print(render(view, address, decisions=decisions))
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
            live.update(render(view, address, decisions=request.decisions, problem=problem), refresh=True)
            time.sleep(interval)
            try:
                view, problem = stub.GetOverview(request, timeout=ADMIN_TIMEOUT_S), ""
            except grpc.RpcError as error:
                problem = failure(error, address).message


def render(view: fleet_pb2.GetOverviewResponse, address: str, *, decisions: int, problem: str = "") -> RenderableType:
    """The whole screen."""
    parts: list[RenderableType] = [_head(view, address)]
    if problem:
        parts.append(Text(f"{problem}; this is the last view", style="bold red"))
    parts += [Text(f"! {alarm}", style="yellow") for alarm in view.alarms]
    parts.append(_backends(view))
    if decisions:
        parts.append(_decisions(view.decisions))
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


def _backends(view: fleet_pb2.GetOverviewResponse) -> Table:
    shown = len(view.backends)
    title = f"Backends, busiest first ({shown} of {view.backend_count})"
    table = Table(title=title, title_justify="left", header_style="bold", expand=True)
    for name in ("backend", "hardware", "health"):
        table.add_column(name, overflow="ellipsis", no_wrap=True)
    numbers = ("load", "share", "req/s", "tok/s", "TTFT pred/actual", "TPOT pred/actual", "$/Mtok", "$/h")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("price", overflow="ellipsis", no_wrap=True)
    for backend in view.backends:
        table.add_row(*_backend(backend))
    return table


def _backend(backend: fleet_pb2.BackendOverview) -> list[Text]:
    health = enum_name(common_pb2.HealthState.Name(backend.health), "HEALTH_STATE_")
    reason = f": {backend.health_reason}" if backend.health_reason and health not in {"healthy", "unknown"} else ""
    blended = dollars(backend.usd_per_mtok_blended) if backend.HasField("usd_per_mtok_blended") else "unknown"
    return [
        Text(backend.id, style="bold"),
        Text(hardware(backend.hardware)),
        Text(f"{health}{reason}", style=_HEALTH_STYLE.get(backend.health, "")),
        Text(f"{backend.in_flight:.0f}/{backend.max_concurrency}"),
        Text(f"{backend.share:.0%}"),
        Text(f"{backend.requests_per_s:.1f}"),
        Text(f"{backend.tokens_per_s:.0f}"),
        Text(_pair(backend, "ttft")),
        Text(_pair(backend, "tpot")),
        Text(blended),
        Text(dollars(backend.usd_per_hour)),
        Text(f"{backend.price} ({backend.price_source})" if backend.price else "unknown"),
    ]


def _pair(backend: fleet_pb2.BackendOverview, name: str) -> str:
    if not backend.HasField(f"{name}_actual_s"):
        return "-"
    return f"{seconds(getattr(backend, f'{name}_predicted_s'))} / {seconds(getattr(backend, f'{name}_actual_s'))}"


def _decisions(recent: Sequence[fleet_pb2.RecentDecision]) -> Table:
    table = Table(title="Recent decisions, newest first", title_justify="left", header_style="bold", expand=True)
    for name in ("at", "tenant", "model", "class", "chosen", "result"):
        table.add_column(name, overflow="ellipsis", no_wrap=True)
    for name in ("of", "attempts", "TTFT pred/actual", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    for decision in recent:
        actual = seconds(decision.ttft_actual_s) if decision.HasField("ttft_actual_s") else "-"
        table.add_row(
            Text(decision.at.ToDatetime().strftime("%H:%M:%S.%f")[:-3]),
            Text(decision.tenant),
            Text(decision.model),
            Text(decision.workload_class),
            Text(decision.backend),
            Text(decision.result or "running", style="" if decision.result in {"OK", ""} else "red"),
            Text(str(decision.candidates)),
            Text(str(decision.attempts)),
            Text(f"{seconds(decision.ttft_predicted_s)} / {actual}"),
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
