"""What goes wrong with Google's services, how it is told apart, and what a probe sees of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest

from backends.contract import (
    FinishReason,
    Message,
    Usage,
)
from backends.errors import (
    AuthFailed,
    BackendError,
    BadRequest,
    ContextTooLong,
    ModelNotServed,
    Overloaded,
    ProtocolViolation,
    QuotaExhausted,
    RateLimited,
    StreamBroken,
    TimedOut,
    UpstreamFault,
)
from backends.registry import build
from backends.spec import BackendSpec
from tests.contract.emulated import SECRET, adapters, ask, ask_until_broken, text
from tests.contract.gemini_stage import CLOUD, NEW, OLD, Stage, a_request, staged
from tests.contract.harness import make_transport
from tests.contract.loopback import LoopbackServer, Reply


@pytest.fixture(params=["httpx", "fast"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with staged(request.param) as found:
        yield found


async def test_a_renewed_token_is_used(stage: Stage, tmp_path: Path) -> None:
    """A refusal makes the next request read the token's file again."""
    file = tmp_path / "token"
    file.write_text("ya29.old")
    spec = BackendSpec(
        id="b",
        wire="gemini",
        profile="vertex",
        base_url=stage.url,
        credential=f"file:{file}",
        options=CLOUD,
    )
    transport = make_transport("fast")
    try:
        async with httpx.AsyncClient() as control:
            backend = build(spec, transport=transport, control=control, env={})
            with pytest.raises(AuthFailed):
                await ask(backend, a_request())
            file.write_text(SECRET)
            assert (await ask(backend, a_request()))[-1].finish_reason is FinishReason.STOP
    finally:
        await transport.aclose()


@pytest.mark.parametrize(
    ("options", "wrong"),
    [({}, "project"), ({"project": "p"}, "location"), ({**CLOUD, "api_version": "../v1"}, "api_version")],
)
async def test_options_are_checked(stage: Stage, options: dict[str, str], wrong: str) -> None:
    """Vertex AI needs its two, and none may lead elsewhere."""
    with pytest.raises(ValueError, match=wrong):
        stage.backend("vertex", options)


@pytest.mark.parametrize(
    ("status", "code", "kind", "wait_s"),
    [
        (400, "", BadRequest, None),
        (400, "API_KEY_INVALID", AuthFailed, None),
        (401, "", AuthFailed, None),
        (402, "", QuotaExhausted, None),
        (403, "", AuthFailed, None),
        (403, "BILLING_DISABLED", QuotaExhausted, None),
        (404, "", ModelNotServed, None),
        (429, "", RateLimited, 37.4),
        (429, "PerMinute", RateLimited, 37.0),
        (429, "PerDay", QuotaExhausted, 37.0),
        (500, "", UpstreamFault, None),
        (503, "", Overloaded, None),
        (504, "", TimedOut, None),
    ],
)
async def test_errors(stage: Stage, status: int, code: str, kind: type[BackendError], wait_s: float | None) -> None:
    """Status, reason and the name of the quota together say what went wrong, and for how long."""
    stage.server.faults.status, stage.server.faults.code = status, code
    with pytest.raises(BackendError) as caught:
        await ask(stage.backend(), a_request())
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert caught.value.retry_after_s == wait_s


async def test_errors_of_the_service_itself(stage: Stage) -> None:
    """An unknown model, a prompt that is too long, a key that is wrong and does not leak."""
    with pytest.raises(ModelNotServed):
        await ask(stage.backend(), a_request(model="gemini-0"))
    with pytest.raises(ModelNotServed):
        await ask(stage.backend("vertex", CLOUD), a_request(model="gemini-0"))
    with pytest.raises(ContextTooLong):
        await ask(stage.backend(), a_request(Message(role="user", content="x" * 20_000), model=OLD))
    with pytest.raises(AuthFailed):
        await ask(stage.backend(credential=False), a_request())


@pytest.mark.parametrize("word", ["SAFETY", "RECITATION", "PROHIBITED_CONTENT", "SPII", "BLOCKLIST"])
async def test_a_filtered_answer_is_an_answer(stage: Stage, word: str) -> None:
    """It has a text so far, a reason and usage."""
    stage.server.finish = word
    chunks = await ask(stage.backend(), a_request())
    assert chunks[-1].finish_reason is FinishReason.CONTENT_FILTER
    assert chunks[-1].usage is not None


