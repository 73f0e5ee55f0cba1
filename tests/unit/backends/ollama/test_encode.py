"""Requests in Ollama's words: what is said, and what is refused because the wire has no word for it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from backends.contract import (
    GenerateRequest,
    ImagePart,
    Message,
    ReasoningBlock,
    ResponseFormat,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
)
from backends.errors import BadRequest, Unsupported
from backends.ollama.dialects import OLLAMA
from backends.ollama.encode import Settings, encode

USER = Message(role="user", content="hi")
TOOL = Tool(name="add", description="adds", parameters=msgspec.Raw(b'{"type":"object"}'))


def body(request: GenerateRequest, **settings: Any) -> dict[str, Any]:
    _, sent = encode(request, upstream_model="llama3:8b", dialect=OLLAMA, settings=Settings(**settings))
    decoded: dict[str, Any] = msgspec.json.decode(sent)
    return decoded


def ask(*messages: Message, **fields: Any) -> GenerateRequest:
    return GenerateRequest(model="m", messages=messages or (USER,), **fields)


def test_the_least_request_says_that_nothing_may_be_cut() -> None:
    """A prompt that does not fit is refused by the server, not shortened in silence."""
    assert body(ask()) == {
        "model": "llama3:8b",
        "stream": True,
        "truncate": False,
        "shift": False,
        "messages": [{"role": "user", "content": "hi"}],
    }


def test_the_backend_settings_are_sent_with_every_request() -> None:
    """The window among the options, the time in memory beside them."""
    sent = body(ask(), num_ctx=16384, keep_alive="30m")
    assert (sent["options"], sent["keep_alive"]) == ({"num_ctx": 16384}, "30m")


def test_every_sampling_parameter_has_its_name() -> None:
    """Options are by Ollama's names; log-probabilities and thinking stand beside them."""
    sampling = Sampling(
        max_output_tokens=9,
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        stop=("a", "b"),
        seed=7,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        repetition_penalty=1.1,
        min_p=0.05,
        logprobs=True,
        top_logprobs=3,
        reasoning_effort="high",
    )
    sent = body(ask(sampling=sampling))
    assert sent["options"] == {
        "num_predict": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "stop": ["a", "b"],
        "seed": 7,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "repeat_penalty": 1.1,
        "min_p": 0.05,
    }
    assert (sent["logprobs"], sent["top_logprobs"], sent["think"]) == (True, 3, "high")


@pytest.mark.parametrize(
    ("effort", "think"),
    [("none", False), ("minimal", "low"), ("low", "low"), ("medium", "medium"), ("high", "high"), (None, None)],
)
def test_effort_becomes_a_level_of_thinking(effort: str | None, think: object) -> None:
    """Where nothing is asked nothing is said: the model's own default holds."""
    assert body(ask(sampling=Sampling(reasoning_effort=effort))).get("think") == think


def test_a_picture_is_sent_as_bytes_beside_the_text() -> None:
    """The base64 of its data URL, without the URL."""
    parts = (TextPart(text="one"), ImagePart(url="data:image/png;base64,QUJD"), TextPart(text="two"))
    assert body(ask(Message(role="user", content=parts)))["messages"] == [
        {"role": "user", "content": "one\ntwo", "images": ["QUJD"]}
    ]


def test_a_call_and_its_result_go_back_as_the_server_gave_them() -> None:
    """Arguments are an object again, in the order and with the numbers they had; a result names its tool."""
    call = ToolCall(id="call_1", name="add", arguments='{"b": 2.50, "a": 12345678901234567890}')
    assistant = Message(role="assistant", tool_calls=(call,), reasoning=(ReasoningBlock(text="hm", signature="x"),))
    request = ask(USER, assistant, Message(role="tool", content="3", tool_call_id="call_1"), tools=(TOOL,))
    _, sent = encode(request, upstream_model="m", dialect=OLLAMA, settings=Settings())
    assert b'"arguments":{"b":2.50,"a":12345678901234567890}' in sent
    messages = msgspec.json.decode(sent)["messages"]
    assert messages[1]["thinking"] == "hm"
    assert messages[2] == {"role": "tool", "content": "3", "tool_call_id": "call_1", "tool_name": "add"}


