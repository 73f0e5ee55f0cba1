"""Requests in the words of each dialect."""

from __future__ import annotations

from dataclasses import dataclass, field
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
    ToolChoice,
)
from backends.errors import Unsupported
from backends.openai.encode import encode
from backends.openai.profiles import PROFILES

HI = (Message(role="user", content="hi"),)
TOOL = Tool(name="f", parameters=msgspec.Raw(b'{"type":"object"}'))
SCHEMA = ResponseFormat(kind="json_schema", schema=msgspec.Raw(b'{"type":"object"}'), strict=True)


def sent(profile: str, **fields: Any) -> dict[str, Any]:
    fields = {"messages": HI, **fields} if "prompt" not in fields else fields
    _, body = encode(GenerateRequest(model="m", **fields), upstream_model="up", profile=PROFILES[profile])
    found: dict[str, Any] = msgspec.json.decode(body)
    return found


def test_only_what_was_asked_is_sent() -> None:
    """A plain request holds the model, the messages and the wish to stream with usage."""
    assert sent("vllm") == {
        "model": "up",
        "stream": True,
        "messages": [{"role": "user", "content": "hi"}],
        "stream_options": {"include_usage": True},
    }


@dataclass(frozen=True, slots=True)
class Case:
    """Sampling and what it looks like on one profile's wire."""

    id: str
    profile: str
    sampling: Sampling
    wire: dict[str, Any] = field(default_factory=dict)


@pytest.mark.parametrize(
    "case",
    [
        Case("vllm limit", "vllm", Sampling(max_output_tokens=5), {"max_tokens": 5}),
        Case("openai limit", "openai", Sampling(max_output_tokens=5), {"max_completion_tokens": 5}),
        Case("groq limit", "groq", Sampling(max_output_tokens=5), {"max_completion_tokens": 5}),
        Case("samplers", "vllm", Sampling(top_k=4, min_p=0.1), {"top_k": 4, "min_p": 0.1}),
        Case("vllm repetition", "vllm", Sampling(repetition_penalty=1.1), {"repetition_penalty": 1.1}),
        Case("llama repetition", "llama_cpp", Sampling(repetition_penalty=1.1), {"repeat_penalty": 1.1}),
        Case("mistral seed", "mistral", Sampling(seed=7), {"random_seed": 7}),
        Case("zero is a value", "openai", Sampling(temperature=0.0, seed=0), {"temperature": 0.0, "seed": 0}),
        Case("stop", "openai", Sampling(stop=("a", "b")), {"stop": ["a", "b"]}),
        Case("logprobs", "openai", Sampling(logprobs=True, top_logprobs=2), {"logprobs": True, "top_logprobs": 2}),
        Case("effort", "openai", Sampling(reasoning_effort="low"), {"reasoning_effort": "low"}),
        Case(
            "penalties",
            "openai",
            Sampling(presence_penalty=0.5, frequency_penalty=-0.5),
            {"presence_penalty": 0.5, "frequency_penalty": -0.5},
        ),
    ],
    ids=lambda case: case.id,
)
def test_sampling_has_the_names_of_the_dialect(case: Case) -> None:
    """Each parameter goes out under the name that this server knows."""
    plain = sent(case.profile)
    assert {name: value for name, value in sent(case.profile, sampling=case.sampling).items() if name not in plain} == (
        case.wire
    )


@pytest.mark.parametrize(
    ("profile", "fields", "param"),
    [
        ("openai", {"sampling": Sampling(top_k=4)}, "top_k"),
        ("groq", {"sampling": Sampling(logprobs=True)}, "logprobs"),
        ("groq", {"messages": (Message(role="user", content="x", name="bob"),)}, "messages[].name"),
        ("cerebras", {"sampling": Sampling(presence_penalty=1.0)}, "presence_penalty"),
        ("deepseek", {"response_format": SCHEMA}, "response_format"),
        ("deepseek", {"sampling": Sampling(seed=1)}, "seed"),
        ("deepseek", {"tools": (TOOL,), "tool_choice": ToolChoice(parallel=False)}, "parallel_tool_calls"),
        ("cerebras", {"messages": (Message(role="user", content=(ImagePart(url="u"),)),)}, "messages[].content"),
        ("together", {"sampling": Sampling(logprobs=True)}, "logprobs"),
        ("llama_cpp", {"sampling": Sampling(reasoning_effort="low")}, "reasoning_effort"),
        ("vllm", {"prompt": "x", "tools": (TOOL,)}, "prompt"),
    ],
)
def test_what_a_dialect_cannot_say_is_refused(profile: str, fields: dict[str, Any], param: str) -> None:
    """A wish is never dropped in silence; another backend may take it."""
    with pytest.raises(Unsupported) as caught:
        sent(profile, **fields)
    assert caught.value.param == param
    assert caught.value.retryable
    assert not caught.value.counts_against_health


