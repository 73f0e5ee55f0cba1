"""Calls of the inference service over a real connection: answers, request ids, deadlines, errors with details."""

from __future__ import annotations

import logging
import time
from typing import TypeVar

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from backends.contract import Chunk, FinishReason, Usage
from router import errors
from router.v1 import inference_pb2 as pb
from router.v1.inference_pb2_grpc import InferenceServiceStub
from tests.integration.api.conftest import CHUNK, REQUEST, ToldDirector, finished, routed

Detail = TypeVar("Detail", bound=Message)
SHAPE = pb.RequestShape(model="m", input_tokens=10)


def detail(error: grpc.aio.AioRpcError, kind: type[Detail]) -> Detail | None:
    """A detail as a client's library decodes it."""
    status = rpc_status.from_call(error)
    assert status is not None
    for packed in status.details:
        message = kind()
        if packed.Unpack(message):
            return message
    return None


async def test_an_answer_is_routed_then_deltas_then_finished(
    stub: InferenceServiceStub, director: ToldDirector
) -> None:
    """The messages of a call come in the promised order, one per upstream read, and none for a read without content."""
    director.events = (routed(), CHUNK, Chunk(usage=Usage(input=1)), CHUNK, finished())

    kinds = [field.name async for message in stub.Generate(REQUEST) for field, _ in message.ListFields()]

    assert kinds == ["routed", "delta", "delta", "finished"]


async def test_the_end_travels_with_the_last_tokens(stub: InferenceServiceStub, director: ToldDirector) -> None:
    """A chunk that says why the answer ended waits for `finished`, which follows at once, and shares its message."""
    director.events = (routed(), Chunk(text="all", events=1, finish_reason=FinishReason.STOP), finished())

    messages = [message async for message in stub.Generate(REQUEST)]

    assert len(messages) == 2
    assert messages[1].delta.text.text == "all"
    assert messages[1].HasField("finished")


async def test_the_caller_s_request_id_is_used_and_echoed(stub: InferenceServiceStub, director: ToldDirector) -> None:
    """x-request-id names the request inside and comes back in trailing metadata."""
    director.events = (finished(),)

    call = stub.Generate(REQUEST, metadata=(("x-request-id", "my-request"),))
    await call.read()
    metadata = await call.trailing_metadata()

    assert metadata["x-request-id"] == "my-request"
    assert director.requests[0][1].request_id == "my-request"


@pytest.mark.parametrize("given", [(), (("x-request-id", "r" * 129),), (("x-request-id", ""),)])
async def test_a_missing_or_unusable_request_id_is_made(
    stub: InferenceServiceStub, director: ToldDirector, given: tuple[tuple[str, str], ...]
) -> None:
    """Every request has an id of 32 hexadecimal digits where the caller gives none that can be used."""
    director.events = (finished(),)

    call = stub.Generate(REQUEST, metadata=given)
    await call.read()
    metadata = await call.trailing_metadata()

    assert metadata["x-request-id"] == director.requests[0][1].request_id
    assert len(bytes.fromhex(director.requests[0][1].request_id)) == 16


async def test_the_deadline_reaches_the_director(stub: InferenceServiceStub, director: ToldDirector) -> None:
    """A call's timeout arrives as an absolute deadline on the router's clock; without one there is none."""
    director.events = (finished(),)

    before = time.monotonic()
    await stub.Generate(REQUEST, timeout=30).read()
    await stub.Generate(REQUEST).read()

    deadline = director.requests[0][1].deadline_s
    assert deadline is not None
    assert before + 29 < deadline < time.monotonic() + 30.1
    assert director.requests[1][1].deadline_s is None


