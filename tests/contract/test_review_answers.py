"""Answers that servers do give, and that no recording here holds: each must be read, or refused for what it is."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from backends.contract import Chunk, FinishReason, GenerateRequest, Message, Sampling, Tool, ToolCall, Usage
from backends.errors import (
    BackendError,
    ModelNotServed,
    Overloaded,
    ProtocolViolation,
    QuotaExhausted,
    RateLimited,
    Unsupported,
)
from simulation.recordings.frames import write_aws
from tests.contract.emulated import Adapters, adapters
from tests.contract.loopback import LoopbackServer, Reply, Seen

EVENTS = "text/event-stream"
USER = Message(role="user", content="Hello")
OPTIONS = {"bedrock": {"region": "us-east-1"}}
KINDS = {"bedrock": "application/vnd.amazon.eventstream", "ollama": "application/x-ndjson"}
HALF = "\\ud83d"  # of a pair, as a writer in UTF-16 cuts it


@pytest.fixture
async def made() -> AsyncIterator[Adapters]:
    async with adapters(secret="AKIDEXAMPLE:emulated-secret-0123456789") as found:
        yield found


class Asked:
    """What came of one request: chunks and perhaps an error, and what the server saw."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.error: BackendError | None = None
        self.seen: list[Seen] = []

    @property
    def text(self) -> str:
        assert self.error is None, self.error
        return "".join(chunk.text for chunk in self.chunks)

    @property
    def usage(self) -> Usage:
        assert self.error is None, self.error
        return next(chunk.usage for chunk in reversed(self.chunks) if chunk.usage is not None)

    @property
    def sent(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.seen[-1].body)
        return body


async def ask(
    made: Adapters,
    wire: str,
    profile: str,
    body: bytes,
    *,
    kind: str = "",
    status: int = 200,
    model: str = "m",
    request: GenerateRequest | None = None,
    request_id: str = "r",
    encoding: str = "identity",
) -> Asked:
    headers = (("content-type", kind or KINDS.get(wire, EVENTS)), ("content-encoding", encoding))
    found = Asked()
    async with LoopbackServer(lambda _: Reply([body], status, headers)) as server:
        backend = made.bind(wire, server.url, profile=profile, credential=True, options=OPTIONS.get(wire, {}))
        asked = request or GenerateRequest(model="m", messages=(USER,))
        try:
            found.chunks = [c async for c in backend.generate(asked, upstream_model=model, request_id=request_id)]
        except BackendError as error:
            found.error = error
        found.seen = server.seen
    return found


def sse(*events: Any, end: str = "") -> bytes:
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return "".join(f"data: {text}\n\n" for text in [*texts, *([end] if end else [])]).encode()


def choice(text: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"index": 0, "delta": {} if text is None else {"content": text}, **fields}


def chat(*events: dict[str, Any], **usage: Any) -> bytes:
    """A chat that says "a" and ends, with other events between, and its usage."""
    said = {"choices": [choice("a")]}
    end: dict[str, Any] = {"choices": [choice(finish_reason="stop")]}
    return sse(said, *events, end, {"choices": [], "usage": usage} if usage else {"choices": []}, end="[DONE]")


def messages(text: str = "a", given: Any = 10, output: Any = 5) -> bytes:
    return sse(
        {"type": "message_start", "message": {"usage": {"input_tokens": given, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": text}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": output}},
        {"type": "message_stop"},
    )


def content(text: str = "a", given: Any = 10, output: Any = 5) -> bytes:
    counts = {"promptTokenCount": given, "candidatesTokenCount": output}
    return sse(
        {"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}], "usageMetadata": counts}
    )


def converse(text: str = "a", given: Any = 10, output: Any = 5) -> bytes:
    events = (
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}}),
        ("messageStop", {"stopReason": "end_turn", "additionalModelResponseFields": ["unforeseen"]}),
        ("metadata", {"usage": {"inputTokens": given, "outputTokens": output}}),
    )
    return write_aws((name, json.dumps(event).encode()) for name, event in events)


def line(text: str = "a", given: Any = 10, output: Any = 5) -> bytes:
    end = {"done": True, "done_reason": "stop", "prompt_eval_count": given, "eval_count": output}
    return b"".join(json.dumps(one).encode() + b"\n" for one in ({"message": {"content": text}, "error": ""}, end))


FAMILIES = {"anthropic": messages, "gemini": content, "bedrock": converse, "ollama": line}
each_family = pytest.mark.parametrize("wire", FAMILIES)


