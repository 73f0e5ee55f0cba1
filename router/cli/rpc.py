"""Calls to a router, and its errors as a person reads them: reason, message, hint and fields, never a traceback.

The details are `google.rpc` messages in the trailing metadata, as `router.api.rescue` writes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import click
import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from router.cli.who import named
from router.v1.admin_pb2_grpc import AdminServiceStub
from router.v1.config_pb2_grpc import ConfigServiceStub
from router.v1.fleet_pb2_grpc import FleetServiceStub
from router.v1.inference_pb2_grpc import InferenceServiceStub
from router.v1.tenants_pb2_grpc import TenantServiceStub
from router.v1.usage_pb2_grpc import UsageServiceStub

EXIT_FAILED = 1
EXIT_UNREACHABLE = 3
EXIT_INTERRUPTED = 130
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
ADMIN_TIMEOUT_S = 10.0

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error status in plain values."""

    status: str
    reason: str
    message: str
    hint: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    retry_after_s: float | None = None
    request_id: str = ""
    unreachable: bool = False


def failure(error: grpc.RpcError, address: str) -> Failure:
    """What an error of a call says. Without the router's own details the call never reached one."""
    # A failed call raises itself: it is an RpcError and a Call, which the types of grpc cannot say.
    call: Any = error
    code: grpc.StatusCode = call.code()
    message = str(call.details() or code.name)
    reason, hint, request_id = code.name, "", ""
    fields: tuple[tuple[str, str], ...] = ()
    metadata: dict[str, str] = {}
    retry_after_s = None
    ours = False
    status: Any = rpc_status.from_call(call)
    for packed in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        bad = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        help_ = error_details_pb2.Help()
        request = error_details_pb2.RequestInfo()
        if packed.Unpack(info):
            reason, metadata, ours = info.reason, dict(info.metadata), True
        elif packed.Unpack(bad):
            fields = tuple((v.field, v.description) for v in bad.field_violations)
        elif packed.Unpack(retry):
            retry_after_s = retry.retry_delay.ToTimedelta().total_seconds()
        elif packed.Unpack(help_):
            hint = " ".join(link.description for link in help_.links)
        elif packed.Unpack(request):
            request_id = request.request_id
    if code is grpc.StatusCode.UNAVAILABLE and not ours:
        return Failure(
            status=code.name,
            reason="UNREACHABLE",
            message=f"no router answers at {address}",
            hint="Start one with 'inference-router serve --config config/', or name another with --address.",
            unreachable=True,
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and not ours:
        message, hint = f"no answer from {address} in time", "Allow more with --timeout."
    if code is grpc.StatusCode.UNIMPLEMENTED and not ours:
        hint = f"Is {address} the right port? Generation and administration have one each."
    return Failure(
        status=code.name,
        reason=reason,
        message=message,
        hint=hint,
        fields=fields,
        metadata=metadata,
        retry_after_s=retry_after_s,
        request_id=request_id,
    )


def show_failure(problem: Failure, *, as_json: bool) -> None:
    """Writes it to stderr; as JSON one object, {"error": {...}}."""
    if as_json:
        click.echo(json.dumps({"error": asdict(problem) | {"fields": dict(problem.fields)}}), err=True)
        return
    click.echo(f"error: {problem.reason}: {problem.message}", err=True)
    for name, what in problem.fields:
        if f"{name}: {what}" not in problem.message:
            click.echo(f"  {name}: {what}", err=True)
    for key, value in problem.metadata.items():
        click.echo(f"  {key}: {value}", err=True)
    if problem.retry_after_s is not None:
        click.echo(f"  retry after: {problem.retry_after_s:g} s", err=True)
    if problem.hint:
        click.echo(f"  hint: {problem.hint}", err=True)


@contextmanager
def connected(address: str, *, as_json: bool) -> Iterator[grpc.Channel]:
    """A channel to the router; whatever goes wrong inside is shown, and ends the program with its exit code."""
    options = [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        # Whoever follows a router that was away sees it soon after it is back; the default is two minutes.
        ("grpc.initial_reconnect_backoff_ms", 500),
        ("grpc.max_reconnect_backoff_ms", 2_000),
    ]
    try:
        with grpc.insecure_channel(address, options=options) as channel:
            yield channel
    except grpc.RpcError as error:
        problem = failure(error, address)
        show_failure(problem, as_json=as_json)
        raise SystemExit(EXIT_UNREACHABLE if problem.unreachable else EXIT_FAILED) from None
    except KeyboardInterrupt:
        raise SystemExit(EXIT_INTERRUPTED) from None


def inference_stub(channel: grpc.Channel) -> InferenceServiceStub:
    return InferenceServiceStub(channel)  # type: ignore[no-untyped-call]  # generated


def admin_stub(channel: grpc.Channel) -> AdminServiceStub:
    return AdminServiceStub(named(channel))  # type: ignore[no-untyped-call]  # generated


def config_stub(channel: grpc.Channel) -> ConfigServiceStub:
    return ConfigServiceStub(named(channel))  # type: ignore[no-untyped-call]  # generated


def tenant_stub(channel: grpc.Channel) -> TenantServiceStub:
    return TenantServiceStub(named(channel))  # type: ignore[no-untyped-call]  # generated


def usage_stub(channel: grpc.Channel) -> UsageServiceStub:
    return UsageServiceStub(channel)  # type: ignore[no-untyped-call]  # generated


def fleet_stub(channel: grpc.Channel) -> FleetServiceStub:
    return FleetServiceStub(channel)  # type: ignore[no-untyped-call]  # generated


def address_option(command: F) -> F:
    return click.option(
        "--address",
        envvar="INFERENCE_ROUTER_ADDRESS",
        default="127.0.0.1:50051",
        show_default=True,
        show_envvar=True,
        help="HOST:PORT of the router's InferenceService.",
    )(command)


def admin_address_option(command: F) -> F:
    return click.option(
        "--address",
        envvar="INFERENCE_ROUTER_ADMIN_ADDRESS",
        default="127.0.0.1:50052",
        show_default=True,
        show_envvar=True,
        help="HOST:PORT of the router's AdminService.",
    )(command)


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(command)
