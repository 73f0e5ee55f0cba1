"""Wrong input is refused in words that name its field, over every face, before any server has seen it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import grpc
import grpc.aio
import openai
import pytest
from google.rpc import error_details_pb2

from router.v1 import admin_pb2, common_pb2
from router.v1 import inference_pb2 as pb
from simulation.wires.families import SHARED_MODEL, STANDS
from tests.integration.families.place import Place, question
from tests.integration.router.calls import detail

pytestmark = pytest.mark.asyncio(loop_scope="session")
# The first stand of every wire.
OF_WIRE = {stand.wire: stand.id for stand in reversed(STANDS)}
WITHOUT_LOGPROBS = ("anthropic", "bedrock", "jetstream", "replicate", "triton")

REQUESTS: Mapping[str, Callable[[pb.GenerateRequest], object]] = {
    "sampling.temperature": lambda request: setattr(request.sampling, "temperature", 9.0),
    "messages[1].role": lambda request: request.messages.add(text="Who says this?"),
    "messages[1].tool_call_id": lambda request: request.messages.add(role=pb.ROLE_TOOL, text="7"),
    "tools[0].parameters_json": lambda request: request.tools.add(name="look_up", parameters_json="[]"),
    "response_format.json_schema.schema_json": lambda request: request.response_format.json_schema.MergeFrom(
        pb.JsonSchema(name="place", schema_json="{nope")
    ),
    "messages[0].parts[0].image.mime_type": lambda request: request.messages[0].MergeFrom(
        pb.Message(parts=[pb.ContentPart(image=pb.Image(data=b"x", mime_type="text/plain"))])
    ),
    "routing.workload_class": lambda request: setattr(request.routing, "workload_class", "leisure"),
}
BODIES: Mapping[str, dict[str, Any]] = {
    "temperature": {"temperature": 9},
    "messages.0.tool_call_id": {"messages": [{"role": "tool", "content": "7"}]},
    "tools.0.function": {"tools": [{"type": "function"}]},
    "response_format.json_schema": {"response_format": {"type": "json_schema"}},
    "messages.0.content.0.image_url.url": {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "ftp://x/cat.png"}}]}]
    },
    "router.only": {"extra_body": {"router": {"only": ["groq"]}}},
}
SPECS: Mapping[str, Callable[[admin_pb2.BackendSpec], object]] = {
    "spec.options.no_such": lambda spec: spec.options.update(no_such="1"),
    "spec.profile": lambda spec: setattr(spec, "profile", "no_such"),
    "spec.address": lambda spec: setattr(spec, "address", "gopher://127.0.0.1"),
    "spec.credential": lambda spec: setattr(spec, "credential", "sk-the-secret-itself"),
}


def fields(error: grpc.aio.AioRpcError) -> list[str]:
    """The fields that a refusal is about; its words name them, too."""
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    found = [violation.field for violation in detail(error, error_details_pb2.BadRequest).field_violations]
    assert all(field in (error.details() or "") for field in found)
    return found


async def refused_spec(
    place: Place, wire: str, spoil: Callable[[admin_pb2.BackendSpec], object]
) -> grpc.aio.AioRpcError:
    """What the administrator is told who registers a wrong backend of that wire."""
    known = await place.clients.admin.GetBackend(admin_pb2.GetBackendRequest(id=OF_WIRE[wire]))
    spec = admin_pb2.BackendSpec()
    spec.CopyFrom(known.backend.spec)
    spec.id = "wrong"
    spoil(spec)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await place.clients.admin.RegisterBackend(admin_pb2.RegisterBackendRequest(spec=spec))
    return refused.value


@pytest.mark.parametrize("field", REQUESTS)
async def test_a_wrong_request_over_grpc(place: Place, field: str) -> None:
    """The violation's field is the path of the message's field."""
    request = question("vllm")
    REQUESTS[field](request)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await place.ask(request)

    assert field in fields(refused.value)
    assert not place.servers["vllm"].seen


@pytest.mark.parametrize("field", BODIES)
async def test_a_wrong_request_over_http(place: Place, field: str) -> None:
    """The SDK's `param` is the path in the body, and the message says it as well."""
    body: dict[str, Any] = {"model": SHARED_MODEL, "messages": [{"role": "user", "content": "x"}], **BODIES[field]}

    with pytest.raises(openai.BadRequestError) as refused:
        await place.sdk.chat.completions.create(**body)

    assert refused.value.param == field
    assert field in refused.value.message
    assert not any(server.seen for server in place.servers.values())


@pytest.mark.parametrize("field", SPECS)
@pytest.mark.parametrize("wire", OF_WIRE)
async def test_a_wrong_backend(place: Place, wire: str, field: str) -> None:
    """Of every wire: an option, a profile, an address, a secret in place of its reference."""
    error = await refused_spec(place, wire, SPECS[field])

    assert fields(error) == [field]
    assert "sk-the-secret-itself" not in (error.details() or "")


@pytest.mark.parametrize("wire", WITHOUT_LOGPROBS)
async def test_a_capability_that_the_family_does_not_have(place: Place, wire: str) -> None:
    """What no adapter could ask for cannot be declared."""
    error = await refused_spec(place, wire, lambda spec: spec.capabilities.append(common_pb2.CAPABILITY_LOGPROBS))

    assert fields(error) == ["spec.capabilities"]
    assert "cannot do logprobs" in (error.details() or "")


@pytest.mark.parametrize("wire", ["triton", "jetstream"])
async def test_a_family_that_must_be_told_the_chat_template(place: Place, wire: str) -> None:
    """An option that must be there is named when it is not."""
    error = await refused_spec(place, wire, lambda spec: spec.options.clear())

    assert fields(error) == ["spec.options.chat_template"]
