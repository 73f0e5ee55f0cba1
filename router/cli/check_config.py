"""`check-config`: is a configuration directory right?"""

from __future__ import annotations

import os
from pathlib import Path

import click

from router import app
from router.cli.admin_backends import show_config_error
from router.cli.rpc import EXIT_FAILED, json_option
from router.cli.show import print_json, print_table
from router.domain.decision import HardwareLabel
from router.domain.fleet import Backend
from router.settings import Settings
from router.settings.strict import ConfigError


@click.command("check-config")
@click.argument("directory", type=click.Path(path_type=Path), default=Path("config"))
@json_option
def check_config(*, directory: Path, as_json: bool) -> None:
    """Checks the YAML files of DIRECTORY, and prints every error or the fleet that they describe.

    Exit code 1 when anything is wrong; nothing is started or contacted.
    """
    try:
        settings = app.load_settings(directory, os.environ)
    except ConfigError as error:
        show_config_error(error, as_json=as_json)
        if not as_json:
            click.echo(
                f"{len(error.problems)} problem{'s' if len(error.problems) > 1 else ''} in {directory}", err=True
            )
        raise SystemExit(EXIT_FAILED) from None
    if as_json:
        print_json(_facts(settings))
        return
    _show(directory, settings)


def _show(directory: Path, settings: Settings) -> None:
    for notice in settings.notices:
        click.echo(notice)
    print_table(
        f"{directory}: {len(settings.seed.backends)} backends",
        ["id", "hardware", "models", "region", "privacy", "concurrency", "wire", "address"],
        [
            (
                backend.id,
                _label(backend, settings),
                ", ".join(served.model for served in backend.models),
                backend.region or "-",
                backend.privacy.name.lower(),
                backend.max_concurrency,
                f"{backend.wire}/{backend.profile}",
                backend.address,
            )
            for backend in settings.seed.backends
        ],
        right="concurrency",
    )
    catalogue, policies = settings.catalogue, settings.policies
    click.echo(
        f"ok: {len(catalogue.hardware)} accelerators, {len(catalogue.models)} models, {len(catalogue.aliases)} aliases,"
        f" {len(catalogue.classes)} classes of models, {len(settings.seed.prices)} prices,"
        f" {len(policies.classes)} workload classes (default '{policies.default_class}'),"
        f" {len(settings.seed.tenants)} tenants"
    )


def _label(backend: Backend, settings: Settings) -> HardwareLabel:
    name = settings.catalogue.hardware[backend.hardware].name
    return HardwareLabel(id=backend.hardware, name=name, count=backend.hardware_count, emulated=backend.emulated)


def _facts(settings: Settings) -> dict[str, object]:
    return {
        "ok": True,
        "notices": list(settings.notices),
        "backends": [
            {
                "id": backend.id,
                "hardware": str(_label(backend, settings)),
                "emulated": backend.emulated,
                "models": [served.model for served in backend.models],
                "region": backend.region,
                "privacy": backend.privacy.name.lower(),
                "address": backend.address,
            }
            for backend in settings.seed.backends
        ],
        "models": sorted(settings.catalogue.models),
        "hardware": sorted(settings.catalogue.hardware),
        "workload_classes": sorted(settings.policies.classes),
        "tenants": sorted(tenant.id for tenant in settings.seed.tenants),
    }
