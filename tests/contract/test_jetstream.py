"""The JetStream adapter against an emulated server, and against one that writes the wire's bytes by hand."""

from __future__ import annotations

import asyncio
import base64
import re
import socket
import textwrap
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from backends.contract import Backend, Chunk, FinishReason, GenerateRequest, Message, Sampling, Tool
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
    Unsupported,
    UpstreamFault,
)
from simulation.wires.faults import Faults
from simulation.wires.jetstream import JetStreamServer
from tests.contract.emulated import SECRET, Adapters, adapters, ask, ask_until_broken, text
from tests.contract.loopback import LoopbackServer, Reply

USER = Message(role="user", content="What is the weather in Paris?")
TLS_DATA = Path(__file__).parents[1] / "data" / "tls"
METRICS = (
    b'jetstream_prefill_backlog_size{id="h"} 3.0\n'
    b'jetstream_slots_used_percentage{id="h",idx="0"} 0.25\n'
    b'jetstream_slots_used_percentage{id="h",idx="1"} 0.75\n'
)


class Stage:
    """A server, and adapters that are bound to it."""

    def __init__(self, server: JetStreamServer, made: Adapters) -> None:
        self.server = server
        self.made = made

    @property
    def last(self) -> Any:
        """The latest request as the server understood it."""
        return self.server.seen[-1]["request"]

    def backend(self, *, scheme: str = "grpc", credential: bool = False, **options: str) -> Backend:
        url = f"{scheme}://127.0.0.1:{self.server.port}"
        return self.made.bind("jetstream", url, credential=credential, options={"chat_template": "gemma", **options})


@asynccontextmanager
async def staged(server: JetStreamServer) -> AsyncIterator[Stage]:
    await server.start("127.0.0.1", 0)
    try:
        async with adapters() as made:
            yield Stage(server, made)
    finally:
        await server.close()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged(JetStreamServer()) as made:
        yield made


def chat(*messages: Message, **sampling: Any) -> GenerateRequest:
    return GenerateRequest(model="gemma-7b", messages=messages or (USER,), sampling=Sampling(**sampling))


def counted(chunks: list[Chunk]) -> tuple[int, int, bool]:
    """Input, output, and whether they are estimates."""
    usage = chunks[-1].usage
    assert usage is not None
    return usage.input, usage.output, usage.estimated


@pytest.mark.parametrize("scheme", ["grpc", "http"])
async def test_a_chat_is_answered(stage: Stage, scheme: str) -> None:
    """The template is applied on our side; the answer streams, and its end is the call's."""
    chunks = await ask(stage.backend(scheme=scheme), chat())
    assert stage.last.text_content.text == (
        "<start_of_turn>user\nWhat is the weather in Paris?<end_of_turn>\n<start_of_turn>model\n"
    )
    assert text(chunks).startswith("Emulated answer of JetStream")
    assert len(chunks) > 2
    assert chunks[-1].finish_reason is FinishReason.STOP
    assert stage.server.disconnects == 0


async def test_a_conversation_is_one_prompt(stage: Stage) -> None:
    """Every turn of it, as the model's template writes them."""
    turns = (USER, Message(role="assistant", content="Rain."), Message(role="user", content="And tomorrow?"))
    await ask(stage.backend(chat_template="llama3"), chat(*turns))
    prompt = stage.last.text_content.text
    places = [prompt.index(words) for words in ("weather in Paris?", "Rain.", "And tomorrow?", "assistant<|end_header")]
    assert places[:3] == sorted(places[:3])
    assert prompt.endswith("<|start_header_id|>assistant<|end_header_id|>\n\n")
    assert not prompt.startswith("<|begin_of_text|>")


@pytest.mark.parametrize("speculates", [1, 3])
async def test_tokens_are_counted_here(stage: Stage, speculates: int) -> None:
    """One by one, or several to a response; nobody counts the prompt, and both are flagged as estimates."""
    stage.server.speculates = speculates
    chunks = await ask(stage.backend(), chat(max_output_tokens=10))
    assert counted(chunks) == (0, 10, True)
    assert chunks[-1].finish_reason is FinishReason.LENGTH
    assert sum(chunk.events for chunk in chunks) == (10 if speculates == 1 else 4)