def test_tools_are_offered_by_their_schema() -> None:
    """A tool without one takes no arguments; what is not to be called is not offered."""
    assert body(ask(tools=(TOOL, Tool(name="now"))))["tools"] == [
        {"type": "function", "function": {"name": "add", "description": "adds", "parameters": {"type": "object"}}},
        {
            "type": "function",
            "function": {"name": "now", "description": "", "parameters": {"type": "object", "properties": {}}},
        },
    ]
    assert "tools" not in body(ask(tools=(TOOL,), tool_choice=ToolChoice(mode="none")))


@pytest.mark.parametrize(
    ("wanted", "sent"),
    [
        (ResponseFormat(), None),
        (ResponseFormat(kind="json_object"), "json"),
        (ResponseFormat(kind="json_schema", name="n", schema=msgspec.Raw(b'{"type":"object"}')), {"type": "object"}),
    ],
)
def test_a_format_is_json_or_its_schema(wanted: ResponseFormat, sent: object) -> None:
    """Text is no format."""
    assert body(ask(response_format=wanted)).get("format") == sent


def test_a_plain_prompt_goes_as_it_is() -> None:
    """Without the model's template around it."""
    path, sent = encode(
        GenerateRequest(model="m", prompt="Once"), upstream_model="m", dialect=OLLAMA, settings=Settings()
    )
    assert path == "/api/generate"
    assert msgspec.json.decode(sent) == {
        "model": "m",
        "stream": True,
        "truncate": False,
        "shift": False,
        "prompt": "Once",
        "raw": True,
    }


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (ask(USER, Message(role="assistant", content="I")), "messages"),
        (ask(Message(role="user", content="hi", name="ann")), "messages[].name"),
        (ask(Message(role="user", content=(ImagePart(url="https://x/y.png"),))), "messages[].content"),
        (ask(tools=(TOOL,), tool_choice=ToolChoice(mode="required")), "tool_choice"),
        (ask(tools=(TOOL,), tool_choice=ToolChoice(mode="function", name="add")), "tool_choice"),
        (ask(tools=(TOOL,), tool_choice=ToolChoice(parallel=False)), "parallel_tool_calls"),
        (ask(sampling=Sampling(reasoning_effort="xhigh")), "reasoning_effort"),
        (GenerateRequest(model="m", prompt="x", tools=(TOOL,)), "prompt"),
        (GenerateRequest(model="m", prompt="x", response_format=ResponseFormat(kind="json_object")), "prompt"),
    ],
)
def test_what_the_wire_has_no_word_for_is_refused(request_: GenerateRequest, param: str) -> None:
    """Nothing that was asked for is dropped in silence."""
    with pytest.raises(Unsupported) as caught:
        body(request_)
    assert caught.value.param == param


@pytest.mark.parametrize(
    "arguments", ["[1]", '{"a":', '"x"', pytest.param('{"a":' + "[" * 100_000 + "]" * 100_000 + "}", id="deep")]
)
def test_arguments_that_are_no_object_are_the_callers_mistake(arguments: str) -> None:
    """The wire takes objects only, and nobody can guess what was meant."""
    call = ToolCall(id="1", name="add", arguments=arguments)
    with pytest.raises(BadRequest) as caught:
        body(ask(USER, Message(role="assistant", tool_calls=(call,)), Message(role="tool", tool_call_id="1")))
    assert caught.value.param == "messages[].tool_calls"


def test_a_picture_that_cannot_be_read_is_the_callers_mistake() -> None:
    """Its base64 is checked before it is sent."""
    broken = Message(role="user", content=(ImagePart(url="data:image/png;base64,?"),))
    with pytest.raises(BadRequest):
        body(ask(broken))