def chat_with(given: Any, output: Any) -> bytes:
    return chat(prompt_tokens=given, completion_tokens=output)


@each_family
async def test_counts_written_as_floats_are_counts(made: Adapters, wire: str) -> None:
    """Every family's counts may come as floats, as JSON of other languages has them."""
    asked = await ask(made, wire, wire, FAMILIES[wire]("a", 10.0, 5.0))
    assert (asked.usage.input, asked.usage.output) == (10, 5)


@each_family
async def test_a_count_that_is_none_is_not_handed_on(made: Adapters, wire: str) -> None:
    """A negative count or one of 10**300 tokens is left out, and what is said instead is never below zero."""
    for nonsense in (-5, 1e300):
        asked = await ask(made, wire, wire, FAMILIES[wire]("a", nonsense, nonsense))
        assert (asked.usage.input, asked.usage.output) == (0, 1)


async def test_nonsense_counts_of_a_chat_are_an_estimate(made: Adapters) -> None:
    """Counts below zero or beyond any answer are as if none had come."""
    for nonsense in (-5, 10**30, 1e300):
        asked = await ask(made, "openai_chat", "openai", chat_with(nonsense, nonsense))
        assert asked.usage == Usage(output=1, estimated=True)


@each_family
async def test_half_a_surrogate_pair_breaks_no_answer(made: Adapters, wire: str) -> None:
    """Half a pair, which a JSON text may hold and no text can, becomes U+FFFD."""
    body = FAMILIES[wire]("HALF")
    if wire == "bedrock":
        half = f'{{"contentBlockIndex":0,"delta":{{"text":"{HALF}"}}}}'.encode()
        body = write_aws([("contentBlockDelta", half), ("messageStop", b'{"stopReason":"end_turn"}')])
    asked = await ask(made, wire, wire, body.replace(b'"HALF"', f'"{HALF}"'.encode()))
    assert asked.text == "\ufffd"


async def test_half_a_surrogate_pair_in_a_chat_is_a_replacement_character(made: Adapters) -> None:
    """Two events with half a character each are two replacement characters, and no broken stream."""
    halves = [f'{{"choices":[{{"delta":{{"content":"{half}"}}}}]}}' for half in ("\\ud83d", "\\ude00")]
    asked = await ask(made, "openai_chat", "openai", sse(*halves, end="[DONE]"))
    assert asked.text == "\ufffd\ufffd"


