"""`admin policies`: get and set."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from router.cli.admin_backends import FILE, expected_version_option, show_config_error
from router.cli.rpc import ADMIN_TIMEOUT_S, EXIT_FAILED, admin_address_option, admin_stub, connected, json_option
from router.cli.show import print_message
from router.settings.policies import parse_policies
from router.settings.strict import ConfigError
from router.v1 import admin_pb2


@click.group()
def policies() -> None:
    """What latency, misses and energy are worth, and how attempts are made."""


@policies.command("get")
@admin_address_option
@json_option
def get_policies(*, address: str, as_json: bool) -> None:
    """Prints the policies as the YAML that 'set' takes; their version goes to stderr."""
    with connected(address, as_json=as_json) as channel:
        response = admin_stub(channel).GetPolicies(admin_pb2.GetPoliciesRequest(), timeout=ADMIN_TIMEOUT_S)
    if as_json:
        print_message(response.policies)
        return
    sys.stdout.write(response.policies.yaml)
    click.echo(f"version {response.policies.version}", err=True)


@policies.command("set")
@FILE
@click.option("--validate-only", is_flag=True, help="Check only; change nothing.")
@expected_version_option
@admin_address_option
@json_option
def set_policies(*, file: Path, validate_only: bool, expected_version: int | None, address: str, as_json: bool) -> None:
    """Applies a policies YAML FILE on every replica."""
    text = file.read_text(encoding="utf-8")
    try:
        parse_policies(text, file.name)
    except ConfigError as error:
        show_config_error(error, as_json=as_json)
        raise SystemExit(EXIT_FAILED) from None
    with connected(address, as_json=as_json) as channel:
        stub = admin_stub(channel)
        version = expected_version
        if version is None:
            current = stub.GetPolicies(admin_pb2.GetPoliciesRequest(), timeout=ADMIN_TIMEOUT_S)
            version = current.policies.version
            click.echo(f"policies: expecting the current version, {version}", err=True)
        request = admin_pb2.SetPoliciesRequest(yaml=text, expected_version=version, validate_only=validate_only)
        response = stub.SetPolicies(request, timeout=ADMIN_TIMEOUT_S)
    if as_json:
        print_message(response)
    elif validate_only:
        click.echo(f"{file.name}: valid; nothing was changed")
    else:
        click.echo(f"policies set, version {response.policies.version}; fleet version {response.fleet_version}")
