"""The readings of recorded answers, the errors and limits that are expected, and where an exchange is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from simulation.recordings.errors import expected, waits
from simulation.recordings.frames import BadFrame, read_aws, write_aws, write_sse
from simulation.recordings.interaction import Interaction
from simulation.recordings.limits import remaining
from simulation.recordings.readings import read
from simulation.recordings.readings.said import Call, Said, Tokens
from simulation.recordings.routes import NotApplicable, Route, route


def _said(wire: str, body: bytes | dict[str, Any], *, provider: str = "") -> Said:
    raw = json.dumps(body).encode() if isinstance(body, dict) else body
    return read(Interaction(url="http://h/x", body=raw, provider=provider), wire)


def _sse(*events: dict[str, Any], end: str = "") -> bytes:
    return write_sse([*map(json.dumps, events), *([end] if end else [])])


def _delta(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def test_openai_stream() -> None:
    """Text and reasoning are joined, calls put together by index, and the last usage counts."""
    said = _said(
        "openai_chat",
        _sse(
            _delta(reasoning_content="hm", content=None),
            _delta(content="a"),
            _delta(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"x"'}}]),
            _delta(tool_calls=[{"index": 0, "function": {"arguments": ":1}"}}]),
            _delta("tool_calls"),
            {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 0}},
            {
                "choices": [],
                "usage": {
                    "prompt_tokens": 5,
                    "completion_tokens": 7,
                    "prompt_tokens_details": {"cached_tokens": 2},
                    "completion_tokens_details": {"reasoning_tokens": 3},
                },
            },
            end="[DONE]",
        ),
    )
    assert (said.text, said.reasoning, said.finish, said.complete) == ("a", "hm", "tool_calls", True)
    assert said.calls == [Call("c", "f", {"x": 1})]
    assert said.usage == Tokens(input=5, cached=2, output=7, reasoning=3)


@pytest.mark.parametrize("id_of", [lambda number: {"id": f"c{number}"}, lambda _: {}])
def test_openai_calls_that_all_have_index_0(id_of: Any) -> None:
    """A server that restarts its index begins another call, with an id or without."""
    calls = [
        {"index": 0, "function": {"name": name, "arguments": "{}"}, **id_of(number)}
        for number, name in enumerate(("f", "g"))
    ]
    said = _said("openai_chat", _sse(*(_delta(tool_calls=[call]) for call in calls), _delta("tool_calls")))
    assert [call.name for call in said.calls] == ["f", "g"]


def test_openai_stream_that_breaks_off() -> None:
    """Without a finish reason and without [DONE] it is no answer."""
    assert not _said("openai_chat", _sse(_delta(content="a"))).complete
    assert _said("openai_chat", _sse(_delta("stop", content="a"))).complete


def test_openai_error_in_the_stream() -> None:
    """An error inside a 200 stream is a failure of the kind that it names."""
    said = _said("openai_chat", _sse(_delta(content="a"), {"error": {"code": "insufficient_quota", "message": "x"}}))
    assert said.failure == {"QUOTA_EXHAUSTED"}


def test_xai_counts_reasoning_apart() -> None:
    """Of xAI the output is what the total leaves to the prompt."""
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 17}
    usage |= {"completion_tokens_details": {"reasoning_tokens": 10}}  # type: ignore[dict-item]
    answer = {"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}], "usage": usage}
    assert _said("openai_chat", answer, provider="xai").usage == Tokens(input=5, output=12, reasoning=10)


def test_anthropic_stream() -> None:
    """Input is what was read, cached and written together; only message_stop ends it."""
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"usage": {"input_tokens": 3, "cache_read_input_tokens": 4}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t", "name": "f"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"a":1}'}},
        {"type": "content_block_start", "index": 2, "content_block": {"type": "server_tool_use", "id": "s"}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{"}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}},
    ]
    said = _said("anthropic", _sse(*events))
    assert not said.complete
    said = _said("anthropic", _sse(*events, {"type": "message_stop"}))
    assert said.complete
    assert (said.reasoning, said.finish, said.calls) == ("hm", "tool_calls", [Call("t", "f", {"a": 1})])
    assert said.usage == Tokens(input=7, cached=4, output=9)


def test_gemini_array() -> None:
    """Thoughts are apart, a call makes STOP a tool call, counts are cumulative."""
    parts = [{"text": "hm", "thought": True}, {"functionCall": {"name": "f", "args": {"a": 1}}}]
    events = [
        {"candidates": [{"content": {"parts": parts}}], "usageMetadata": {"promptTokenCount": 15}},
        {
            "candidates": [{"content": {}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 13, "candidatesTokenCount": 2, "thoughtsTokenCount": 5},
        },
    ]
    said = _said("gemini", json.dumps(events).encode())
    assert (said.text, said.reasoning, said.finish, said.complete) == ("", "hm", "tool_calls", True)
    assert said.usage == Tokens(input=13, output=7, reasoning=5)


def test_gemini_block() -> None:
    """A prompt that was refused is a filtered answer; a malformed call is a failure."""
    assert _said("gemini", {"promptFeedback": {"blockReason": "SAFETY"}}).finish == "content_filter"
    failed = {"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]}
    assert _said("gemini", failed).failure == {"UPSTREAM_FAULT"}


def test_bedrock_stream() -> None:
    """The event messageStop proves the end; cached tokens are beside inputTokens."""
    events: list[tuple[str, Any]] = [
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "a"}}),
        ("messageStop", {"stopReason": "max_tokens"}),
        ("metadata", {"usage": {"inputTokens": 3, "outputTokens": 4, "cacheReadInputTokens": 5}}),
    ]
    body = write_aws((kind, json.dumps(value).encode()) for kind, value in events)
    said = _said("bedrock", body)
    assert (said.text, said.finish, said.complete) == ("a", "length", True)
    assert said.usage == Tokens(input=8, cached=5, output=4)
    assert not _said("bedrock", write_aws([(events[0][0], json.dumps(events[0][1]).encode())])).complete


def test_aws_frames_are_checked() -> None:
    """A damaged frame is no frame, and one that is cut is none yet."""
    body = write_aws([("messageStop", b"{}")])
    assert read_aws(body[:-1]) == ([], False)
    with pytest.raises(BadFrame):
        read_aws(body[:-5] + b"x" + body[-4:])


def test_ollama_lines() -> None:
    """A call comes whole; the prompt may be left uncounted; a stream without done is cut."""
    call = {"message": {"content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}}
    end = {"done": True, "done_reason": "stop", "eval_count": 4}
    lines = "\n".join(json.dumps(line) for line in (call, end)).encode()
    said = _said("ollama", lines)
    assert (said.finish, said.calls) == ("tool_calls", [Call("", "f", {"a": 1})])
    assert said.usage == Tokens(output=4, partial=True)
    assert not _said("ollama", json.dumps(call).encode()).complete


def test_replicate_stream() -> None:
    """Lines of one event are joined by newlines, and events by nothing."""
    urls = json.dumps({"urls": {"stream": "http://s/1"}}).encode()
    body = b": hi\n\nevent: output\ndata: a\ndata: \ndata: b\n\nevent: output\ndata:  c\n\nevent: done\ndata: {}\n\n"
    stream = Interaction(method="GET", url="http://s/1", body=body)
    said = read(Interaction(url="http://h/predictions", body=urls, later=(stream,)), "replicate")
    assert (said.text, said.finish, said.usage) == ("a\n\nb c", "stop", None)


def test_a_reading_of_something_else() -> None:
    """An answer that is not of its wire is said to be none."""
    assert _said("anthropic", {"choices": []}).unread


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": {"message": "API key not valid.", "details": [{"reason": "API_KEY_INVALID"}]}}, "AUTH_FAILED"),
        (400, {"error": {"message": "prompt is too long: 9 tokens"}}, "CONTEXT_TOO_LONG"),
        (400, {"error": {"code": "content_filter", "message": "x"}}, "CONTENT_FILTERED"),
        (400, {"error": {"message": "no such thing"}}, "BAD_REQUEST"),
        (429, {"error": {"code": "insufficient_quota"}}, "QUOTA_EXHAUSTED"),
        (429, {"error": {"message": "slow down"}}, "RATE_LIMITED"),
        (503, {"error": {"message": "Loading model"}}, "WARMING"),
        (529, {"type": "error", "error": {"type": "overloaded_error"}}, "OVERLOADED"),
        (413, {}, "CONTEXT_TOO_LONG"),
        (404, {"detail": "Not Found"}, "MODEL_NOT_SERVED"),
        (500, {}, "UPSTREAM_FAULT"),
    ],
)
def test_expected_errors(status: int, body: dict[str, Any], kind: str) -> None:
    """A recorded error is of the kind that the design's table gives it."""
    assert expected(status, {}, json.dumps(body).encode(), wire="openai_chat") == {kind}