async def test_a_blocked_prompt_is_an_answer_without_text(stage: Stage) -> None:
    """The filter is the request's: no backend is to blame, and none is tried after it."""
    stage.server.blocks_prompts = True
    (chunk,) = await ask(stage.backend(), a_request())
    assert (chunk.text, chunk.finish_reason) == ("", FinishReason.CONTENT_FILTER)
    assert chunk.usage == Usage(input=6)


async def test_a_malformed_call_is_a_failure(stage: Stage) -> None:
    """The model's own mistake: there is no answer to pass on."""
    stage.server.finish = "MALFORMED_FUNCTION_CALL"
    chunks, error = await ask_until_broken(stage.backend(), a_request())
    assert isinstance(error, StreamBroken if chunks else UpstreamFault)


@pytest.mark.parametrize("bare", [False, True])
async def test_an_error_inside_a_stream(stage: Stage, *, bare: bool) -> None:
    """As an event or as it is, it is seen: as itself before anything was delivered, as a broken stream after."""
    stage.server.bare_errors = bare
    stage.server.faults.error_after = 0
    with pytest.raises(Overloaded):
        await ask(stage.backend(), a_request())
    stage.server.faults.error_after = 2
    chunks, error = await ask_until_broken(stage.backend(), a_request())
    assert text(chunks)
    assert isinstance(error, StreamBroken)
    assert "OVERLOADED" in error.message


async def test_a_cut_stream_is_broken(stage: Stage) -> None:
    """An end without a finish reason is none."""
    stage.server.faults.cut_after = 2
    chunks, error = await ask_until_broken(stage.backend(), a_request())
    assert text(chunks)
    assert isinstance(error, StreamBroken)


async def test_a_malformed_event_breaks_the_stream(stage: Stage) -> None:
    """What is not of the wire is not passed over."""
    stage.server.faults.malformed_after = 2
    chunks, error = await ask_until_broken(stage.backend(), a_request())
    assert text(chunks)
    assert isinstance(error, StreamBroken)
    assert "PROTOCOL_VIOLATION" in error.message


async def test_leaving_frees_the_upstream(stage: Stage) -> None:
    """A caller that goes closes the connection of an answer that does not end."""
    stage.server.faults.stall_after = 2
    stream = stage.backend().generate(a_request(), upstream_model=NEW, request_id="r")
    await anext(stream)
    await stream.aclose()
    async with asyncio.timeout(2):
        await stage.server.disconnected()
    assert stage.server.disconnects == 1


async def test_the_credential_stays_where_it_is(stage: Stage) -> None:
    """Not in what the adapter shows of itself, and not in the body that goes out."""
    backend = stage.backend()
    await ask(backend, a_request())
    assert SECRET not in repr(backend)
    assert SECRET not in msgspec.json.encode(stage.server.seen[-1]["body"]).decode()
    assert SECRET not in stage.server.seen[-1]["path"] + stage.server.seen[-1]["query"]


async def test_a_probe_lists_the_models(stage: Stage) -> None:
    """With the names that requests use; nothing is generated."""
    report = await stage.backend().probe(timeout_s=2.0)
    assert report.healthy
    assert report.models == (NEW, OLD)
    assert not stage.server.seen


async def test_a_probe_sees_a_bad_key(stage: Stage) -> None:
    """Although Google calls it a bad request."""
    report = await stage.backend(credential=False).probe(timeout_s=2.0)
    assert not report.healthy
    assert "AUTH_FAILED" in report.reason


async def test_a_probe_of_vertex_only_connects(stage: Stage) -> None:
    """Nothing there can be asked for free."""
    backend = stage.backend("vertex", CLOUD)
    report = await backend.probe(timeout_s=2.0)
    assert report.healthy
    assert report.models is None
    assert not stage.server.seen


async def test_an_empty_stream_is_no_answer() -> None:
    """Nothing came, so that another backend can be tried."""
    async with LoopbackServer(lambda _: Reply([b"\r\n"])) as server, adapters() as made:
        with pytest.raises(ProtocolViolation):
            await ask(made.bind("gemini", server.url), a_request())