async def test_responses_are_counted_where_no_tokens_come(stage: Stage) -> None:
    """Which is the same for a server that sends one token in each."""
    stage.server.counts_tokens = False
    chunks = await ask(stage.backend(), chat(max_output_tokens=10))
    assert counted(chunks) == (0, 10, True)
    assert chunks[-1].finish_reason is FinishReason.LENGTH


async def test_the_backend_has_a_limit_where_the_caller_sets_none(stage: Stage) -> None:
    """The wire must be told one."""
    await ask(stage.backend(), chat())
    assert stage.last.max_tokens == 1024
    chunks = await ask(stage.backend(default_max_tokens="5"), chat())
    assert stage.last.max_tokens == 5
    assert (counted(chunks)[1], chunks[-1].finish_reason) == (5, FinishReason.LENGTH)


async def test_a_stop_sequence_ends_the_answer_and_the_call(stage: Stage) -> None:
    """The engine knows none: the text is cut here, and the server learns that nobody reads on."""
    stage.server.faults = Faults(stall_after=8)
    chunks = await ask(stage.backend(), chat(stop=("answer of",)))
    assert text(chunks) == "Emulated "
    assert (chunks[-1].finish_reason, chunks[-1].stop_sequence) == (FinishReason.STOP, "answer of")
    async with asyncio.timeout(2):
        await stage.server.disconnected()


async def test_the_end_of_a_turn_is_no_text(stage: Stage) -> None:
    """Where the engine takes the template's own end for text and lets the model talk on."""
    plain = text(await ask(stage.backend(), chat()))
    stage.server.end_of_turn = "<end_of_turn>"
    chunks = await ask(stage.backend(), chat())
    assert text(chunks) == plain
    assert (chunks[-1].finish_reason, chunks[-1].stop_sequence) == (FinishReason.STOP, None)


async def test_a_plain_prompt_is_continued(stage: Stage) -> None:
    """As it is, without a template."""
    request = GenerateRequest(model="gemma-7b", prompt="Once upon", sampling=Sampling(max_output_tokens=3))
    chunks = await ask(stage.backend(), request)
    assert stage.last.text_content.text == "Once upon"
    assert len(text(chunks)) == 12
    assert chunks[-1].finish_reason is FinishReason.LENGTH


async def test_nothing_is_dropped_silently(stage: Stage) -> None:
    """What asks for nothing is left out; what asks for something is refused before anything is sent."""
    assert text(await ask(stage.backend(), chat(top_p=1.0, presence_penalty=0.0, repetition_penalty=1.0)))
    stage.server.seen.clear()
    for request, param in (
        (chat(temperature=0.7), "temperature"),
        (chat(seed=1), "seed"),
        (GenerateRequest(model="m", messages=(USER,), tools=(Tool(name="f"),)), "tools"),
    ):
        with pytest.raises(Unsupported) as caught:
            await ask(stage.backend(), request)
        assert caught.value.param == param
    assert not stage.server.seen


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


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(cut_after=3), "broke while it answered"),
        (Faults(malformed_after=3), "not of this wire"),
        (Faults(error_after=3), "the engine broke"),
    ],
)
async def test_a_stream_that_goes_wrong_is_broken(stage: Stage, faults: Faults, words: str) -> None:
    """What was sent before was delivered; then the failure says what it was."""
    stage.server.faults = faults
    chunks, error = await ask_until_broken(stage.backend(), chat())
    assert sum(chunk.events for chunk in chunks) == 3
    assert isinstance(error, StreamBroken)
    assert re.search(words, error.message)


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
    stream = stage.backend().generate(chat(), upstream_model="m", request_id="r")
    await anext(stream)
    await stream.aclose()
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


