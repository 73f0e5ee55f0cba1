"""`backends discover`: what serves at an address, and the YAML that registers it."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from rich.console import Console

from backends.discovery.discover import Discovery
from router.app import discovering
from router.cli.rpc import json_option
from router.cli.show import print_table
from router.domain.catalogue import Catalogue
from router.settings import ConfigError, load


@click.group()
def backends() -> None:
    """What could be a backend. (`admin backends` changes what is one.)"""


@backends.command()
@click.argument("url")
@click.option("--credential", metavar="REF", help="A reference to its key: env:NAME or file:PATH.")
@click.option("--id", "backend_id", metavar="NAME", help="The backend's id in the YAML (default: from the address).")
@click.option(
    "--config",
    "config_dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("config"),
    show_default=True,
    help="Whose models.yaml its models are looked up in.",
)
@json_option
def discover(*, url: str, credential: str | None, backend_id: str | None, config_dir: Path, as_json: bool) -> None:
    """Finds out what serves at URL, and prints the YAML to register it.

    Asks only what costs nothing there: nothing is generated, loaded or billed. A hosted service is told by its host.
    """
    console = Console(stderr=True)
    try:
        with console.status(f"asking {url}"):
            found = asyncio.run(discovering.find(url, env=os.environ, credential=credential))
    except discovering.CannotAsk as error:
        raise click.BadParameter(str(error), param_hint=error.argument) from None
    matches = discovering.match(found.facts.models, _catalogue(config_dir, console))
    name = backend_id or _id_of(url, found.profile)
    if as_json:
        click.echo(json.dumps(_document(found, matches), indent=2))
    elif found.wire:
        _show(found, matches)
        click.echo(discovering.as_yaml(found, matches, backend_id=name, credential=credential))
    if not found.wire:
        if not as_json:
            print_table("Asked", ["question", "answer"], list(found.asked))
        raise click.ClickException(
            f"nothing that is known serves at {url}; a gRPC server is asked for as grpc://HOST:PORT, and a server that "
            "wants a key needs --credential"
        )


def _show(found: Discovery, matches: list[discovering.Match]) -> None:
    metrics = "yes" if found.tells_load else "not asked" if found.report is None else "no"
    health = "not asked" if found.report is None else "healthy" if found.report.healthy else found.report.reason
    print_table(
        f"{found.title} {found.facts.version}".rstrip() + (" (emulated)" if found.emulated else ""),
        ["its model", "in the catalogue", "context"],
        [
            (m.found.name, m.model if m.is_known else f"not there; would be {m.model}", m.found.context_tokens or "-")
            for m in matches
        ],
        right="context",
    )
    click.echo(f"wire {found.wire}, profile {found.profile}; health: {health}; tells its load: {metrics}\n")


def _document(found: Discovery, matches: list[discovering.Match]) -> dict[str, Any]:
    return {
        "title": found.title,
        "version": found.facts.version,
        "wire": found.wire,
        "profile": found.profile,
        "address": found.address,
        "options": found.options,
        "place": found.place,
        "emulated": found.emulated,
        "healthy": None if found.report is None else found.report.healthy,
        "tells_load": found.tells_load,
        "max_concurrency": found.facts.max_concurrency,
        "models": [
            {
                "upstream_name": m.found.name,
                "model": m.model,
                "known": m.is_known,
                "context_tokens": m.found.context_tokens,
            }
            for m in matches
        ],
        "asked": [{"question": question, "answer": answer} for question, answer in found.asked],
    }


def _catalogue(config_dir: Path, console: Console) -> Catalogue:
    """The models that are known; none where there is no configuration to look them up in."""
    try:
        return load(config_dir, os.environ).catalogue
    except ConfigError as error:
        console.print(f"{config_dir}: not read, so no model is matched: {str(error).splitlines()[0]}")
        return Catalogue()


def _id_of(url: str, profile: str) -> str:
    host = re.sub(r"[^a-z0-9]+", "-", (urlsplit(url).hostname or "backend").lower()).strip("-")
    return f"{profile or 'backend'}-{host}".replace("_", "-")[:63]
