"""`serve`: one router process, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import uvloop

from router import app
from router.cli.admin_backends import show_config_error
from router.cli.rpc import EXIT_FAILED
from router.settings.strict import ConfigError

PORT = click.IntRange(0, 65535)


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("config"),
    show_default=True,
    help="Directory of the YAML files.",
)
@click.option("--host", help="Address to listen on.")
@click.option("--grpc-port", type=PORT, help="InferenceService.")
@click.option("--admin-port", type=PORT, help="AdminService.")
@click.option("--http-port", type=PORT, help="OpenAI-compatible face, health and metrics.")
@click.option("--redis-url", help="State store. Default: an embedded Valkey that ends with this process.")
@click.option("--pick-free-ports", is_flag=True, default=None, help="Take a free port where one is taken.")
@click.option("--log-json", is_flag=True, default=None, help="Log one JSON object a line.")
def serve(*, config: Path, **flags: Any) -> None:
    """Serves until SIGTERM: readiness goes off, streams in flight finish within a limit, then it stops.

    A flag overrides the environment, which overrides router.yaml.
    """
    try:
        settings = app.load_settings(config, os.environ)
    except ConfigError as error:
        show_config_error(error, as_json=False)
        raise SystemExit(EXIT_FAILED) from None
    given = {name: value for name, value in flags.items() if value is not None}
    settings = replace(settings, router=replace(settings.router, **given))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            status = runner.run(app.run(settings, started=_announce))
    except tuple(app.START_HINTS) as error:
        hint = next(hint for kind, hint in app.START_HINTS.items() if isinstance(error, kind))
        click.echo(f"error: START_FAILED: {error}", err=True)
        click.echo(f"  hint: {hint}", err=True)
        raise SystemExit(EXIT_FAILED) from None
    raise SystemExit(status)


def _announce(ports: app.Ports) -> None:
    """One line on stdout that a person and a script can read; with port 0 it is the only place that says the ports."""
    click.echo(
        f"serving grpc={ports.host}:{ports.grpc} admin={ports.host}:{ports.admin} http={ports.host}:{ports.http}"
        f" store={ports.store}"
    )
