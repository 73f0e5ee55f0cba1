"""Requests as inputs of a prediction, and what has no place among them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from backends.contract import (
    GenerateRequest,
    ImagePart,
    Message,
    ResponseFormat,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
)
from backends.errors import BackendError, ModelNotServed, Unsupported
from backends.http.exchange import Outgoing
from backends.replicate.build import settings
from backends.replicate.dialects import REPLICATE
from backends.replicate.encode import encode

SYSTEM = Message(role="system", content="Be brief.")
USER = Message(role="user", content="hi")
ASSISTANT = Message(role="assistant", content="Hello.")


def sent(request: GenerateRequest, model: str = "a/b", **options: str) -> Outgoing:
    return encode(request, upstream_model=model, dialect=REPLICATE, settings=settings(options))


def inputs(request: GenerateRequest, **options: str) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(sent(request, **options).body)["input"]
    return found


def ask(*messages: Message, **fields: Any) -> GenerateRequest:
    return GenerateRequest(model="m", messages=messages or (USER,), **fields)


def test_the_least_request_is_a_prompt() -> None:
    """And the wish for a stream."""
    outgoing = sent(ask())
    assert outgoing.path == "/v1/models/a/b/predictions"
    assert msgspec.json.decode(outgoing.body) == {"input": {"prompt": "hi"}, "stream": True}
    assert outgoing.headers == ()


@pytest.mark.parametrize(
    ("model", "options", "path", "version"),
    [
        ("meta/llama 3", {}, "/v1/models/meta/llama%203/predictions", None),
        ("own/er", {"deployment": "true"}, "/v1/deployments/own/er/predictions", None),
        ("own/er:abc", {}, "/v1/predictions", "abc"),
        ("f" * 64, {}, "/v1/predictions", "f" * 64),
    ],
)
def test_the_model_decides_where_it_is_asked(model: str, options: dict[str, str], path: str, version: str) -> None:
    """Names cannot leave their place in the path."""
    outgoing = sent(ask(), model, **options)
    assert outgoing.path == path
    assert msgspec.json.decode(outgoing.body).get("version") == version


@pytest.mark.parametrize("model", ["", "llama", "/b", "a/", "a/b/c", "a/b/../c"])
def test_a_name_that_is_none_is_not_served(model: str) -> None:
    """Nothing is sent for it."""
    with pytest.raises(ModelNotServed):
        sent(ask(), model)


def test_settings_rename_the_inputs() -> None:
    """Models call them as they like."""
    options = {"prompt_field": "text", "system_field": "system", "max_tokens_field": "max_new_tokens"}
    messages = (SYSTEM, Message(role="system", content="In French."), USER)
    assert inputs(ask(*messages, sampling=Sampling(max_output_tokens=5)), **options) == {
        "text": "hi",
        "system": "Be brief.\n\nIn French.",
        "max_new_tokens": 5,
    }


def test_parts_of_text_are_one_text() -> None:
    """One below the other."""
    parts = Message(role="user", content=(TextPart(text="a"), TextPart(text="b")))
    assert inputs(ask(parts)) == {"prompt": "a\nb"}


def test_every_sampling_parameter_has_its_name() -> None:
    """Zero is a value, and is sent."""
    sampling = Sampling(
        max_output_tokens=9,
        temperature=0.0,
        top_p=0.9,
        top_k=4,
        seed=0,
        stop=("a", "b"),
        presence_penalty=0.1,
        frequency_penalty=0.2,
    )
    assert inputs(ask(sampling=sampling)) == {
        "prompt": "hi",
        "max_tokens": 9,
        "temperature": 0.0,
        "top_p": 0.9,
        "top_k": 4,
        "seed": 0,
        "stop_sequences": "a,b",
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
    }


def test_a_template_makes_one_prompt_of_all_turns() -> None:
    """A last message of the assistant is continued."""
    found = inputs(ask(SYSTEM, USER, Message(role="assistant", content="He")), chat_template="chatml")
    assert found["prompt_template"] == "{prompt}"
    assert found["prompt"].endswith("<|im_start|>assistant\nHe")
    assert "system_prompt" not in found


CALL = ToolCall(id="1", name="f", arguments="{}")


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (ask(USER, ASSISTANT, USER), "messages"),
        (ask(USER, ASSISTANT), "messages"),
        (ask(USER, SYSTEM), "messages"),
        (ask(Message(role="user", content="x", name="ann")), "messages[].name"),
        (ask(Message(role="user", content=(ImagePart(url="data:image/png;base64,QUJD"),))), "messages[].content"),
        (ask(USER, Message(role="assistant", tool_calls=(CALL,)), USER), "messages[].tool_calls"),
        (ask(USER, Message(role="tool", content="x", tool_call_id="1")), "messages[].tool_calls"),
        (ask(tools=(Tool(name="f"),)), "tools"),
        (ask(response_format=ResponseFormat(kind="json_object")), "response_format"),
        (ask(sampling=Sampling(logprobs=True)), "logprobs"),
        (ask(sampling=Sampling(min_p=0.1)), "min_p"),
        (ask(sampling=Sampling(repetition_penalty=1.1)), "repetition_penalty"),
        (ask(sampling=Sampling(reasoning_effort="low")), "reasoning_effort"),
        (ask(sampling=Sampling(stop=("a,b",))), "stop"),
        (GenerateRequest(model="m", prompt="x"), "prompt"),
    ],
)
def test_what_has_no_place_among_the_inputs_is_refused(request_: GenerateRequest, param: str) -> None:
    """Nothing that was asked for is dropped in silence."""
    with pytest.raises(Unsupported) as caught:
        sent(request_)
    assert caught.value.param == param
    assert isinstance(caught.value, BackendError)


def test_a_template_that_is_none_is_refused_when_the_backend_is_built() -> None:
    """Not with the first request."""
    with pytest.raises(ValueError, match="chat_template"):
        settings({"chat_template": "file:/nowhere/at/all.jinja"})