async def test_a_bad_request_names_its_fields(stub: InferenceServiceStub, director: ToldDirector) -> None:
    """INVALID_ARGUMENT carries every field violation, and the director never hears of the request."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Generate(pb.GenerateRequest(prompt="p", sampling=pb.Sampling(temperature=9))).read()

    bad = detail(caught.value, error_details_pb2.BadRequest)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert bad is not None
    assert [v.field for v in bad.field_violations] == ["model", "sampling.temperature"]
    assert director.requests == []


async def test_an_error_says_reason_wait_and_request(stub: InferenceServiceStub, director: ToldDirector) -> None:
    """A client reads reason, retry delay and request id from the details of the status."""
    director.error = errors.Shed("queue is full", retry_after_s=2.5)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Generate(REQUEST, metadata=(("x-request-id", "r7"),)).read()

    info = detail(caught.value, error_details_pb2.ErrorInfo)
    retry = detail(caught.value, error_details_pb2.RetryInfo)
    request = detail(caught.value, error_details_pb2.RequestInfo)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert info is not None
    assert (info.domain, info.reason) == ("router.v1", "SHED")
    assert retry is not None
    assert retry.retry_delay.ToMilliseconds() == 2_500
    assert request is not None
    assert request.request_id == "r7"


async def test_an_error_may_come_after_tokens(stub: InferenceServiceStub, director: ToldDirector) -> None:
    """What was sent before a stream broke arrives, and then the status."""
    director.events = (routed(), CHUNK)
    director.error = errors.StreamBroken("backend a went away")
    call = stub.Generate(REQUEST)

    assert (await call.read()).HasField("routed")
    assert (await call.read()).HasField("delta")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    info = detail(caught.value, error_details_pb2.ErrorInfo)
    assert info is not None
    assert info.reason == "STREAM_BROKEN"


async def test_an_unforeseen_exception_is_logged_and_hidden(
    stub: InferenceServiceStub, director: ToldDirector, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of ours is INTERNAL with the request id; its traceback is in the log and nowhere else."""
    director.error = ValueError("inner secret")

    with caplog.at_level(logging.ERROR), pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Generate(REQUEST, metadata=(("x-request-id", "r8"),)).read()

    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert "secret" not in str(rpc_status.from_call(caught.value))
    assert [r.name for r in caplog.records] == ["router.api.rescue"]
    assert "r8" in caplog.text
    assert "inner secret" in caplog.text


async def test_pick_and_report(stub: InferenceServiceStub, director: ToldDirector) -> None:
    """A pick names an endpoint; its report reaches the director."""
    picked = await stub.Pick(pb.PickRequest(shape=SHAPE))
    await stub.Report(pb.ReportRequest(pick_id=picked.pick_id, result="OK"))

    assert picked.endpoint.address == "http://a"
    assert director.reports == [("p1", "OK")]


async def test_explain_answers_why_and_why_not(stub: InferenceServiceStub) -> None:
    """Explain returns the whole decision, and why another backend is not it where that is asked."""
    plain = await stub.Explain(pb.ExplainRequest(shape=SHAPE))
    asked = await stub.Explain(pb.ExplainRequest(request=REQUEST, why_not_backend="b"))

    assert [c.backend for c in plain.decision.candidates] == ["a"]
    assert plain.why_not == ""
    assert asked.why_not == "b is slower than a for m"
    assert [(c.kind, c.what, c.HasField("share")) for c in asked.why_not_first] == [("constraint", "undrained", False)]
    assert [(c.kind, c.possible, c.share, c.value) for c in asked.why_not_changes] == [("price", True, 0.6, 1.2)]


async def test_list_models(stub: InferenceServiceStub) -> None:
    """What can be asked for is listed."""
    assert [m.id for m in (await stub.ListModels(pb.ListModelsRequest())).models] == ["m"]


@pytest.mark.parametrize("method", ["Pick", "Report", "Explain", "ListModels"])
async def test_unary_methods_fail_with_details_as_well(
    stub: InferenceServiceStub, director: ToldDirector, method: str
) -> None:
    """Every method maps errors by the same table."""
    director.error = errors.ShuttingDown("draining")
    calls = {
        "Pick": lambda: stub.Pick(pb.PickRequest(shape=SHAPE)),
        "Report": lambda: stub.Report(pb.ReportRequest(pick_id="p", result="OK")),
        "Explain": lambda: stub.Explain(pb.ExplainRequest(shape=SHAPE)),
        "ListModels": lambda: stub.ListModels(pb.ListModelsRequest()),
    }

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await calls[method]()

    info = detail(caught.value, error_details_pb2.ErrorInfo)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert info is not None
    assert info.reason == "SHUTTING_DOWN"
