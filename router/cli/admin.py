"""`admin`: change the fleet while it runs. Each of its groups is a module of its own."""

from __future__ import annotations

import click

from router.cli.admin_backends import backends
from router.cli.admin_config import apply, history, plan, rollback
from router.cli.admin_policies import policies
from router.cli.admin_prices import prices
from router.cli.admin_tenants import tenants
from router.cli.admin_usage import usage
from router.cli.rpc import admin_address_option, admin_stub, connected, json_option
from router.cli.show import print_event
from router.v1 import admin_pb2


@click.group()
def admin() -> None:
    """Backends, prices and policies of a running router."""


admin.add_command(backends)
admin.add_command(prices)
admin.add_command(policies)
admin.add_command(plan)
admin.add_command(apply)
admin.add_command(history)
admin.add_command(rollback)
admin.add_command(tenants)
admin.add_command(usage)


@admin.command()
@click.option("--after", type=click.IntRange(min=0), default=0, show_default=True, help="Changes after this version.")
@click.option("--limit", type=click.IntRange(min=1), help="Stop after so many changes. Default: never.")
@admin_address_option
@json_option
def watch(*, address: str, as_json: bool, after: int, limit: int | None) -> None:
    """Prints every change of the fleet as it happens, until interrupted."""
    seen = 0
    with connected(address, as_json=as_json) as channel:
        call = admin_stub(channel).WatchChanges(admin_pb2.WatchChangesRequest(after_version=after))
        try:
            for change in call:
                if as_json:
                    print_event(change)
                else:
                    click.echo(_line(change))
                seen += 1
                if seen == limit:
                    break
        finally:
            call.cancel()


def _line(change: admin_pb2.WatchChangesResponse) -> str:
    at = change.changed_at.ToDatetime().strftime("%H:%M:%S.%f")[:-3] if change.HasField("changed_at") else "-"
    by = f" by {change.actor}" if change.actor else ""
    what = f"{change.kind} {change.id}".strip()
    return f"{change.fleet_version} {at} {what} {change.operation} (version {change.version}){by}"
