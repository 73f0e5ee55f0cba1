"""`admin tenants` over a real gRPC connection: what is sent, which version it expects, what is shown."""

# ruff: noqa: N802 - gRPC names its methods
from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result

from router.api.rescue import rescue, to_grpc_status
from router.cli.admin_tenants import tenants
from router.errors import NotFound
from router.v1 import common_pb2, inference_pb2, tenants_pb2
from router.v1.tenants_pb2_grpc import TenantServiceServicer, add_TenantServiceServicer_to_server

TEXT = "irk_ab12cd34_" + "x" * 43
Run = Callable[..., Result]


class Tenants(TenantServiceServicer):
    """One tenant at version 4, and what was asked."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.tenant = tenants_pb2.Tenant(
            spec=tenants_pb2.TenantSpec(
                id="team-a",
                name="Team [A]",
                limits=tenants_pb2.TenantLimits(requests_per_s=50.0, usd_per_day=20.0),
                policy=tenants_pb2.TenantPolicy(
                    models=["fast"],
                    privacy=common_pb2.PRIVACY_LEVEL_NO_TRAINING,
                    priority=inference_pb2.PRIORITY_NORMAL,
                ),
            ),
            keys=[tenants_pb2.ApiKey(id="ab12cd34"), tenants_pb2.ApiKey(id="old", revoked=True)],
            version=4,
            state=tenants_pb2.TenantState(usd_today=1.25, in_flight=3, refused=9),
        )

    def ListTenants(self, _request: Any, _context: grpc.ServicerContext) -> tenants_pb2.ListTenantsResponse:
        return tenants_pb2.ListTenantsResponse(tenants=[self.tenant], fleet_version=30)

    def GetTenant(
        self, request: tenants_pb2.GetTenantRequest, context: grpc.ServicerContext
    ) -> tenants_pb2.GetTenantResponse:
        if request.id != "team-a":
            error = NotFound(f"tenant '{request.id}' does not exist")
            status = to_grpc_status(error, "req-1")
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            context.abort(rescue(error).grpc, status.message)
        return tenants_pb2.GetTenantResponse(tenant=self.tenant)

    def PutTenant(
        self, request: tenants_pb2.PutTenantRequest, _context: grpc.ServicerContext
    ) -> tenants_pb2.PutTenantResponse:
        self.requests.append(request)
        tenant = tenants_pb2.Tenant(spec=request.spec, version=request.expected_version + 1)
        return tenants_pb2.PutTenantResponse(tenant=tenant, fleet_version=31)

    def RemoveTenant(self, request: Any, _context: grpc.ServicerContext) -> tenants_pb2.RemoveTenantResponse:
        self.requests.append(request)
        return tenants_pb2.RemoveTenantResponse(fleet_version=31)

    def CreateKey(self, request: Any, _context: grpc.ServicerContext) -> tenants_pb2.CreateKeyResponse:
        self.requests.append(request)
        key = tenants_pb2.ApiKey(id="ab12cd34")
        return tenants_pb2.CreateKeyResponse(tenant=self.tenant, key=key, text=TEXT, fleet_version=31)

    def RevokeKey(self, request: Any, _context: grpc.ServicerContext) -> tenants_pb2.RevokeKeyResponse:
        self.requests.append(request)
        return tenants_pb2.RevokeKeyResponse(tenant=self.tenant, fleet_version=31)


@pytest.fixture
def service() -> Tenants:
    return Tenants()


@pytest.fixture
def run(service: Tenants) -> Iterator[Run]:
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    add_TenantServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]  # generated
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield lambda *words: CliRunner().invoke(tenants, [*words, "--address", f"127.0.0.1:{port}"])
    server.stop(None).wait()


def test_list_shows_limits_and_their_use(run: Run) -> None:
    """One row per tenant, with the money spent of its budget; as JSON whole numbers are text, as protobuf has them."""
    words = run("list").stdout
    listed = json.loads(run("list", "--json").stdout)

    for expected in ("team-a", "Team [A]", "50", "$1.25 of $20.00", "9"):
        assert expected in words
    assert listed["tenants"][0]["state"]["refused"] == "9"


def test_show_names_every_part(run: Run) -> None:
    """Limits that there are not are "-", keys are named with their state."""
    words = run("show", "team-a").stdout

    for expected in ("no_training", "normal", "fast", "key ab12cd34", "active", "revoked", "tokens_per_s"):
        assert expected in words


def test_a_missing_tenant_is_an_error_with_a_hint(run: Run) -> None:
    """NOT_FOUND names what was asked for."""
    result = run("show", "nope")

    assert result.exit_code == 1
    assert result.stderr.startswith("error: NOT_FOUND: tenant 'nope' does not exist")


def test_put_creates_with_version_0(run: Run, service: Tenants) -> None:
    """A new tenant has what is given, and nothing of what exists is expected."""
    result = run("put", "new", "--requests-per-s", "5", "--model", "fast", "--model", "m", "--privacy", "on_device")
    (request,) = service.requests

    assert "put new, version 1; fleet version 31" in result.stdout
    assert request.expected_version == 0
    assert request.spec == tenants_pb2.TenantSpec(
        id="new",
        limits=tenants_pb2.TenantLimits(requests_per_s=5.0),
        policy=tenants_pb2.TenantPolicy(models=["fast", "m"], privacy=common_pb2.PRIVACY_LEVEL_ON_DEVICE),
    )


def test_put_changes_only_what_is_given(run: Run, service: Tenants) -> None:
    """What is not named stays, "none" takes a limit away, and the current version is expected and said."""
    result = run(
        "put", "team-a", "--usd-per-day", "none", "--max-in-flight", "8", "--disable", "--priority", "critical"
    )
    (request,) = service.requests
    expected = tenants_pb2.TenantSpec()
    expected.CopyFrom(service.tenant.spec)
    expected.limits.ClearField("usd_per_day")
    expected.limits.max_in_flight = 8
    expected.disabled = True
    expected.policy.priority = inference_pb2.PRIORITY_CRITICAL

    assert (request.spec, request.expected_version) == (expected, 4)
    assert "expecting its current version, 4" in result.stderr
    run("put", "team-a", "--replace", "--name", "A")
    assert service.requests[1].spec == tenants_pb2.TenantSpec(id="team-a", name="A")


@pytest.mark.parametrize("amount", ["0", "-1", "nan", "inf", "many"])
def test_a_limit_is_a_number_above_0_or_none(run: Run, service: Tenants, amount: str) -> None:
    """Anything else is wrong usage, and nothing is sent."""
    result = run("put", "team-a", "--requests-per-s", amount)

    assert result.exit_code == 2
    assert not service.requests


def test_remove_names_the_version(run: Run, service: Tenants) -> None:
    """The version that was read is expected, or the one that is given."""
    assert run("remove", "team-a").stdout == "removed team-a; fleet version 31\n"
    run("remove", "team-a", "--expected-version", "2")

    assert [request.expected_version for request in service.requests] == [4, 2]


def test_a_key_is_shown_once_with_a_warning(run: Run, service: Tenants) -> None:
    """Its text is all that is on stdout, so that it can be piped; the warning is on stderr."""
    result = run("keys", "create", "team-a", "--expires", "2030-01-02")
    (request,) = service.requests

    assert result.stdout == f"{TEXT}\n"
    assert "shown this once" in result.stderr
    assert (request.tenant, request.expected_version, request.expires_at.seconds) == ("team-a", 4, 1_893_542_400)
    as_json = run("keys", "create", "team-a", "--json")
    assert json.loads(as_json.stdout)["text"] == TEXT
    assert not service.requests[1].HasField("expires_at")


def test_a_key_is_revoked_by_its_id(run: Run, service: Tenants) -> None:
    """The tenant and the key are named, with the version that was read."""
    result = run("keys", "revoke", "team-a", "ab12cd34")
    (request,) = service.requests

    assert "revoked key ab12cd34 of team-a" in result.stdout
    assert (request.tenant, request.key, request.expected_version) == ("team-a", "ab12cd34", 4)
