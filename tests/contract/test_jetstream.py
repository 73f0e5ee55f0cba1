"""The JetStream adapter against an emulated server, and against one that writes the wire's bytes by hand."""

from __future__ import annotations

import asyncio
import base64
import textwrap
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from backends.contract import Chunk, FinishReason, GenerateRequest, Message, Sampling, Tool
from backends.errors import AuthFailed, ConnectFailed, Unsupported
from simulation.wires.faults import Faults
from simulation.wires.jetstream import JetStreamServer
from tests.contract.emulated import SECRET, adapters, ask, text
from tests.contract.jetstream_stage import USER, Stage, chat, staged

TLS_DATA = Path(__file__).parents[1] / "data" / "tls"


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged(JetStreamServer()) as made:
        yield made


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


def counted(chunks: list[Chunk]) -> tuple[int, int, bool]:
    """Input, output, and whether they are estimates."""
    usage = chunks[-1].usage
    assert usage is not None
    return usage.input, usage.output, usage.estimated