def test_expected_error_of_aws() -> None:
    """AWS says its code in a header, with an address behind it."""
    headers = {"x-amzn-errortype": "ModelNotReadyException:http://internal/"}
    assert expected(429, headers, b'{"message":"x"}', wire="bedrock") == {"WARMING"}


def test_waits() -> None:
    """Milliseconds are more exact than seconds, and Google says it in the body."""
    assert waits({"retry-after": "1", "retry-after-ms": "250"}, b"") == 0.25
    assert waits({"retry-after": "7"}, b"") == 7
    assert waits({}, json.dumps({"error": {"details": [{"retryDelay": "37s"}]}}).encode()) == 37
    assert waits({}, b"") is None


def test_limits() -> None:
    """The window that is used up most counts, whatever order its name is in."""
    headers = {
        "anthropic-ratelimit-requests-limit": "10",
        "anthropic-ratelimit-requests-remaining": "9",
        "x-ratelimit-limit-tokens-minute": "100",
        "x-ratelimit-remaining-tokens-minute": "10",
        "x-ratelimit-limit-tokens-day": "1000",
        "x-ratelimit-remaining-tokens-day": "900",
        "x-ratelimit-remaining-input-images": "1",
    }
    assert remaining(headers) == {"requests": {9.0}, "tokens": {10.0}}
    assert remaining({"ratelimit-remaining": "599"}) == {"requests": {599.0}}
    assert remaining({"retry-after": "1", "x-ratelimit-remaining-requests": "-1"}) == {}
    overdrawn = {"x-ratelimit-remaining-requests": "-1", "x-ratelimit-limit-requests": "5"}
    assert remaining(overdrawn) == {"requests": {0.0}}