def test_the_end_user_is_left_out_where_it_is_refused() -> None:
    """The caller's own user shapes no answer, so a server that refuses the field still gets the request."""
    assert sent("openai", end_user="u")["user"] == "u"
    assert "user" not in sent("mistral", end_user="u")


def test_stream_options_follow_the_dialect() -> None:
    """Usage is asked for where that is needed, padding is switched off, and a strict server gets neither field."""
    assert sent("openai")["stream_options"] == {"include_usage": True, "include_obfuscation": False}
    assert sent("groq")["stream_options"] == {"include_usage": True}
    assert "stream_options" not in sent("mistral")


def test_a_prompt_goes_to_the_completions_endpoint() -> None:
    """Raw prompts keep their own endpoint, its older name of the limit and its number of log-probabilities."""
    request = GenerateRequest(
        model="m", prompt="once", sampling=Sampling(max_output_tokens=3, logprobs=True, top_logprobs=2)
    )
    path, body = encode(request, upstream_model="up", profile=PROFILES["openai"])
    assert path == "/v1/completions"
    wire = msgspec.json.decode(body)
    assert (wire["prompt"], wire["max_tokens"], wire["logprobs"]) == ("once", 3, 2)
    assert "messages" not in wire


def test_a_conversation_with_tools_and_images() -> None:
    """Parts, calls and results have the wire's form."""
    messages = (
        Message(role="system", content=(TextPart(text="be brief"),)),
        Message(role="user", content=(TextPart(text="what"), ImagePart(url="data:image/png;base64,AA", detail="low"))),
        Message(role="assistant", tool_calls=(ToolCall(id="call_1", name="f", arguments=""),)),
        Message(role="tool", content="42", tool_call_id="call_1"),
    )
    wire = sent("openai", messages=messages, tools=(TOOL,), tool_choice=ToolChoice(mode="required", parallel=False))
    assert wire["messages"] == [
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "what"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}},
            ],
        },
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "42", "tool_call_id": "call_1"},
    ]
    assert wire["tools"] == [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    assert (wire["tool_choice"], wire["parallel_tool_calls"]) == ("required", False)


def test_a_named_tool_and_mistrals_word_for_any() -> None:
    """The choice of one tool is an object everywhere; "some tool" has two names."""
    named = sent("openai", tools=(TOOL,), tool_choice=ToolChoice(mode="function", name="f"))
    assert named["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert sent("mistral", tools=(TOOL,), tool_choice=ToolChoice(mode="required"))["tool_choice"] == "any"
    assert "tool_choice" not in sent("openai", tool_choice=ToolChoice(mode="auto"))


def test_ids_of_tool_calls_fit_mistral() -> None:
    """A foreign id becomes nine alphanumerics, the same for call and result; a fitting one is kept."""
    messages = (
        Message(
            role="assistant",
            tool_calls=(
                ToolCall(id="call_abc", name="f", arguments="{}"),
                ToolCall(id="Ab3456789", name="g", arguments="{}"),
            ),
        ),
        Message(role="tool", content="x", tool_call_id="call_abc"),
    )
    wire = sent("mistral", messages=messages)["messages"]
    foreign, kept = (call["id"] for call in wire[0]["tool_calls"])
    assert len(foreign) == 9
    assert foreign.isalnum()
    assert foreign == wire[1]["tool_call_id"]
    assert kept == "Ab3456789"


def test_structured_output() -> None:
    """A schema always has the name that the wire demands."""
    assert sent("openai", response_format=SCHEMA)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "response", "schema": {"type": "object"}, "strict": True},
    }
    assert sent("deepseek", response_format=ResponseFormat(kind="json_object"))["response_format"] == {
        "type": "json_object"
    }


@pytest.mark.parametrize(
    ("profile", "body", "last"),
    [
        ("vllm", {"continue_final_message": True, "add_generation_prompt": False}, {}),
        ("sglang", {"continue_final_message": True, "add_generation_prompt": False}, {}),
        ("mistral", {}, {"prefix": True}),
        ("llama_cpp", {}, {}),
        ("openai", {}, {}),
    ],
)
def test_a_begun_answer_is_continued(profile: str, body: dict[str, Any], last: dict[str, Any]) -> None:
    """A trailing assistant message is marked as the beginning of the answer where the dialect has a mark."""
    begun = (*HI, Message(role="assistant", content="Once"))
    plain, wire = sent(profile), sent(profile, messages=begun)
    assert {name: value for name, value in wire.items() if name not in plain} == body
    assert wire["messages"][-1] == {"role": "assistant", "content": "Once", **last}
