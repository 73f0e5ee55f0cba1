"""`admin tenants`: list, show, put and remove, and the keys of one."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import click

from router.cli.admin_backends import expected_version_option
from router.cli.rpc import ADMIN_TIMEOUT_S, admin_address_option, connected, json_option, tenant_stub
from router.cli.show import as_dict, dollars, enum_name, print_json, print_message, print_table
from router.v1 import common_pb2, inference_pb2, tenants_pb2
from router.v1.tenants_pb2_grpc import TenantServiceStub

LIMITS = ("requests_per_s", "tokens_per_s", "burst_s", "usd_per_day", "usd_per_month", "max_in_flight")
_PRIVACY = [name.removeprefix("PRIVACY_LEVEL_").lower() for name in common_pb2.PrivacyLevel.keys()[1:]]
_PRIORITY = [name.removeprefix("PRIORITY_").lower() for name in inference_pb2.Priority.keys()[1:]]


def _amount(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """A number above zero, or infinity for "none"."""
    if value is None or value == "none":
        return None if value is None else math.inf
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0.0 < number < math.inf:
        raise click.BadParameter(f"{value!r} is neither a number above 0 nor 'none'")
    return number


_AMOUNT: dict[str, Any] = {"callback": _amount, "metavar": "NUMBER|none"}


@click.group()
def tenants() -> None:
    """Who may ask, for what, and how much."""


@tenants.command("list")
@admin_address_option
@json_option
def list_tenants(*, address: str, as_json: bool) -> None:
    """Lists every tenant with its limits and what it has used of them."""
    with connected(address, as_json=as_json) as channel:
        response = tenant_stub(channel).ListTenants(tenants_pb2.ListTenantsRequest(), timeout=ADMIN_TIMEOUT_S)
    if as_json:
        print_message(response)
        return
    numbers = ["version", "keys", "req/s", "tok/s", "today", "month", "in flight", "refused here"]
    print_table(
        f"Tenants, fleet version {response.fleet_version}",
        ["id", "name", *numbers],
        [_row(tenant) for tenant in response.tenants],
        right=",".join(numbers),
    )


def _row(tenant: tenants_pb2.Tenant) -> list[object]:
    spec, state, limits = tenant.spec, tenant.state, tenant.spec.limits
    return [
        spec.id + (" (disabled)" if spec.disabled else ""),
        spec.name,
        tenant.version,
        sum(not key.revoked for key in tenant.keys),
        _limit(limits, "requests_per_s"),
        _limit(limits, "tokens_per_s"),
        _money(state.usd_today, limits, "usd_per_day"),
        _money(state.usd_this_month, limits, "usd_per_month"),
        f"{state.in_flight}/{limits.max_in_flight}" if limits.HasField("max_in_flight") else state.in_flight,
        state.refused,
    ]


def _limit(limits: tenants_pb2.TenantLimits, name: str) -> str:
    return f"{getattr(limits, name):g}" if limits.HasField(name) else "-"


def _money(spent: float, limits: tenants_pb2.TenantLimits, name: str) -> str:
    if not limits.HasField(name):
        return "-"
    return f"{dollars(spent)} of {dollars(getattr(limits, name))}"


@tenants.command()
@click.argument("tenant_id", metavar="ID")
@admin_address_option
@json_option
def show(*, tenant_id: str, address: str, as_json: bool) -> None:
    """Shows one tenant in full; of its keys everything but what is secret."""
    with connected(address, as_json=as_json) as channel:
        tenant = _get(tenant_stub(channel), tenant_id)
    if as_json:
        print_message(tenant)
        return
    spec, policy, limits, state = tenant.spec, tenant.spec.policy, tenant.spec.limits, tenant.state
    rows: list[tuple[str, object]] = [
        ("name", spec.name or "-"),
        ("version", tenant.version),
        ("disabled", "yes" if spec.disabled else "no"),
        *((name, _limit(limits, name)) for name in LIMITS),
        ("used today", _money(state.usd_today, limits, "usd_per_day")),
        ("used this month", _money(state.usd_this_month, limits, "usd_per_month")),
        ("in flight here", state.in_flight),
        ("refused here", state.refused),
        ("models", ", ".join(policy.models) or "any"),
        ("classes", ", ".join(policy.classes) or "any"),
        ("default class", policy.default_class or "-"),
        ("privacy, at least", enum_name(common_pb2.PrivacyLevel.Name(policy.privacy), "PRIVACY_LEVEL_")),
        ("regions", ", ".join(policy.regions) or "any"),
        ("priority, at most", enum_name(inference_pb2.Priority.Name(policy.priority), "PRIORITY_")),
        ("max cost", dollars(policy.max_cost_usd) if policy.HasField("max_cost_usd") else "-"),
        *((f"key {key.id}", _key(key)) for key in tenant.keys),
    ]
    print_table(spec.id, ["field", "value"], rows)


def _key(key: tenants_pb2.ApiKey) -> str:
    parts = ["revoked" if key.revoked else "active"]
    if key.HasField("created_at"):
        parts.append(f"created {key.created_at.ToDatetime().isoformat(timespec='seconds')}Z")
    if key.HasField("expires_at"):
        parts.append(f"expires {key.expires_at.ToDatetime().isoformat(timespec='seconds')}Z")
    return ", ".join(parts)


@tenants.command()
@click.argument("tenant_id", metavar="ID")
@click.option("--name", help="For people.")
@click.option("--disable/--enable", "disabled", default=None, help="Refuse its keys, or take them again.")
@click.option("--requests-per-s", **_AMOUNT, help="A number, or 'none'. Of all replicas together.")
@click.option("--tokens-per-s", **_AMOUNT)
@click.option("--burst-s", **_AMOUNT, help="Seconds' worth of a rate that may be saved up.")
@click.option("--usd-per-day", **_AMOUNT, help="Days and months are of UTC.")
@click.option("--usd-per-month", **_AMOUNT)
@click.option("--max-in-flight", **_AMOUNT, help="On each replica.")
@click.option("--model", "models", multiple=True, help="Allowed model, alias or class of models; several times.")
@click.option("--class", "classes", multiple=True, help="Allowed workload class; several times.")
@click.option("--default-class", help="Of requests that name neither class nor objective.")
@click.option("--region", "regions", multiple=True, help="Allowed region, or the beginning of some and a '*'.")
@click.option("--privacy", type=click.Choice(_PRIVACY), help="At least so strict.")
@click.option("--priority", type=click.Choice(_PRIORITY), help="At most so urgent.")
@click.option("--max-cost-usd", **_AMOUNT, help="Of one request.")
@click.option("--replace", is_flag=True, help="Forget what it was, instead of changing what is given.")
@expected_version_option
@admin_address_option
@json_option
def put(
    *, tenant_id: str, replace: bool, expected_version: int | None, address: str, as_json: bool, **given: Any
) -> None:
    """Creates the tenant ID, or changes what is given of it; its keys stay."""
    with connected(address, as_json=as_json) as channel:
        stub = tenant_stub(channel)
        current = _find(stub, tenant_id)
        spec = tenants_pb2.TenantSpec()
        if current is not None and not replace:
            spec.CopyFrom(current.spec)
        spec.id = tenant_id
        _change(spec, given)
        version = expected_version
        if version is None:
            version = current.version if current is not None else 0
            click.echo(f"{tenant_id}: expecting its current version, {version}", err=True)
        request = tenants_pb2.PutTenantRequest(spec=spec, expected_version=version)
        response = stub.PutTenant(request, timeout=ADMIN_TIMEOUT_S)
    _done("put", response.tenant, response.fleet_version, as_json=as_json)


def _change(spec: tenants_pb2.TenantSpec, given: dict[str, Any]) -> None:
    """Sets what was given; infinity takes a limit away."""
    for name, value in given.items():
        if value is None or value == ():
            continue
        target: Any = spec.limits if name in LIMITS else spec if name in {"name", "disabled"} else spec.policy
        if value == math.inf:
            target.ClearField(name)
        elif isinstance(value, tuple):
            del getattr(target, name)[:]
            getattr(target, name).extend(value)
        elif name == "privacy":
            target.privacy = common_pb2.PrivacyLevel.Value(f"PRIVACY_LEVEL_{value.upper()}")
        elif name == "priority":
            target.priority = inference_pb2.Priority.Value(f"PRIORITY_{value.upper()}")
        elif name == "max_in_flight":
            target.max_in_flight = max(1, int(value))
        else:
            setattr(target, name, value)


@tenants.command()
@click.argument("tenant_id", metavar="ID")
@expected_version_option
@admin_address_option
@json_option
def remove(*, tenant_id: str, expected_version: int | None, address: str, as_json: bool) -> None:
    """Removes a tenant and all its keys; its requests in flight finish."""
    with connected(address, as_json=as_json) as channel:
        stub = tenant_stub(channel)
        request = tenants_pb2.RemoveTenantRequest(
            id=tenant_id, expected_version=_version(stub, tenant_id, expected_version)
        )
        response = stub.RemoveTenant(request, timeout=ADMIN_TIMEOUT_S)
    if as_json:
        print_message(response)
    else:
        click.echo(f"removed {tenant_id}; fleet version {response.fleet_version}")


@tenants.group()
def keys() -> None:
    """API keys of a tenant."""


@keys.command("create")
@click.argument("tenant_id", metavar="TENANT")
@click.option("--expires", type=click.DateTime(), help="When it ends, UTC. Default: never.")
@expected_version_option
@admin_address_option
@json_option
def create_key(
    *, tenant_id: str, expires: datetime | None, expected_version: int | None, address: str, as_json: bool
) -> None:
    """Makes a key and prints it, once: only its hash is kept."""
    with connected(address, as_json=as_json) as channel:
        stub = tenant_stub(channel)
        version = _version(stub, tenant_id, expected_version)
        request = tenants_pb2.CreateKeyRequest(tenant=tenant_id, expected_version=version)
        if expires is not None:
            request.expires_at.FromDatetime(expires.replace(tzinfo=UTC))
        response = stub.CreateKey(request, timeout=ADMIN_TIMEOUT_S)
    if as_json:
        print_json({"text": response.text, "key": as_dict(response.key), "fleet_version": str(response.fleet_version)})
    else:
        click.echo(response.text)
        click.echo(f"key {response.key.id} of {tenant_id}; fleet version {response.fleet_version}", err=True)
    click.echo("Keep it now: it is shown this once, and cannot be shown again.", err=True)


@keys.command("revoke")
@click.argument("tenant_id", metavar="TENANT")
@click.argument("key_id", metavar="KEY-ID")
@expected_version_option
@admin_address_option
@json_option
def revoke_key(*, tenant_id: str, key_id: str, expected_version: int | None, address: str, as_json: bool) -> None:
    """Revokes a key on every replica; it cannot be taken back."""
    with connected(address, as_json=as_json) as channel:
        stub = tenant_stub(channel)
        version = _version(stub, tenant_id, expected_version)
        request = tenants_pb2.RevokeKeyRequest(tenant=tenant_id, key=key_id, expected_version=version)
        response = stub.RevokeKey(request, timeout=ADMIN_TIMEOUT_S)
    _done(f"revoked key {key_id} of", response.tenant, response.fleet_version, as_json=as_json)


def _find(stub: TenantServiceStub, tenant_id: str) -> tenants_pb2.Tenant | None:
    response = stub.ListTenants(tenants_pb2.ListTenantsRequest(), timeout=ADMIN_TIMEOUT_S)
    return next((tenant for tenant in response.tenants if tenant.spec.id == tenant_id), None)


def _get(stub: TenantServiceStub, tenant_id: str) -> tenants_pb2.Tenant:
    response = stub.GetTenant(tenants_pb2.GetTenantRequest(id=tenant_id), timeout=ADMIN_TIMEOUT_S)
    tenant: tenants_pb2.Tenant = response.tenant
    return tenant


def _version(stub: TenantServiceStub, tenant_id: str, expected: int | None) -> int:
    """The version to expect: as told, or the current one, and then it says so."""
    if expected is not None:
        return expected
    current = _get(stub, tenant_id).version
    click.echo(f"{tenant_id}: expecting its current version, {current}", err=True)
    return current


def _done(what: str, tenant: tenants_pb2.Tenant, fleet_version: int, *, as_json: bool) -> None:
    if as_json:
        print_json(as_dict(tenant) | {"fleet_version": str(fleet_version)})
    else:
        click.echo(f"{what} {tenant.spec.id}, version {tenant.version}; fleet version {fleet_version}")