async def test_the_credential_goes_with_every_call_and_stays_secret() -> None:
    """As metadata, for the proxy that wants it; found in no error and no repr."""
    async with staged(JetStreamServer(key=SECRET)) as stage:
        backend = stage.backend(credential=True)
        assert text(await ask(backend, chat()))
        metadata = stage.server.seen[-1]["metadata"]
        assert (metadata["authorization"], metadata["x-request-id"]) == (f"Bearer {SECRET}", "id-7")
        assert (await backend.probe(timeout_s=2.0)).healthy
        assert SECRET not in repr(backend)
        stage.server.faults = Faults(status=401, code=f"bad token {SECRET}")
        with pytest.raises(AuthFailed) as caught:
            await ask(backend, chat())
        assert SECRET not in str(caught.value)
        stranger = stage.backend()
        assert (await stranger.probe(timeout_s=2.0)).reason.startswith("AUTH_FAILED")


def _server_credentials() -> grpc.ServerCredentials:
    """Of the public test key."""
    key = "\n".join(textwrap.wrap(base64.b64encode((TLS_DATA / "loopback.key.der").read_bytes()).decode(), 64))
    label = "PRIVATE KEY"
    pem = f"-----BEGIN {label}-----\n{key}\n-----END {label}-----\n".encode()
    return grpc.ssl_server_credentials([(pem, (TLS_DATA / "loopback.crt.pem").read_bytes())])


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
async def test_tls_is_checked(scheme: str) -> None:
    """Against the file of the backend's own, else against what everybody trusts, which this server is not."""
    server = JetStreamServer()
    server.tls = _server_credentials()
    async with staged(server) as stage:
        trusting = stage.backend(scheme=scheme, ca_file=str(TLS_DATA / "loopback.crt.pem"))
        assert text(await ask(trusting, chat()))
        with pytest.raises(ConnectFailed):
            await ask(stage.backend(scheme=scheme), chat())


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


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("grpc://h:9000", {}, "chat_template"),
        ("grpc://h:9000", {"chat_template": "nobody"}, "chat_template"),
        ("grpc://h:9000", {"chat_template": "gemma", "default_max_tokens": "none"}, "default_max_tokens"),
        ("grpc://h:9000", {"chat_template": "gemma", "temperature": "1"}, "temperature"),
        ("grpc://h:9000/path", {"chat_template": "gemma"}, "no path"),
        ("ftp://h", {"chat_template": "gemma"}, "no address"),
        ("grpcs://h", {"chat_template": "gemma", "ca_file": "/nowhere/at/all"}, "ca_file"),
    ],
)
async def test_settings_that_are_none_are_refused(url: str, options: dict[str, str], words: str) -> None:
    """When the backend is built, by their names."""
    async with adapters() as made:
        with pytest.raises(ValueError, match=words):
            made.bind("jetstream", url, options=options)


def field(number: int, content: bytes) -> bytes:
    """A short field of bytes, text or a message, as protobuf writes it."""
    return bytes([number << 3 | 2, len(content)]) + content


async def test_a_server_that_writes_the_bytes_by_hand_is_understood() -> None:
    """Nothing generated from our description takes part on the server's side."""
    asked: list[bytes] = []

    async def decode(request: bytes, _: object) -> AsyncGenerator[bytes]:
        asked.append(request)
        yield field(2, b"")
        yield field(3, field(1, field(1, b"Hel") + field(2, bytes([5]))))
        yield field(3, field(1, field(1, b"lo.") + field(2, bytes([6, 7]))))
        yield field(3, field(1, b""))

    async def health(_: bytes, __: object) -> bytes:
        return bytes([1 << 3, 1])

    server = grpc.aio.server()
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Decode": grpc.unary_stream_rpc_method_handler(decode),
        "HealthCheck": grpc.unary_unary_rpc_method_handler(health),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("jetstream_proto.Orchestrator", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with adapters() as made:
            backend = made.bind("jetstream", f"grpc://127.0.0.1:{port}", options={"chat_template": "gemma"})
            request = GenerateRequest(model="m", prompt="Say hello", sampling=Sampling(max_output_tokens=9))
            chunks = await ask(backend, request)
            assert (await backend.probe(timeout_s=2.0)).healthy
    finally:
        await server.stop(None)
    assert (text(chunks), counted(chunks)) == ("Hello.", (0, 3, True))
    assert asked == [bytes([4 << 3, 9]) + field(5, field(1, b"Say hello")) + bytes([8 << 3, 1])]
