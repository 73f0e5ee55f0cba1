"""What goes wrong with JetStream, who leaves, and what a probe learns."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from backends.contract import FinishReason
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
    TimedOut,
    UpstreamFault,
)
from simulation.wires.faults import Faults
from simulation.wires.jetstream import JetStreamServer
from tests.contract.emulated import adapters, ask, ask_until_broken, leave_after_first, text
from tests.contract.jetstream_stage import Stage, chat, staged
from tests.contract.loopback import LoopbackServer, Reply

METRICS = (
    b'jetstream_prefill_backlog_size{id="h"} 3.0\n'
    b'jetstream_slots_used_percentage{id="h",idx="0"} 0.25\n'
    b'jetstream_slots_used_percentage{id="h",idx="1"} 0.75\n'
)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged(JetStreamServer()) as made:
        yield made


async def test_a_full_server_is_loaded_and_not_sick(stage: Stage) -> None:
    """RESOURCE_EXHAUSTED while every slot is taken; free again when the caller that holds it leaves."""
    stage.server.slots = 1
    stage.server.faults = Faults(stall_after=1)
    backend = stage.backend()
    held = backend.generate(chat(), upstream_model="m", request_id="r")
    await anext(held)
    with pytest.raises(Overloaded, match="prefill queue is full") as caught:
        await ask(backend, chat())
    assert caught.value.retryable
    assert not caught.value.counts_against_health
    await held.aclose()
    async with asyncio.timeout(2):
        await stage.server.disconnected()
    stage.server.faults = Faults()
    assert text(await ask(backend, chat()))


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (400, "no such thing", BadRequest),
        (400, "the prompt is longer than the max_prefill_length of 1024", ContextTooLong),
        (401, "who are you", AuthFailed),
        (403, "not for you", AuthFailed),
        (404, "nothing here", ModelNotServed),
        (429, "full", Overloaded),
        (500, "XLA error", UpstreamFault),
        (501, "Method not found!", ProtocolViolation),
        (503, "Socket closed", ConnectFailed),
        (504, "Deadline Exceeded", TimedOut),
    ],
)
async def test_refusals_have_their_kind(stage: Stage, status: int, words: str, kind: type[BackendError]) -> None:
    """By the status of the call, and by its words where one status has several meanings."""
    stage.server.faults = Faults(status=status, code=words)
    with pytest.raises(kind) as caught:
        await ask(stage.backend(), chat())
    assert type(caught.value) is kind
    assert caught.value.status is None


async def test_a_server_can_ask_to_be_left_alone(stage: Stage) -> None:
    """In gRPC's own words."""
    stage.server.faults = Faults(status=429, headers={"grpc-retry-pushback-ms": "1500"})
    with pytest.raises(Overloaded) as caught:
        await ask(stage.backend(), chat())
    assert caught.value.retry_after_s == 1.5


async def test_a_stream_that_goes_wrong_is_broken(stage: Stage) -> None:
    """What was sent before was delivered; then the failure says what it was."""
    backend = stage.backend()
    for faults, words in (
        (Faults(cut_after=3), "broke while it answered"),
        (Faults(malformed_after=3), "not of this wire"),
        (Faults(error_after=3), "the engine broke"),
    ):
        stage.server.faults = faults
        chunks, error = await ask_until_broken(backend, chat())
        assert [chunk.events for chunk in chunks] == [1, 1, 1]
        assert isinstance(error, StreamBroken)
        assert words in error.message


async def test_what_fails_before_the_first_token_can_be_tried_elsewhere(stage: Stage) -> None:
    """Nothing was delivered, so that the failure keeps its own kind."""
    backend = stage.backend()
    for faults, kind in ((Faults(malformed_after=0), ProtocolViolation), (Faults(error_after=0), UpstreamFault)):
        stage.server.faults = faults
        with pytest.raises(kind):
            await ask(backend, chat())


async def test_a_server_that_goes_away_breaks_the_stream(stage: Stage) -> None:
    """No end by OK, no answer."""
    stage.server.faults = Faults(stall_after=2)
    stream = stage.backend().generate(chat(), upstream_model="m", request_id="r")
    await anext(stream)
    await anext(stream)
    await stage.server.close()
    with pytest.raises(StreamBroken):
        async with asyncio.timeout(5):
            await anext(stream)


async def test_a_caller_that_leaves_frees_the_server(stage: Stage) -> None:
    """Closing the answer cancels the call."""
    stage.server.faults = Faults(stall_after=1)
    await leave_after_first(stage.backend(), chat())
    async with asyncio.timeout(2):
        await stage.server.disconnected()
    assert stage.server.disconnects == 1


async def test_a_stalled_server_can_be_cancelled(stage: Stage) -> None:
    """Also before the first token."""
    stage.server.faults = Faults(stall_after=0)
    waiting = asyncio.create_task(ask(stage.backend(), chat()))
    await stage.server.asked()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(2):
        await stage.server.disconnected()


async def test_nobody_at_the_address() -> None:
    """A refused connection is told at once, to requests and to probes."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it
        async with adapters() as made:
            url = f"grpc://127.0.0.1:{taken.getsockname()[1]}"
            backend = made.bind("jetstream", url, options={"chat_template": "gemma"})
            with pytest.raises(ConnectFailed):
                await ask(backend, chat())
            report = await backend.probe(timeout_s=2.0)
    assert (report.healthy, report.reason.partition(":")[0]) == (False, "CONNECT_FAILED")


async def test_a_probe_asks_whether_it_lives(stage: Stage) -> None:
    """And generates nothing; what the server does not say stays unknown."""
    backend = stage.backend()
    report = await backend.probe(timeout_s=2.0)
    assert (report.healthy, report.models, report.waiting, report.kv_cache_usage) == (True, None, None, None)
    assert report.rtt_s is not None
    stage.server.live = False
    report = await backend.probe(timeout_s=2.0)
    assert (report.healthy, report.reason) == (False, "UPSTREAM_FAULT: the server says that it is not alive")
    assert not stage.server.seen


async def test_a_probe_reads_the_load(stage: Stage) -> None:
    """The queue before prefill, and the part of the slots in use, from the metrics' own port."""
    async with LoopbackServer(lambda _: Reply([METRICS], headers=(("content-type", "text/plain"),))) as metrics:
        backend = stage.backend(metrics_url=f"{metrics.url}/metrics")
        report = await backend.probe(timeout_s=2.0)
        assert [seen.path for seen in metrics.seen] == ["/metrics"]
    assert (report.healthy, report.waiting, report.running, report.kv_cache_usage) == (True, 3, None, 0.5)


async def test_metrics_that_are_switched_off_make_nobody_sick(stage: Stage) -> None:
    """The load is unknown then, and they are not asked for again with every probe."""
    async with LoopbackServer(lambda _: Reply([b"no"], status=404)) as metrics:
        backend = stage.backend(metrics_url=metrics.url)
        for _ in range(2):
            report = await backend.probe(timeout_s=2.0)
            assert (report.healthy, report.waiting) == (True, None)
        assert len(metrics.seen) == 1


async def test_a_closing_backend_ends_its_answers_first(stage: Stage) -> None:
    """Then it takes no more."""
    backend = stage.backend()
    stream = backend.generate(chat(), upstream_model="m", request_id="r")
    begun = await anext(stream)
    closing = asyncio.create_task(backend.aclose())
    await asyncio.sleep(0)
    assert not closing.done()
    chunks = [begun, *[chunk async for chunk in stream]]
    assert chunks[-1].finish_reason is FinishReason.STOP
    await closing
    with pytest.raises(ConnectFailed, match="was closed"):
        await ask(backend, chat())
