"""What /v1/chat/completions and /v1/completions refuse, field by field, and with which words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from router.api.wire.openai_request import decode_chat, decode_completion
from router.errors import InvalidRequest, UnknownParameter
from router.errors import UnsupportedParameter as Refused

USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@dataclass(frozen=True)
class Case:
    """Fields added to a good body, and the violation that they are to cause."""

    fields: dict[str, Any]
    param: str
    says: str
    kind: type[InvalidRequest] = InvalidRequest


def _messages(*messages: object) -> dict[str, Any]:
    return {"messages": list(messages)}


def _user(*parts: object) -> dict[str, Any]:
    return _messages(USER, {"role": "user", "content": list(parts)})


def _router(**wishes: object) -> dict[str, Any]:
    return {"router": wishes}


WRONG = (
    Case({"model": ""}, "model", "length >= 1"),
    Case({"model": "a\nb"}, "model", "control characters"),
    Case({"user": "a\nb"}, "user", "matching regex"),
    Case({"user": "u" * 257}, "user", "length <= 256"),
    Case({"model": 3}, "model", "expected `str`, got `int`"),
    Case({"messages": []}, "messages", "length >= 1"),
    Case({"messages": "hi"}, "messages", "expected `array`, got `str`"),
    Case(_messages({"content": "hi"}), "messages.0.role", "is required"),
    Case(_messages({"role": "usr", "content": "hi"}), "messages.0.role", "did you mean 'user'?"),
    Case(_messages({"role": "user"}), "messages.0.content", "is required"),
    Case(_messages({"role": "user", "content": None}), "messages.0.content", "got `null`"),
    Case(_messages({"role": "user", "content": []}), "messages.0.content", "length >= 1"),
    Case(_messages({"role": "system", "content": [IMAGE]}), "messages.0.content.0.type", "'image_url' is not a valid"),
    Case(_messages({"role": "assistant", "content": None}), "messages.0.content", "unless there are tool_calls"),
    Case(_messages({"role": "tool", "content": "x"}), "messages.0.tool_call_id", "is required"),
    Case(
        _messages({"role": "assistant", "tool_calls": [CALL | {"function": {"name": "f", "arguments": "{"}}]}),
        "messages.0.tool_calls.0.function.arguments",
        "must be a JSON object",
    ),
    Case(_user({"type": "image_url", "image_url": "http://x"}), "messages.1.content.0.image_url", "expected `object`"),
    Case(_user(IMAGE, {"type": "image_url", "image_url": {}}), "messages.1.content.1.image_url.url", "is required"),
    Case(
        _user({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}),
        "messages.1.content.0.image_url.url",
        "must be an http, https or data URL",
    ),
    Case(_user({"type": "txt", "text": "x"}), "messages.1.content.0.type", "did you mean 'text'?"),
    Case({"temperature": 3}, "temperature", "<= 2.0"),
    Case({"temperature": "hot"}, "temperature", "got `str`"),
    Case({"top_p": 0}, "top_p", "> 0.0"),
    Case({"top_k": 0}, "top_k", ">= 1"),
    Case({"seed": 2**63}, "seed", "<= 9223372036854775807"),
    Case({"presence_penalty": -3}, "presence_penalty", ">= -2.0"),
    Case({"max_tokens": 0}, "max_tokens", ">= 1"),
    Case({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens", "contradicts max_completion_tokens"),
    Case({"stop": ["a", ""]}, "stop.1", "length >= 1"),
    Case({"stop": ["x"] * 17}, "stop", "length <= 16"),
    Case({"top_logprobs": 2}, "top_logprobs", "needs logprobs"),
    Case({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "<= 20"),
    Case({"stream": "yes"}, "stream", "expected `bool | null`"),
    Case({"stream_options": {"include_usage": True}}, "stream_options", "only when stream is true"),
    Case({"tool_choice": "required"}, "tool_choice", "only when tools are given"),
    Case({"tools": [TOOL], "tool_choice": "requird"}, "tool_choice", "did you mean 'required'?"),
    Case({"tools": [TOOL, TOOL]}, "tools.1.function.name", "an earlier tool"),
    Case({"tools": [{"type": "function"}]}, "tools.0.function", "is required"),
    Case(
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
        "tool_choice.function.name",
        "not the name of a tool",
    ),
    Case(
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": [1]}}]},
        "tools.0.function.parameters",
        "must be a JSON object",
    ),
    Case({"response_format": {"type": "json"}}, "response_format.type", "one of text, json_object"),
    Case({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "is required"),
    Case(
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}},
        "response_format.json_schema.schema",
        "is required",
    ),
    Case({"reasoning_effort": "hi"}, "reasoning_effort", "did you mean 'high'?"),
    Case(_router(privacy="on-device"), "router.privacy", "did you mean 'on_device'?"),
    Case(_router(objective="speed"), "router.objective", "one of balanced, latency, cost, energy"),
    Case(_router(max_attempts=9), "router.max_attempts", "<= 5"),
    Case(_router(max_cost_usd=-1), "router.max_cost_usd", ">= 0.0"),
    Case(_router(slo={"probability": 1}), "router.slo.probability", "< 1.0"),
    Case(_router(capabilities=["tools", "vison"]), "router.capabilities.1", "did you mean 'vision'?"),
    Case(_router(timeout_s=0), "router.timeout_s", "> 0.0"),
    Case({"stream": True} | _router(on_stream_break="restart"), "router.on_stream_break", "use 'continue'"),
)
UNKNOWN = (
    Case(_messages(USER | {"tool_calls": [CALL]}), "messages.0.tool_calls", "does not belong here", UnknownParameter),
    Case({"temprature": 1}, "temprature", "did you mean 'temperature'?", UnknownParameter),
    Case({"ignore_eos": True}, "ignore_eos", "is not a known field", UnknownParameter),
    Case(_router(privcy="any"), "router.privcy", "did you mean 'privacy'?", UnknownParameter),
    Case(_router(slo={"ttft": 1}), "router.slo.ttft", "did you mean 'ttft_s'?", UnknownParameter),
    Case(_user({"type": "text", "txt": "x"}), "messages.1.content.0.txt", "did you mean 'text'?", UnknownParameter),
    Case({"stream": True, "stream_options": {"usage": True}}, "stream_options.usage", "did you mean", UnknownParameter),
)
REFUSED = (
    Case({"n": 2}, "n", "one answer per request", Refused),
    Case({"logit_bias": {"50256": -100}}, "logit_bias", "not passed on", Refused),
    Case({"audio": {"voice": "alloy"}}, "audio", "audio output", Refused),
    Case({"modalities": ["text", "audio"]}, "modalities", "text is the only", Refused),
    Case({"prediction": {"type": "content"}}, "prediction", "predicted outputs", Refused),
    Case({"web_search_options": {}}, "web_search_options", "web search", Refused),
    Case({"moderation": {"model": "m"}}, "moderation", "moderation", Refused),
    Case({"verbosity": "low"}, "verbosity", "ask for it in the prompt", Refused),
    Case({"service_tier": "flex"}, "service_tier", "router.priority", Refused),
    Case({"functions": [{"name": "f"}]}, "functions", "use tools", Refused),
    Case({"function_call": "auto"}, "function_call", "use tool_choice", Refused),
    Case({"tools": [{"type": "custom", "custom": {}}]}, "tools.0.type", "custom tools", Refused),
    Case({"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, "tool_choice.type", "offer", Refused),
    Case(
        {"stream": True, "stream_options": {"include_obfuscation": True}},
        "stream_options.include_obfuscation",
        "",
        Refused,
    ),
    Case(_user({"type": "input_audio", "input_audio": {}}), "messages.1.content.0.input_audio", "", Refused),
    Case(_user(IMAGE, {"type": "file", "file": {}}), "messages.1.content.1.file", "", Refused),
    Case(
        _messages({"role": "function", "name": "f", "content": "x"}),
        "messages.0.role",
        "role tool",
        Refused,
    ),
    Case(_messages({"role": "assistant", "function_call": {}}), "messages.0.function_call", "", Refused),
    Case(_messages({"role": "assistant", "audio": {"id": "a"}}), "messages.0.audio", "", Refused),
    Case(
        _messages({"role": "assistant", "tool_calls": [{"id": "c", "type": "custom"}]}),
        "messages.0.tool_calls.0.type",
        "custom tools",
        Refused,
    ),
)
COMPLETIONS = (
    Case({"prompt": ["a", "b"]}, "prompt", "one prompt per request", Refused),
    Case({"prompt": [1, 2]}, "prompt", "token ids", Refused),
    Case({"prompt": ""}, "prompt", "must not be empty"),
    Case({"prompt": None}, "prompt", "must be a string"),
    Case({"best_of": 2}, "best_of", "one answer", Refused),
    Case({"echo": True}, "echo", "not given back", Refused),
    Case({"suffix": "x"}, "suffix", "insertion", Refused),
    Case({"n": 2}, "n", "one answer", Refused),
    Case({"logprobs": True}, "logprobs", "got `bool`"),
    Case({"messages": [USER]}, "messages", "not a known field", UnknownParameter),
)


def _id(case: Case) -> str:
    return f"{case.param}-{case.says}"[:50]


@pytest.mark.parametrize("case", [*WRONG, *UNKNOWN, *REFUSED], ids=_id)
def test_a_bad_chat_names_its_field(case: Case) -> None:
    """The error is of the right kind, and its first violation has the exact path and says what is wrong."""
    body = msgspec.json.encode({"model": "m", "messages": [USER]} | case.fields)

    with pytest.raises(InvalidRequest) as caught:
        decode_chat(body, [], request_id="r", now=0.0)

    assert type(caught.value) is case.kind
    assert caught.value.violations[0].field == case.param
    assert case.says in caught.value.violations[0].description


@pytest.mark.parametrize("case", COMPLETIONS, ids=_id)
def test_a_bad_completion_names_its_field(case: Case) -> None:
    """The same for /v1/completions."""
    body = msgspec.json.encode({"model": "m", "prompt": "x"} | case.fields)

    with pytest.raises(InvalidRequest) as caught:
        decode_completion(body, [], request_id="r", now=0.0)

    assert type(caught.value) is case.kind
    assert caught.value.violations[0].field == case.param
    assert case.says in caught.value.violations[0].description


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "truncated"),
        (b'{"model":"m",}', "trailing comma in object (byte 13)"),
        (b'{"model": "m" "x"}', "(byte 14)"),
        (b"[1]", "expected `object`, got `array`"),
        (b'{"model":"\xff"}', "utf-8"),
        (b'{"model":"m","metadata":{"a":' + b"[" * 5_000, ""),
        (b'{"model":"m","audio":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    ],
    ids=["empty", "comma", "colon", "array", "utf8", "cut", "deep"],
)
def test_what_is_not_json_is_said_with_its_place(body: bytes, says: str) -> None:
    """A body that is no JSON object is refused, with the byte where that is known."""
    with pytest.raises(InvalidRequest) as caught:
        decode_chat(body, [], request_id="r", now=0.0)

    assert says in caught.value.violations[0].description


@pytest.mark.parametrize(
    ("name", "value", "param", "says"),
    [
        (b"x-router-privcy", b"any", "x-router-privcy", "did you mean 'x-router-privacy'?"),
        (b"x-router-privacy", b"private", "x-router-privacy", "one of any"),
        (b"x-router-slo-ttft-s", b"fast", "x-router-slo-ttft-s", "expected `float | null`"),
        (b"x-router-max-attempts", b"9", "x-router-max-attempts", "<= 5"),
        (b"x-router-capabilities", b"tools, vison", "x-router-capabilities", "did you mean 'vision'?"),
        (b"x-router-explain", b"perhaps", "x-router-explain", "expected `bool | null`"),
    ],
)
def test_a_bad_header_is_named(name: bytes, value: bytes, param: str, says: str) -> None:
    """A wish in a header is checked like one in the body, and the error names the header."""
    body = msgspec.json.encode({"model": "m", "messages": [USER]})

    with pytest.raises(InvalidRequest) as caught:
        decode_chat(body, [(name, value)], request_id="r", now=0.0)

    assert caught.value.violations[0].field == param
    assert says in caught.value.violations[0].description


def test_all_that_is_wrong_is_said_at_once() -> None:
    """What is refused is listed whole, and so are violations that need more than one field to be seen."""
    refused = msgspec.json.encode({"model": "m", "messages": [USER], "n": 2, "verbosity": "low", "audio": {}})
    wrong = msgspec.json.encode({"model": "m", "messages": [USER], "top_logprobs": 2, "stream_options": {}})

    with pytest.raises(Refused) as first:
        decode_chat(refused, [], request_id="r", now=0.0)
    with pytest.raises(InvalidRequest) as second:
        decode_chat(wrong, [], request_id="r", now=0.0)

    assert [violation.field for violation in first.value.violations] == ["n", "audio", "verbosity"]
    assert [violation.field for violation in second.value.violations] == ["top_logprobs", "stream_options"]