@pytest.mark.parametrize(
    "beside",
    [
        {"timings": {"prompt_n": "many"}},
        {"time_info": [1]},
        {"usage": {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": []}},
        {"usage": {"prompt_tokens": "3", "completion_tokens": "2"}},
        {"choices": [choice("", logprobs=[-0.1])]},
        {"choices": [choice("", logprobs={"content": [{"token": "a", "logprob": None}]})]},
        {"choices": [choice("", stop_reason=["x"], matched_stop={"id": 1})]},
    ],
)
async def test_what_stands_beside_an_answer_does_not_break_it(made: Adapters, beside: dict[str, Any]) -> None:
    """Counts, times and log-probabilities in a form that nobody foresaw are left out, and the answer is read."""
    asked = await ask(made, "openai_chat", "generic", chat({"choices": [], **beside}))
    assert asked.text == "a"
    if "usage" in beside:
        assert (asked.usage.input, asked.usage.output, asked.usage.estimated) == (3, 2, False)


async def test_an_answer_in_an_unknown_form_is_still_refused(made: Adapters) -> None:
    """The text itself must be text: what cannot be read of the answer is a violation and not an empty answer."""
    asked = await ask(made, "openai_chat", "generic", chat({"choices": [choice(finish_reason={"a": 1})]}))
    assert asked.error is not None
    assert asked.error.code in ("PROTOCOL_VIOLATION", "STREAM_BROKEN")


async def test_of_several_answers_the_first_is_read(made: Adapters) -> None:
    """Answers with other indexes than 0 are not mixed into the first one; who counts tokens there is still read."""
    others = ({"choices": [{"index": 1, "delta": {"content": "B"}}]}, {"choices": [{"delta": {"content": "b"}}]})
    asked = await ask(made, "openai_chat", "openai", chat(*others))
    assert asked.text == "ab"
    tokens = [{"choices": [{"index": n, "delta": {"content": str(n)}}]} for n in (1, 2, 3)]
    asked = await ask(made, "openai_chat", "tgi", sse(*tokens, end="[DONE]"))
    assert asked.text == "123"
    other = {"candidates": [{"index": 1, "content": {"parts": [{"text": "B"}]}, "finishReason": "STOP"}]}
    asked = await ask(made, "gemini", "gemini", sse(other) + content())
    assert asked.text == "a"


async def test_a_brokers_error_in_a_choice_says_what_it_is(made: Adapters) -> None:
    """OpenRouter puts the error of a provider into the choice: its code decides, not the word "error"."""
    failed = choice("", finish_reason="error", error={"code": 429, "message": "Rate limited"})
    asked = await ask(made, "openai_chat", "openrouter", sse({"choices": [failed]}))
    assert isinstance(asked.error, RateLimited)


async def test_groqs_error_may_be_an_object(made: Adapters) -> None:
    """`x_groq.error` is a failure, be it a text or an object."""
    event = {"choices": [], "x_groq": {"error": {"message": "over capacity"}}}
    asked = await ask(made, "openai_chat", "groq", sse(event))
    assert isinstance(asked.error, Overloaded)


@pytest.mark.parametrize("kind", [EVENTS, "text/plain", "application/json"])
async def test_the_first_byte_tells_a_document_from_a_stream(made: Adapters, kind: str) -> None:
    """An answer is read as what it is, whatever its label says."""
    message = {"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}
    asked = await ask(made, "openai_chat", "openai", json.dumps(message).encode(), kind=kind)
    assert asked.text == "a"
    assert (await ask(made, "openai_chat", "openai", chat(), kind=kind)).text == "a"
    array = json.dumps([{"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}]}])
    assert (await ask(made, "gemini", "vertex_express", array.encode(), kind=kind)).text == "a"
    error = await ask(
        made, "openai_chat", "openai", b'{"error":{"message":"x","code":"rate_limit_exceeded"}}', kind=kind
    )
    assert isinstance(error.error, RateLimited)


async def test_a_marker_after_googles_answer_says_nothing(made: Adapters) -> None:
    """Gateways end Google's stream as they end all streams; an array in an event is the responses in it."""
    assert (await ask(made, "gemini", "gemini", content() + sse(end="[DONE]"))).text == "a"
    failed = [{"error": {"code": 429, "message": "x", "status": "RESOURCE_EXHAUSTED"}}]
    assert isinstance((await ask(made, "gemini", "gemini", sse(failed))).error, RateLimited)


async def test_counts_alone_deliver_nothing(made: Adapters) -> None:
    """A stream that fails after it has only counted can be tried elsewhere: it is no broken answer."""
    counted: dict[str, Any] = {"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 0}}
    asked = await ask(made, "gemini", "gemini", sse(counted))
    assert isinstance(asked.error, ProtocolViolation)
    assert asked.chunks == []
    counted = {"choices": [choice("")], "usage": {"prompt_tokens": 3, "completion_tokens": 0}}
    asked = await ask(made, "openai_chat", "vllm", sse(counted, {"error": {"message": "x", "code": 503}}))
    assert isinstance(asked.error, Overloaded)


async def test_a_call_begun_with_a_text_as_its_input_is_read(made: Adapters) -> None:
    """Anthropic's `input` is an object; an engine that writes "" there means no arguments."""
    begun = {"type": "tool_use", "id": "t", "name": "f", "input": ""}
    events = (
        {"type": "content_block_start", "index": 0, "content_block": begun},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
        {"type": "message_stop"},
    )
    asked = await ask(made, "anthropic", "vllm", sse(*events))
    assert asked.error is None
    assert [delta.arguments for chunk in asked.chunks for delta in chunk.tool_calls] == ["", "{}"]
    assert asked.chunks[-1].finish_reason is FinishReason.TOOL_CALLS


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        ("openai_chat", chat()),
        ("anthropic", messages()),
        ("gemini", content()),
        ("bedrock", converse()),
        ("ollama", line()),
    ],
)
async def test_a_call_with_null_for_its_arguments_goes_back(made: Adapters, wire: str, body: bytes) -> None:
    """Groq's models write null for no arguments: in the next turn, with whatever vendor, they are the empty object."""
    called = Message(role="assistant", tool_calls=(ToolCall(id="c", name="f", arguments="null"),))
    turns = (USER, called, Message(role="tool", tool_call_id="c", content="done"))
    request = GenerateRequest(model="m", messages=turns, tools=(Tool(name="f"),))
    asked = await ask(made, wire, wire if wire != "openai_chat" else "groq", body, request=request)
    assert asked.text == "a"
    assert "null" not in json.dumps(asked.sent["contents" if wire == "gemini" else "messages"])


async def test_a_tool_without_parameters_has_an_empty_schema(made: Adapters) -> None:
    """Mistral and others require the schema that OpenAI lets its callers leave out."""
    request = GenerateRequest(model="m", messages=(USER,), tools=(Tool(name="f"),))
    asked = await ask(made, "openai_chat", "mistral", chat(), request=request)
    assert asked.sent["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("wire", "profile", "most"), [("openai_chat", "openai", 4), ("openai_chat", "groq", 4), ("gemini", "gemini", 5)]
)
async def test_more_stop_sequences_than_a_vendor_takes_are_refused_here(
    made: Adapters, wire: str, profile: str, most: int
) -> None:
    """One stop sequence too many leaves the request to another backend; the vendor's 400 would end it."""
    body = chat() if wire == "openai_chat" else content()
    for number in (most, most + 1):
        request = GenerateRequest(model="m", messages=(USER,), sampling=Sampling(stop=tuple("abcdefg"[:number])))
        asked = await ask(made, wire, profile, body, request=request)
        assert isinstance(asked.error, Unsupported) == (number > most)


@pytest.mark.parametrize(
    ("wire", "profile", "model"),
    [
        ("openai_chat", "azure", ".."),
        ("gemini", "gemini", "models/../x"),
        ("replicate", "replicate", "../x"),
        ("replicate", "replicate", "o/.."),
        ("bedrock", "bedrock", ".."),
    ],
)
async def test_a_models_name_chooses_no_other_endpoint(made: Adapters, wire: str, profile: str, model: str) -> None:
    """Dots in place of a name would lead out of the path, with our key: nothing is sent."""
    asked = await ask(made, wire, profile, b"", model=model)
    assert isinstance(asked.error, ModelNotServed)
    assert asked.seen == []


async def test_a_request_id_cannot_add_a_header(made: Adapters) -> None:
    """Line ends in a request's id become question marks, and the request is sent."""
    asked = await ask(made, "openai_chat", "openai", chat(), request_id="a\r\nx-evil: é")
    assert asked.text == "a"
    assert asked.seen[0].headers["x-request-id"] == "a??x-evil: ?"
    assert "x-evil" not in asked.seen[0].headers


async def test_an_empty_account_of_xai_is_no_rate(made: Adapters) -> None:
    """Grok's vendor says 429 or 403 to who has used up his credits, with words alone."""
    said = "Your team has either used all available credits or reached its monthly spending limit."
    for status in (403, 429):
        body = json.dumps({"code": "Some resource has been exhausted", "error": said}).encode()
        asked = await ask(made, "openai_chat", "xai", body, status=status, kind="application/json")
        assert isinstance(asked.error, QuotaExhausted)


async def test_bedrocks_503_without_a_code_is_load(made: Adapters) -> None:
    """ServiceUnavailable counts as load, also where a proxy took the header that names it."""
    asked = await ask(made, "bedrock", "bedrock", b'{"message":"x"}', status=503, kind="application/json")
    assert isinstance(asked.error, Overloaded)


async def test_a_compressed_error_is_read_as_far_as_errors_go(made: Adapters) -> None:
    """A proxy's gzip page is read; one that unpacks to more than an explanation is cut, and its status speaks."""
    pages = {'{"error":{"message":"x","code":"insufficient_quota"}}': "QUOTA_EXHAUSTED", "x" * 10**7: "RATE_LIMITED"}
    for text, code in pages.items():
        packed = gzip.compress(text.encode())
        asked = await ask(made, "openai_chat", "openai", packed, status=429, encoding="gzip")
        assert asked.error is not None
        assert asked.error.code == code


async def test_tgis_words_for_a_prompt_that_is_too_long(made: Adapters) -> None:
    """Together and Hugging Face pass on TGI's 422, which is about the size of the prompt and its bound."""
    said = "`inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9 `inputs` tokens and 9000 `max_new_tokens`"
    body = json.dumps({"error": {"message": said, "type": "invalid_request_error"}}).encode()
    asked = await ask(made, "openai_chat", "together", body, status=422, kind="application/json")
    assert asked.error is not None
    assert asked.error.code == "CONTEXT_TOO_LONG"