@pytest.mark.parametrize(
    ("provider", "url", "wire", "profile"),
    [
        ("groq", "/openai/v1/chat/completions", "openai_chat", "groq"),
        ("llamacpp", "/v1/chat/completions", "openai_chat", "llama_cpp"),
        ("", "https://api.groq.com/openai/v1/chat/completions", "openai_chat", "groq"),
        ("somebody", "https://h/v1/chat/completions", "openai_chat", "generic"),
        ("azure", "https://r.openai.azure.com/openai/deployments/d/chat/completions", "openai_chat", "azure"),
        ("anthropic", "/v1/messages", "anthropic", "anthropic"),
        ("gemini", "/v1beta/models/m:streamGenerateContent", "gemini", "gemini"),
        ("vertex", "/v1/projects/p/locations/l/publishers/google/models/m:generateContent", "gemini", "vertex"),
        ("bedrock", "/model/a.b-v1%3A0/converse-stream", "bedrock", "bedrock"),
        ("bedrock", "https://h/openai/v1/chat/completions", "openai_chat", "generic"),
        ("ollama", "/api/generate", "ollama", "ollama"),
    ],
)
def test_routes(provider: str, url: str, wire: str, profile: str) -> None:
    """The endpoint says which wire it is, the provider which dialect; a stranger's is the generic one."""
    found = route(Interaction(provider=provider, url=url))
    assert isinstance(found, Route)
    assert (found.wire, found.profile) == (wire, profile)


@pytest.mark.parametrize(
    ("method", "url", "reason"),
    [
        ("POST", "/v1/responses", "Responses API"),
        ("POST", "/v1/embeddings", "embeddings"),
        ("POST", "/v1beta/models/m:batchEmbedContents", "embeddings"),
        ("POST", "/v1/images/generations", "images"),
        ("POST", "/v1/files", "files"),
        ("POST", "/v1/messages/count_tokens", "counts tokens"),
        ("POST", "/v1beta/models/m:countTokens", "counts tokens"),
        ("POST", "/model/m/invoke", "InvokeModel"),
        ("POST", "/model/m/invoke-with-response-stream", "InvokeModel"),
        ("POST", "/v1/messages/batches", "batches"),
        ("POST", "/v1/threads/t/messages", "Assistants"),
        ("POST", "/generate", "native"),
        ("GET", "/v1/models", "list of models"),
        ("GET", "/v1/other", "no wire here: GET /v1/other"),
    ],
)
def test_not_applicable(method: str, url: str, reason: str) -> None:
    """What does not generate, or not on a wire that is spoken here, says why."""
    found = route(Interaction(method=method, url=url))
    assert isinstance(found, NotApplicable)
    assert reason in found.reason


def test_a_refused_list_of_models_is_a_probe() -> None:
    """A list of models that was refused is what a probe sees."""
    found = route(Interaction(method="GET", url="/v1/models", status=401, provider="anthropic"))
    assert found == Route(wire="anthropic", profile="anthropic", probes=True)


@pytest.mark.parametrize(
    "request_body", [{"n": 2}, {"generationConfig": {"candidateCount": 3}}, {"modalities": ["text", "audio"]}]
)
def test_what_the_router_never_asks_for(request_body: dict[str, Any]) -> None:
    """Several answers, or sound, are not what an adapter is asked for."""
    found = route(Interaction(url="/v1/chat/completions", request=request_body))
    assert isinstance(found, NotApplicable)
