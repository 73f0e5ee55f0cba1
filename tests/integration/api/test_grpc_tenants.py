"""API keys in gRPC metadata: every method of the inference port takes its tenant from there and nowhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from router.api.authenticate import Authenticator
from router.api.grpc_server import GrpcServers
from router.api.inference_service import InferenceService
from router.clock import FakeClock, SystemClock
from router.dispatch.scripted import ScriptedDirector, finished, routed
from router.domain import api_key
from router.domain.tenant import ApiKey, Tenant
from router.v1 import inference_pb2 as pb
from router.v1 import inference_pb2_grpc

KEY_ID, TEXT = api_key.new_key()
_, STRANGE = api_key.new_key()
REQUEST = pb.GenerateRequest(model="m", messages=[pb.Message(role=pb.ROLE_USER, text="hi")])


@pytest.fixture
def scripted() -> ScriptedDirector:
    return ScriptedDirector(script=(routed(), finished()))


@pytest.fixture
async def authenticated(scripted: ScriptedDirector) -> AsyncIterator[Any]:
    tenants = {"team-a": Tenant(id="team-a", keys=(ApiKey(id=KEY_ID, sha256=api_key.digest(TEXT)),))}
    auth = Authenticator(lambda: tenants, clock=FakeClock())
    servers = GrpcServers(
        inference=InferenceService(scripted, SystemClock(), auth),
        admin=(),
        ready=lambda: True,
        grpc_port=0,
        admin_port=0,
    )
    await servers.start()
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{servers.grpc_port}", options=options) as channel:
        yield inference_pb2_grpc.InferenceServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
    await servers.stop(0.0)


@pytest.mark.parametrize("metadata", [(("authorization", f"Bearer {TEXT}"),), (("x-api-key", TEXT),)])
async def test_a_key_in_metadata_is_its_tenant(
    authenticated: Any, scripted: ScriptedDirector, metadata: tuple[tuple[str, str], ...]
) -> None:
    """Generate is served as the tenant of the key, in either form."""
    assert [message async for message in authenticated.Generate(REQUEST, metadata=metadata)]

    assert scripted.served[0][1].tenant == "team-a"


async def test_without_a_key_it_is_the_default_tenant(authenticated: Any, scripted: ScriptedDirector) -> None:
    """No metadata, or another service's key, is the tenant "default"."""
    for metadata in ((), (("authorization", "Bearer sk-dummy"),)):
        assert [message async for message in authenticated.Generate(REQUEST, metadata=metadata)]

    assert [profile.tenant for _, profile in scripted.served] == ["default", "default"]


async def test_every_method_refuses_an_unknown_key(authenticated: Any, scripted: ScriptedDirector) -> None:
    """UNAUTHENTICATED from Generate, Pick, Report, Explain and ListModels alike, without a character of the key."""
    metadata = (("authorization", f"Bearer {STRANGE}"),)
    shape = pb.RequestShape(model="m", input_tokens=1)
    calls = (
        authenticated.Generate(REQUEST, metadata=metadata).read(),
        authenticated.Pick(pb.PickRequest(shape=shape), metadata=metadata),
        authenticated.Report(pb.ReportRequest(pick_id="p", result="OK"), metadata=metadata),
        authenticated.Explain(pb.ExplainRequest(shape=shape), metadata=metadata),
        authenticated.ListModels(pb.ListModelsRequest(), metadata=metadata),
    )
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert STRANGE not in str(caught.value)

    assert not scripted.served
    assert not scripted.reports
