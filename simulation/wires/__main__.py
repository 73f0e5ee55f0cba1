"""`python -m simulation.wires`: an emulated server of every family on real ports, until Ctrl-C or SIGTERM.

No model runs in them, and every answer says so. --config writes a configuration directory with which a router serves
them all; --yaml prints the fleet alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from simulation.wires.families import SHARED_MODEL, STANDS, Stand, running
from simulation.wires.registering import KEYS, USD_PER_MTOK, exports, fleet_yaml, write_config

CATALOGUE = Path(__file__).parents[2] / "config"
WIDTH_WITHOUT_TERMINAL = 200
MAX_PORT = 65_535


def chosen(names: Sequence[str]) -> tuple[Stand, ...]:
    """The stands of those names, all of them where none is given.

    Raises:
        ValueError: there is no such stand.
    """
    known = {stand.id for stand in STANDS}
    if unknown := sorted(set(names) - known):
        raise ValueError(f"no server {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return tuple(stand for stand in STANDS if not names or stand.id in names)


async def serve(stands: Sequence[Stand], given: argparse.Namespace) -> int:
    """Runs them until it is told to stop; the exit status."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with running(stands, host=given.host, first_port=given.port) as servers:
            addresses = {stand.id: stand.address(given.host, servers[stand.id].port) for stand in stands}
            if given.config is not None:
                usd = dict.fromkeys(addresses, USD_PER_MTOK)
                write_config(given.config, CATALOGUE, stands, addresses, usd)
            if given.json:
                _say("".join(_json_line(stand, addresses) for stand in stands).rstrip())
            elif given.yaml:
                comments = "".join(f"# {line}\n" for line in exports(stands))
                _say(f"{comments}{fleet_yaml(stands, addresses)}")
            else:
                _show(stands, addresses)
                _next_steps(given.config, stands[-1].id)
            await stop.wait()
    except OSError as error:
        print(f"cannot start: {error}", file=sys.stderr)  # noqa: T201 - a command's output
        return 1
    return 0


def _json_line(stand: Stand, addresses: Mapping[str, str]) -> str:
    facts = {"id": stand.id, "family": stand.title, **stand.entry(addresses[stand.id]), "secret": stand.secret}
    return json.dumps(facts) + "\n"


def _show(stands: Sequence[Stand], addresses: Mapping[str, str]) -> None:
    table = Table(title=f"{len(stands)} emulated servers: no model runs in them", title_justify="left")
    for column in ("id", "family", "wire/profile", "address", "model there", "key"):
        table.add_column(column, overflow="fold")
    for stand in stands:
        wire = f"{stand.wire}/{stand.profile}"
        table.add_row(stand.id, stand.title, wire, addresses[stand.id], stand.upstream, stand.secret or "-")
    Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL).print(table)


def _next_steps(config: Path | None, example: str) -> None:
    if config is None:
        _say("A router for them: start this with --config DIRECTORY; --yaml prints the fleet. Ctrl-C stops.")
        return
    _say(
        f"Written to {config}. In another terminal:\n"
        f"  . {config / KEYS} && inference-router serve --config {config}\n"
        f"  inference-router generate Hello --model {SHARED_MODEL} --only {example}\n"
        "Ctrl-C stops."
    )


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command's output


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m simulation.wires", description=__doc__)
    parser.add_argument("only", nargs="*", metavar="ID", help="of the servers to start (default: all)")
    parser.add_argument("--config", type=Path, metavar="DIRECTORY", help="write a configuration for a router there")
    printed = parser.add_mutually_exclusive_group()
    printed.add_argument("--yaml", action="store_true", help="print the fleet.yaml that registers them")
    printed.add_argument("--json", action="store_true", help="one JSON object per server")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="the first of consecutive ports (default: free ones)")
    given = parser.parse_args()
    try:
        stands = chosen(given.only)
    except ValueError as error:
        parser.error(str(error))
    if not 0 <= given.port <= MAX_PORT + 1 - len(stands):
        parser.error(f"--port: {len(stands)} ports from {given.port} on are not all between 1 and {MAX_PORT}")
    return uvloop.run(serve(stands, given))


if __name__ == "__main__":
    sys.exit(main())
