"""What a caller gets wrong is named, on both faces, and the router's log stays free of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2

from router.v1 import common_pb2
from router.v1 import inference_pb2 as pb
from tests.integration.router.calls import Clients, ask, chat, detail, generate, post
from tests.integration.router.site import MODEL, Running, assert_clean

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("emulators")]
USER = pb.Message(role=pb.ROLE_USER, text="hi")

BAD_GRPC: list[tuple[str, Callable[[], pb.GenerateRequest]]] = [
    ("model", lambda: pb.GenerateRequest(messages=[USER])),
    ("messages", lambda: pb.GenerateRequest(model=MODEL)),
    ("sampling.temperature", lambda: pb.GenerateRequest(
        model=MODEL, messages=[USER], sampling=pb.Sampling(temperature=99))),
    ("routing.max_attempts", lambda: ask(max_attempts=6)),
    ("routing.slo.ttft_s", lambda: ask(slo=common_pb2.Slo(ttft_s=-1))),
    ("routing.workload_class", lambda: ask(workload_class="realtme")),
    ("routing.needs.capabilities[0]", lambda: ask(needs=pb.Needs(capabilities=[common_pb2.CAPABILITY_UNSPECIFIED]))),
    ("tools[0].parameters_json", lambda: pb.GenerateRequest(
        model=MODEL, messages=[USER], tools=[pb.Tool(name="t", parameters_json="{")])),
]  # fmt: skip
BAD_HTTP: list[tuple[str, dict[str, Any]]] = [
    ("model", {"messages": [{"role": "user", "content": "hi"}]}),
    ("messages", {"model": MODEL}),
    ("messages.0.role", {"model": MODEL, "messages": [{"role": "usr", "content": "hi"}]}),
    ("temperature", chat(temperature=99)),
    ("warmth", chat(warmth=1)),
    ("router.privacy", chat(router={"privacy": "on_devise"})),
    ("router.max_attempts", chat(router={"max_attempts": 6})),
    ("router.workload_class", chat(router={"workload_class": "realtme"})),
]


@pytest.mark.parametrize(("field", "request_of"), BAD_GRPC, ids=[field for field, _ in BAD_GRPC])
async def test_grpc_names_the_field(
    field: str, request_of: Callable[[], pb.GenerateRequest], clients: Clients, router: Running
) -> None:
    """INVALID_ARGUMENT with a field violation that has the field's path, and nothing of it in the log."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await generate(clients, request_of())

    fields = [v.field for v in detail(caught.value, error_details_pb2.BadRequest).field_violations]
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert fields == [field]
    assert_clean(router.output(), "router")


@pytest.mark.parametrize(("field", "body"), BAD_HTTP, ids=[field for field, _ in BAD_HTTP])
@pytest.mark.parametrize("stream", [False, True])
async def test_http_names_the_field(
    *, field: str, body: dict[str, Any], stream: bool, clients: Clients, router: Running
) -> None:
    """400 with `param`, also where a stream was asked for."""
    response = await post(clients, body | {"stream": stream})

    error = response.json()["error"]
    assert (response.status_code, error["type"], error["param"]) == (400, "invalid_request_error", field), error
    assert_clean(router.output(), "router")


async def test_an_unknown_model_is_not_found(clients: Clients, router: Running) -> None:
    """NOT_FOUND and 404 with a hint where to read the names; a model that nobody serves says that it is not served."""
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await generate(clients, pb.GenerateRequest(model="gpt-17", messages=[USER]))
    with pytest.raises(grpc.aio.AioRpcError) as unserved:
        await generate(clients, pb.GenerateRequest(model="mixtral-8x7b", messages=[USER]))
    over_http = await post(clients, chat() | {"model": "gpt-17"})

    hint = detail(unknown.value, error_details_pb2.Help).links[0].description
    assert unknown.value.code() == grpc.StatusCode.NOT_FOUND
    assert detail(unknown.value, error_details_pb2.ErrorInfo).reason == "UNKNOWN_MODEL"
    assert "ListModels" in hint
    assert detail(unserved.value, error_details_pb2.ErrorInfo).reason == "NO_ENDPOINT"
    error = over_http.json()["error"]
    assert (over_http.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert error["router"]["hint"] == hint
    assert_clean(router.output(), "router")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model": "\xff"}', b"null"])
async def test_what_is_no_json_object_is_refused(body: bytes, clients: Clients, router: Running) -> None:
    """400 with an error of the usual shape."""
    headers = {"content-type": "application/json"}
    response = await clients.http.post("/v1/chat/completions", content=body, headers=headers)

    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert_clean(router.output(), "router")


async def test_too_large_a_message_is_refused(clients: Clients, router: Running) -> None:
    """Over max_message_bytes: RESOURCE_EXHAUSTED over gRPC and 413 over HTTP; the next request is served."""
    huge = "x" * (8 * 1024 * 1024 + 1)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await generate(clients, ask(huge))
    over_http = await post(clients, chat(huge))
    answer = await generate(clients, ask())

    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (over_http.status_code, over_http.json()["error"]["code"]) == (413, "body_too_large")
    assert answer.backend == "fast"
    assert_clean(router.output(), "router")
