"""What goes wrong with Triton, who leaves, and what a probe learns."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from backends.contract import Chunk, Message
from backends.errors import (
    AuthFailed,
    BackendError,
    BadRequest,
    ConnectFailed,
    ContextTooLong,
    ModelNotServed,
    Overloaded,
    ProtocolViolation,
    StreamBroken,
    UpstreamFault,
    Warming,
)
from simulation.wires.faults import Faults
from simulation.wires.triton_models import old_ensemble
from tests.contract.emulated import SECRET, ask, ask_until_broken, leave_after_first, text
from tests.contract.loopback import LoopbackServer, Reply
from tests.contract.triton_stage import Stage, a_request, events, limited, staged

METRICS = """\
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="scheduled",version="1"} 3
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="waiting",version="1"} 2
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="tensorrt_llm",version="1"} 0.25
"""


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged() as made:
        yield made


async def _read_on(stream: AsyncIterator[Chunk]) -> None:
    async for _ in stream:
        pass


@pytest.mark.parametrize("model", ["ensemble", "vllm_model"])
async def test_an_unknown_model_and_a_prompt_that_is_too_long_have_their_kinds(stage: Stage, model: str) -> None:
    """The first is a reason to go elsewhere; the second is the request's."""
    with pytest.raises(ModelNotServed, match="unknown model: 'none'"):
        await ask(stage.of(model), a_request("none"))
    with pytest.raises(ContextTooLong):
        await ask(stage.of(model), a_request(model, Message(role="user", content="x" * 40_000)))


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (400, "an input that is wrong", BadRequest),
        (401, "", AuthFailed),
        (404, "Request for unknown model: 'ensemble' is not found", ModelNotServed),
        (429, "", Overloaded),
        (500, "", UpstreamFault),
        (503, "", ConnectFailed),
        (503, "Exceeds maximum queue size", Overloaded),
        (503, "model 'ensemble' is not ready", Warming),
    ],
)
@pytest.mark.parametrize("knows_status", [True, False])
async def test_refusals_have_their_kind(
    stage: Stage, status: int, words: str, kind: type[BackendError], *, knows_status: bool
) -> None:
    """By status and words; older servers say words alone, and what they do not tell is a fault of theirs."""
    stage.server.knows_status = knows_status
    stage.server.faults = Faults(status=status, code=words)
    is_told_by_words = words and status != 400
    with pytest.raises(kind if knows_status or is_told_by_words else BackendError) as caught:
        await ask(stage.backend(), a_request())
    assert caught.value.status is None


async def test_a_pushback_says_when_to_come_again(stage: Stage) -> None:
    """As gRPC has it, in a trailer."""
    stage.server.faults = Faults(status=429, headers={"grpc-retry-pushback-ms": "1500"})
    with pytest.raises(Overloaded) as caught:
        await ask(stage.backend(), a_request())
    assert caught.value.retry_after_s == 1.5


@pytest.mark.parametrize("knows_status", [True, False])
@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(cut_after=3), "broke while it answered"),
        (Faults(malformed_after=3), "not of this wire"),
        (Faults(error_after=3), "an error that was asked for"),
    ],
)
async def test_a_stream_that_goes_wrong_is_broken(
    stage: Stage, faults: Faults, words: str, *, knows_status: bool
) -> None:
    """What was sent before was delivered; then the failure says what it was."""
    stage.server.knows_status = knows_status
    stage.server.faults = faults
    chunks, error = await ask_until_broken(stage.backend(), a_request())
    assert events(chunks) == 3
    assert isinstance(error, StreamBroken)
    assert re.search(words, error.message)


async def test_a_connection_that_is_lost_breaks_the_answer(stage: Stage) -> None:
    """The server itself goes away, in the middle of it."""
    stage.server.faults = Faults(stall_after=2)
    stream = stage.backend().generate(a_request(), upstream_model="ensemble", request_id="r")
    await anext(stream)
    with pytest.raises(StreamBroken):
        async with asyncio.timeout(5):
            await asyncio.gather(stage.server.close(), _read_on(stream))


async def test_a_server_that_is_not_there_is_told(stage: Stage) -> None:
    """Before anything was sent: another backend may be asked."""
    await stage.server.close()
    with pytest.raises(ConnectFailed) as caught:
        await ask(stage.backend(), a_request())
    assert caught.value.retryable


async def test_a_model_is_described_again_when_it_may_have_changed(stage: Stage) -> None:
    """A model of the same name with other tensors is refused once, and then asked by its own."""
    backend = stage.backend()
    await ask(backend, a_request(sampling=limited(3)))
    stage.server.models["ensemble"] = old_ensemble("ensemble")
    with pytest.raises(BadRequest):
        await ask(backend, a_request(sampling=limited(3)))
    assert text(await ask(backend, a_request(sampling=limited(3))))


