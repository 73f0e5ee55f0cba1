"""`admin backends`: list, get, register, update, remove, drain and undrain."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from router.api.wire.admin import encode_backend
from router.cli.backend_file import read_backends
from router.cli.rpc import ADMIN_TIMEOUT_S, EXIT_FAILED, admin_address_option, admin_stub, connected, json_option
from router.cli.show import as_dict, enum_name, hardware, print_json, print_message, print_table, seconds
from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend, Health, LiveLoad
from router.settings.strict import ConfigError
from router.v1 import admin_pb2, common_pb2
from router.v1.admin_pb2_grpc import AdminServiceStub

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


def expected_version_option(command: F) -> F:
    return click.option(
        "--expected-version",
        type=click.IntRange(min=0),
        help="Refuse when the version differs. Default: the current one, which is read first.",
    )(command)


@click.group()
def backends() -> None:
    """The registered backends."""


@backends.command("list")
@admin_address_option
@json_option
def list_backends(*, address: str, as_json: bool) -> None:
    """Lists every backend with its live state."""
    with connected(address, as_json=as_json) as channel:
        response = admin_stub(channel).ListBackends(admin_pb2.ListBackendsRequest(), timeout=ADMIN_TIMEOUT_S)
    if as_json:
        print_message(response)
        return
    print_table(
        f"Fleet version {response.fleet_version}, {_seen(response.snapshot_age_s)}",
        ["id", "version", "health", "in flight", "hardware", "models", "region", "privacy", "wire", "address"],
        [_row(backend) for backend in response.backends],
        right="version,in flight",
    )


def _row(backend: admin_pb2.Backend) -> list[object]:
    spec, state = backend.spec, backend.state
    health = "drained" if state.drained else enum_name(common_pb2.HealthState.Name(state.health), "HEALTH_STATE_")
    reason = f": {state.health_reason}" if state.health_reason else ""
    return [
        spec.id,
        backend.version,
        f"{health}{reason}",
        f"{state.in_flight}/{spec.max_concurrency}",
        hardware(spec.hardware),
        ", ".join(served.model for served in spec.models),
        spec.region or "-",
        enum_name(common_pb2.PrivacyLevel.Name(spec.privacy), "PRIVACY_LEVEL_"),
        f"{spec.wire}/{spec.profile}",
        spec.address,
    ]


@backends.command("get")
@click.argument("backend_id", metavar="ID")
@admin_address_option
@json_option
def get_backend(*, backend_id: str, address: str, as_json: bool) -> None:
    """Shows one backend in full."""
    with connected(address, as_json=as_json) as channel:
        backend = _get(admin_stub(channel), backend_id)
    if as_json:
        print_message(backend)
        return
    spec, state = backend.spec, backend.state
    rows: list[tuple[str, object]] = [
        ("version", backend.version),
        ("health", _row(backend)[2]),
        ("in flight here", f"{state.in_flight} of {spec.max_concurrency}"),
        ("running / waiting", f"{_known(state, 'running')} / {_known(state, 'waiting')}"),
        ("KV cache", f"{state.kv_cache_usage:.0%}" if state.HasField("kv_cache_usage") else "unknown"),
        ("left of limits", _left(state)),
        ("wire, profile", f"{spec.wire}, {spec.profile}"),
        ("address", spec.address),
        ("hardware", hardware(spec.hardware)),
        ("models", ", ".join(_served(served) for served in spec.models)),
        ("region", spec.region or "-"),
        ("privacy", enum_name(common_pb2.PrivacyLevel.Name(spec.privacy), "PRIVACY_LEVEL_")),
        ("capabilities", ", ".join(enum_name(common_pb2.Capability.Name(c), "CAPABILITY_") for c in spec.capabilities)),
        ("credential", spec.credential or "-"),
        ("network", seconds(spec.network_rtt_s)),
        ("options", _pairs(spec.options)),
        ("labels", _pairs(spec.labels)),
    ]
    print_table(spec.id, ["field", "value"], rows)


def _left(state: admin_pb2.BackendState) -> str:
    """`12 requests, 3400 tokens`, as the vendor says."""
    names = {"requests": "requests_left", "tokens": "tokens_left"}
    told = [f"{getattr(state, n).remaining:.0f} {what}" for what, n in names.items() if state.HasField(n)]
    return ", ".join(told) or "unknown"


def _pairs(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(values.items())) or "-"


def _known(state: admin_pb2.BackendState, name: str) -> str:
    return str(getattr(state, name)) if state.HasField(name) else "unknown"


def _served(served: admin_pb2.ServedModel) -> str:
    return f"{served.model} (as {served.upstream_name})" if served.upstream_name else served.model


@backends.command()
@FILE
@admin_address_option
@json_option
def register(*, file: Path, address: str, as_json: bool) -> None:
    """Registers the backends of a YAML FILE: one with its id, or a 'backends:' section as in fleet.yaml."""
    specs = _read(file, as_json=as_json)
    with connected(address, as_json=as_json) as channel:
        stub = admin_stub(channel)
        for backend in specs:
            request = admin_pb2.RegisterBackendRequest(spec=_spec(backend), expected_version=0)
            response = stub.RegisterBackend(request, timeout=ADMIN_TIMEOUT_S)
            _done("registered", response.backend, response.fleet_version, as_json=as_json)


@backends.command()
@FILE
@expected_version_option
@admin_address_option
@json_option
def update(*, file: Path, expected_version: int | None, address: str, as_json: bool) -> None:
    """Replaces registered backends by those of a YAML FILE."""
    specs = _read(file, as_json=as_json)
    if expected_version is not None and len(specs) > 1:
        raise click.UsageError("--expected-version is of one backend, and the file has several")
    with connected(address, as_json=as_json) as channel:
        stub = admin_stub(channel)
        for backend in specs:
            version = _version(stub, backend.id, expected_version)
            request = admin_pb2.UpdateBackendRequest(spec=_spec(backend), expected_version=version)
            response = stub.UpdateBackend(request, timeout=ADMIN_TIMEOUT_S)
            _done("updated", response.backend, response.fleet_version, as_json=as_json)


@backends.command()
@click.argument("backend_id", metavar="ID")
@expected_version_option
@admin_address_option
@json_option
def remove(*, backend_id: str, expected_version: int | None, address: str, as_json: bool) -> None:
    """Removes a backend; its requests in flight finish."""
    with connected(address, as_json=as_json) as channel:
        stub = admin_stub(channel)
        request = admin_pb2.RemoveBackendRequest(
            id=backend_id, expected_version=_version(stub, backend_id, expected_version)
        )
        response = stub.RemoveBackend(request, timeout=ADMIN_TIMEOUT_S)
    if as_json:
        print_message(response)
    else:
        click.echo(f"removed {backend_id}; fleet version {response.fleet_version}")


@backends.command()
@click.argument("backend_id", metavar="ID")
@expected_version_option
@admin_address_option
@json_option
def drain(*, backend_id: str, expected_version: int | None, address: str, as_json: bool) -> None:
    """Gives a backend no new requests; those in flight finish."""
    with connected(address, as_json=as_json) as channel:
        stub = admin_stub(channel)
        request = admin_pb2.DrainBackendRequest(
            id=backend_id, expected_version=_version(stub, backend_id, expected_version)
        )
        response = stub.DrainBackend(request, timeout=ADMIN_TIMEOUT_S)
    _done("draining", response.backend, response.fleet_version, as_json=as_json)


@backends.command()
@click.argument("backend_id", metavar="ID")
@expected_version_option
@admin_address_option
@json_option
def undrain(*, backend_id: str, expected_version: int | None, address: str, as_json: bool) -> None:
    """Lets a drained backend take requests again."""
    with connected(address, as_json=as_json) as channel:
        stub = admin_stub(channel)
        request = admin_pb2.UndrainBackendRequest(
            id=backend_id, expected_version=_version(stub, backend_id, expected_version)
        )
        response = stub.UndrainBackend(request, timeout=ADMIN_TIMEOUT_S)
    _done("undrained", response.backend, response.fleet_version, as_json=as_json)


def _spec(backend: Backend) -> admin_pb2.BackendSpec:
    return encode_backend(backend, Health(), LiveLoad(), Catalogue()).spec


def _read(file: Path, *, as_json: bool) -> list[Backend]:
    try:
        return read_backends(file, os.environ)
    except ConfigError as error:
        show_config_error(error, as_json=as_json)
        raise SystemExit(EXIT_FAILED) from None


def show_config_error(error: ConfigError, *, as_json: bool) -> None:
    """Every problem on a line of stderr."""
    if as_json:
        problems = [{"file": p.file, "path": p.path, "message": p.message, "line": p.line} for p in error.problems]
        print_json({"ok": False, "problems": problems})
        return
    for problem in error.problems:
        click.echo(str(problem), err=True)


def _get(stub: AdminServiceStub, backend_id: str) -> admin_pb2.Backend:
    response = stub.GetBackend(admin_pb2.GetBackendRequest(id=backend_id), timeout=ADMIN_TIMEOUT_S)
    backend: admin_pb2.Backend = response.backend
    return backend


def _version(stub: AdminServiceStub, backend_id: str, expected: int | None) -> int:
    """The version to expect: as told, or the current one, and then it says so."""
    if expected is not None:
        return expected
    current = _get(stub, backend_id).version
    click.echo(f"{backend_id}: expecting its current version, {current}", err=True)
    return current


def _done(what: str, backend: admin_pb2.Backend, fleet_version: int, *, as_json: bool) -> None:
    if as_json:
        print_json(as_dict(backend) | {"fleet_version": str(fleet_version)})
    else:
        click.echo(f"{what} {backend.spec.id}, version {backend.version}; fleet version {fleet_version}")


def _seen(age_s: float) -> str:
    return f"seen {age_s:.2f} s ago" if math.isfinite(age_s) else "never seen: the state store has not answered yet"
