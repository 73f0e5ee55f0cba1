"""The command and its subcommands.

Each subcommand's module is imported when it is asked for: a client command starts without loading the server.
"""

from __future__ import annotations

import importlib

import click

from router.compile import stale

COMMANDS = {
    "serve": "router.cli.serve:serve",
    "generate": "router.cli.generate:generate",
    "explain": "router.cli.explain:explain",
    "models": "router.cli.models:models",
    "top": "router.cli.top:top",
    "prices": "router.cli.prices:prices",
    "backends": "router.cli.backends:backends",
    "decisions": "router.cli.decisions:decisions",
    "replay": "router.cli.replay:replay",
    "admin": "router.cli.admin:admin",
    "check-config": "router.cli.check_config:check_config",
    "simulate": "simulation.virtual.command:simulate",
}


class LazyGroup(click.Group):
    """A group whose commands are named by module and attribute."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        if names := stale():
            # A compiled module shadows its source: what runs would not be what is written.
            raise click.ClickException(
                f"compiled modules are older than their source ({', '.join(names)}); run 'make compile', "
                "or 'python -m router.compile --clean' for plain Python"
            )
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name]} is no command of {ctx.info_name}")
        return command


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="inference-router", prog_name="inference-router")
def main() -> None:
    """Routes LLM requests to the best of many kinds of hardware.

    \b
    Exit codes: 0 done; 1 refused or failed, with the reason; 2 wrong usage;
    3 the router cannot be reached; 130 interrupted.
    """  # noqa: D301 - click takes the escaped character as "do not wrap"