async def test_what_is_not_of_the_wire_is_told_before_the_first_token_too(stage: Stage) -> None:
    """As a violation of the protocol, which may be tried elsewhere."""
    stage.server.faults = Faults(malformed_after=0)
    with pytest.raises(ProtocolViolation):
        await ask(stage.backend(), a_request())


async def test_a_caller_that_leaves_frees_the_server(stage: Stage) -> None:
    """Closing the answer cancels the call."""
    stage.server.faults = Faults(stall_after=1)
    await leave_after_first(stage.backend(), a_request())
    async with asyncio.timeout(2):
        await stage.server.disconnected()
    assert stage.server.disconnects == 1


async def test_a_stalled_server_can_be_cancelled(stage: Stage) -> None:
    """Also before the first token."""
    stage.server.faults = Faults(stall_after=0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await ask(stage.backend(), a_request())
    async with asyncio.timeout(2):
        await stage.server.disconnected()


async def test_an_answer_that_is_complete_is_no_disconnect(stage: Stage) -> None:
    """The server is left only after its status, or where a stop sequence made the rest worthless."""
    for model in ("ensemble", "vllm_model"):
        await ask(stage.of(model), a_request(model, sampling=limited(5)))
    assert stage.server.disconnects == 0


async def test_a_closing_backend_lets_its_answers_end(stage: Stage) -> None:
    """And takes no longer than they do."""
    backend = stage.backend()
    stream = backend.generate(a_request(sampling=limited(50)), upstream_model="ensemble", request_id="r")
    chunks = [await anext(stream)]
    closing = asyncio.create_task(backend.aclose())
    chunks += [chunk async for chunk in stream]
    async with asyncio.timeout(5):
        await closing
    assert len(text(chunks)) == 200


async def test_a_probe_tells_which_models_are_ready(stage: Stage) -> None:
    """By questions that generate nothing."""
    report = await stage.backend().probe(timeout_s=2.0)
    assert (report.healthy, report.models) == (True, tuple(stage.server.models))
    assert (report.running, report.waiting, report.kv_cache_usage) == (None, None, None)
    assert not stage.server.seen


async def test_a_probe_sees_a_server_that_is_not_alive(stage: Stage) -> None:
    """Said by the server, or by its silence."""
    backend = stage.backend()
    stage.server.live = False
    assert not (await backend.probe(timeout_s=2.0)).healthy
    await stage.server.close()
    report = await backend.probe(timeout_s=2.0)
    assert not report.healthy
    assert re.match("CONNECT_FAILED|TIMED_OUT", report.reason)


async def test_without_an_index_the_models_that_were_asked_are_looked_at(stage: Stage) -> None:
    """One of them at least must be ready."""
    stage.server.tells_index = False
    for model, is_ready in (("old", True), ("ensemble", False)):
        backend = stage.backend()
        await ask(backend, a_request(model, sampling=limited(3)))
        stage.server.models["ensemble"] = replace(stage.server.models["ensemble"], ready=is_ready)
        report = await backend.probe(timeout_s=2.0)
        assert (report.healthy, report.warming, report.models) == (is_ready, not is_ready, None)


async def test_a_model_that_is_not_loaded_is_not_served(stage: Stage) -> None:
    """It may be later; another backend may serve it now."""
    stage.server.models["ensemble"] = replace(stage.server.models["ensemble"], ready=False)
    assert "ensemble" not in ((await stage.backend().probe(timeout_s=2.0)).models or ())
    with pytest.raises(BackendError, match="no available versions") as caught:
        await ask(stage.backend(), a_request())
    assert caught.value.retryable


async def test_a_probe_reads_the_load_where_the_metrics_are(stage: Stage) -> None:
    """On a port of their own; metrics that are switched off leave the server healthy and its load unknown."""
    async with LoopbackServer(lambda _: Reply([METRICS.encode()])) as metrics:
        report = await stage.backend(metrics_url=f"{metrics.url}/metrics").probe(timeout_s=2.0)
        assert (report.healthy, report.running, report.waiting, report.kv_cache_usage) == (True, 3, 2, 0.25)
    async with LoopbackServer(lambda _: Reply([b""], status=404)) as metrics:
        report = await stage.backend(metrics_url=f"{metrics.url}/metrics").probe(timeout_s=2.0)
        assert (report.healthy, report.running) == (True, None)


async def test_a_token_is_metadata_and_stays_secret() -> None:
    """Sent with every call; found in no error and no repr."""
    async with staged(key=SECRET) as stage:
        backend = stage.with_token()
        assert text(await ask(backend, a_request(sampling=limited(3))))
        assert stage.server.seen[-1]["metadata"]["authorization"] == f"Bearer {SECRET}"
        assert (await backend.probe(timeout_s=2.0)).healthy
        assert SECRET not in repr(backend)
        stage.server.faults = Faults(status=401, code=f"bad token {SECRET}")
        with pytest.raises(AuthFailed) as caught:
            await ask(backend, a_request())
        assert SECRET not in str(caught.value)
        assert (await stage.backend().probe(timeout_s=2.0)).reason.startswith("AUTH_FAILED")
