"""`top`: the fleet as it runs, renewed every second or so: for people, over the admin API of any router."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Sequence

import click

# Read when grpc is imported: what it logs of a router that goes away would be written across the screen.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from router.cli.fitted import Column, fitted, plain
from router.cli.rpc import ADMIN_TIMEOUT_S, admin_address_option, connected, failure, fleet_stub, json_option
from router.cli.show import WIDTH_WITHOUT_TERMINAL, dollars, enum_name, hardware, print_message, seconds
from router.v1 import common_pb2, fleet_pb2
from router.v1.fleet_pb2_grpc import FleetServiceStub

Backend = fleet_pb2.BackendOverview
Decision = fleet_pb2.RecentDecision
View = fleet_pb2.GetOverviewResponse
_HEALTH_STYLE = {
    common_pb2.HEALTH_STATE_HEALTHY: "green",
    common_pb2.HEALTH_STATE_SUSPECT: "yellow",
    common_pb2.HEALTH_STATE_WARMING: "cyan",
    common_pb2.HEALTH_STATE_DRAINING: "magenta",
    common_pb2.HEALTH_STATE_EJECTED: "bold red",
}
# The backends asked for, where the screen has no end, and where it may become larger at any time.
ALL_BACKENDS = 100
MOST_LINES = 200
# On a screen; what more there is, is counted.
MOST_ALARMS = 4
MOST_REPLICAS = 6
# Of a router that hangs, the screen says so after as long.
FOLLOW_TIMEOUT_S = 2.0


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
    on_terminal = sys.stdout.isatty()
    console = Console(width=None if on_terminal else WIDTH_WITHOUT_TERMINAL)
    follow = on_terminal and not (once or as_json)
    request = fleet_pb2.GetOverviewRequest(
        decisions=decisions, backends=backends or (MOST_LINES if follow else ALL_BACKENDS)
    )
    with connected(address, as_json=as_json) as channel:
        stub = fleet_stub(channel)
        view = stub.GetOverview(request, timeout=ADMIN_TIMEOUT_S)
        # To ask for none is to ask for as many as the router likes.
        del view.decisions[decisions:]
        if as_json:
            print_message(view)
        elif not follow:
            console.print(render(view, address, width=console.width))
        else:
            _follow(console, stub, request, view, address, interval)


def _follow(
    console: Console,
    stub: FleetServiceStub,
    request: fleet_pb2.GetOverviewRequest,
    view: View,
    address: str,
    interval: float,
) -> None:
    """Renews the view until interrupted. A router that goes away meanwhile is waited for, and said to be away."""
    problem = ""
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(fitting(view, address, console, problem=problem), refresh=True)
            time.sleep(interval)
            try:
                view, problem = stub.GetOverview(request, timeout=FOLLOW_TIMEOUT_S), ""
                del view.decisions[request.decisions :]
            except grpc.RpcError as error:
                problem = failure(error, address).message


def fitting(view: View, address: str, console: Console, *, problem: str = "") -> RenderableType:
    """As much of the view as the console has lines for: backends first, then decisions; what is more is left out."""
    width, height, short = console.width, console.height, View()
    short.CopyFrom(view)
    # More than one row a line there cannot be.
    del short.backends[height:], short.decisions[height:]
    if len(view.alarms) > MOST_ALARMS:
        short.alarms[MOST_ALARMS - 1 :] = [f"... and {len(view.alarms) - MOST_ALARMS + 1} more (see top --once)"]

    def lines(shown: View) -> int:
        screen = render(shown, address, width=width, problem=problem)
        return len(console.render_lines(screen, console.options.update(height=None)))

    excess = lines(short) - height
    if excess <= 0:
        return render(short, address, width=width, problem=problem)
    bare = View()
    bare.CopyFrom(short)
    del bare.backends[1:]
    others = max(1, len(short.backends) - 1)
    per_backend = max(1, (excess + height - lines(bare)) // others)
    # What is missed least is given up first: old decisions, then idle backends, then the rest of the decisions.
    steps = ((short.decisions, 3, 1), (short.backends, 4, per_backend), (short.decisions, 0, 1), (short.backends, 1, 1))
    for part, least, lines_each in steps:
        while excess > 0 and len(part) > least:
            gone = min(len(part) - least, math.ceil(excess / lines_each))
            del part[len(part) - gone :]
            excess = lines(short) - height
    return render(short, address, width=width, problem=problem)


def render(view: View, address: str, *, width: int, problem: str = "") -> RenderableType:
    """The whole view, `width` characters wide."""
    parts: list[RenderableType] = [_head(view, address)]
    if problem:
        parts.append(Text(f"{plain(problem)}; this is the last view", style="bold red"))
    parts += [Text(f"! {plain(alarm)}", style="yellow") for alarm in view.alarms]
    title = f"Backends, busiest first ({len(view.backends)} of {view.backend_count}); times as predicted/actual"
    parts += [Text(), fitted(title, _BACKEND_LAYOUTS, view.backends, width), Text()]
    if view.decisions:
        parts += [fitted("Recent decisions, newest first", _DECISION_LAYOUTS, view.decisions, width), Text()]
    parts.append(_replicas(view.replicas))
    return Group(*parts)


def _head(view: View, address: str) -> Text:
    store = f"store {view.store}"
    if view.store != "connected":
        age = f", snapshot {seconds(view.snapshot_age_s)} old" if math.isfinite(view.snapshot_age_s) else ""
        store += f" for {seconds(view.store_for_s)}{age}"
    return Text.assemble(
        (plain(view.replica), "bold"),
        f" at {address}   fleet version {view.fleet_version}   ",
        (store, "" if view.store == "connected" else "bold red"),
        f"   {view.in_flight} in flight   {view.requests_per_s:.1f} requests/s   {dollars(view.usd_per_hour)}/h",
    )


def _name(backend: Backend) -> Text:
    return Text(plain(backend.id), style="bold")


def _hardware(backend: Backend) -> Text:
    """Emulation first: whatever a narrow screen cuts off, that is still said."""
    label = common_pb2.Hardware()
    label.CopyFrom(backend.hardware)
    label.emulated = False
    words = plain(hardware(label))
    return Text.assemble(("emulated ", "italic"), words) if backend.hardware.emulated else Text(words)


def _name_and_hardware(backend: Backend) -> Text:
    return Text("\n").join([_name(backend), _hardware(backend)])


def _state(backend: Backend) -> Text:
    health = enum_name(common_pb2.HealthState.Name(backend.health), "HEALTH_STATE_")
    return Text(health, style=_HEALTH_STYLE.get(backend.health, ""))


def _health(backend: Backend) -> Text:
    """Why, too, where there is room for it."""
    health = _state(backend)
    if backend.health_reason and health.plain not in {"healthy", "unknown"}:
        health.append(f": {plain(backend.health_reason)}")
    return health


def _blended(backend: Backend) -> Text:
    known = backend.HasField("usd_per_mtok_blended")
    return Text(dollars(backend.usd_per_mtok_blended) if known else "unknown")


def _price(backend: Backend) -> Text:
    return Text(f"{backend.price} ({backend.price_source})" if backend.price else "unknown")


def _pair(predicted: float, actual: float | None) -> Text:
    """In milliseconds."""
    return Text(f"{_ms(predicted)}/{'-' if actual is None else _ms(actual)}")


def _ms(value_s: float) -> str:
    ms = value_s * 1e3
    return f"{ms:.0f}" if ms >= 99.95 else f"{ms:.1f}" if ms >= 9.995 else f"{ms:.2f}"


def _ttft(backend: Backend) -> Text:
    known = backend.HasField("ttft_actual_s")
    return _pair(backend.ttft_predicted_s, backend.ttft_actual_s) if known else Text("-")


def _tpot(backend: Backend) -> Text:
    known = backend.HasField("tpot_actual_s")
    return _pair(backend.tpot_predicted_s, backend.tpot_actual_s) if known else Text("-")


def _result(decision: Decision) -> Text:
    return Text(decision.result or "running", style="" if decision.result in {"OK", "PICKED", ""} else "red")


_STATE = Column("health", _state)
_HEALTH = Column("health", _health, least=8)
_LOAD = Column[Backend]("load", lambda b: Text(f"{b.in_flight:.0f}/{b.max_concurrency}"))
_SHARE = Column[Backend]("share", lambda b: Text(f"{b.share:.0%}"))
_RATES = (
    Column[Backend]("req/s", lambda b: Text(f"{b.requests_per_s:.1f}")),
    Column[Backend]("tok/s", lambda b: Text(f"{b.tokens_per_s:.0f}")),
)
_SPEED = (Column("TTFT ms", _ttft), Column("TPOT ms", _tpot))
_MTOK = Column("$/Mtok", _blended)
_HOUR = Column[Backend]("$/h", lambda b: Text(dollars(b.usd_per_hour)))
_PRICE = Column("price", _price)
# Hardware so that "emulated" and the beginning of what is emulated can be read, on a wide screen all of it.
_WIDE = (Column("backend", _name, least=20), Column("hardware", _hardware, least=34))
_ONE_LINE = (Column("backend", _name, least=16), Column("hardware", _hardware, least=26))
_TWO_LINES = Column("backend, hardware", _name_and_hardware, least=16)
_BACKEND_LAYOUTS: tuple[tuple[Column[Backend], ...], ...] = (
    (*_WIDE, _HEALTH, _LOAD, _SHARE, *_RATES, *_SPEED, _MTOK, _HOUR, _PRICE),
    (*_WIDE, _HEALTH, _LOAD, _SHARE, *_SPEED, _MTOK, _HOUR, _PRICE),
    (*_WIDE, _HEALTH, _LOAD, _SHARE, *_SPEED, _MTOK, _PRICE),
    (*_ONE_LINE, _HEALTH, _LOAD, _SHARE, *_SPEED, _MTOK),
    (_TWO_LINES, _STATE, _LOAD, _SHARE, *_SPEED, _MTOK),
)

_ASKED = (
    Column[Decision]("at", lambda d: Text(d.at.ToDatetime().strftime("%H:%M:%S"))),
    Column[Decision]("tenant", lambda d: Text(plain(d.tenant)), least=7),
    Column[Decision]("model", lambda d: Text(plain(d.model)), least=9),
)
_ANSWERED = (
    Column[Decision]("chosen", lambda d: Text(plain(d.backend)), least=10),
    Column("result", _result, least=8),
)
_COUNTS = (
    Column[Decision]("candidates", lambda d: Text(str(d.candidates))),
    Column[Decision]("attempts", lambda d: Text(str(d.attempts))),
)
_TOOK = (
    Column[Decision](
        "TTFT ms",
        lambda d: _pair(d.ttft_predicted_s, d.ttft_actual_s if d.HasField("ttft_actual_s") else None),
    ),
    Column[Decision]("cost", lambda d: Text(dollars(d.cost_usd))),
)
_CLASS = Column[Decision]("class", lambda d: Text(plain(d.workload_class)), least=8)
_DECISION_LAYOUTS: tuple[tuple[Column[Decision], ...], ...] = (
    (*_ASKED, _CLASS, *_ANSWERED, *_COUNTS, *_TOOK),
    (*_ASKED, *_ANSWERED, *_TOOK),
)


def _replicas(replicas: Sequence[fleet_pb2.Replica]) -> Text:
    line = Text("Replicas: ", style="bold")
    for position, replica in enumerate(replicas[:MOST_REPLICAS]):
        mine = " (this)" if replica.self else ""
        line.append(", " if position else "", style="not bold")
        line.append(
            f"{plain(replica.id)}{mine} v{replica.fleet_version} {replica.in_flight} in flight", style="not bold"
        )
    if len(replicas) > MOST_REPLICAS:
        line.append(f", and {len(replicas) - MOST_REPLICAS} more", style="not bold")
    return line
