"""Requests in the words of the Messages wire, and what it has no words for."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from backends.anthropic.encode import encode
from backends.anthropic.profiles import PROFILES
from backends.anthropic.settings import OPTIONS, Settings
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
from backends.dialect import CAPABILITIES, SAMPLING_FIELDS
from backends.errors import Unsupported

USER = Message(role="user", content="Hi")
TOOL = Tool(name="f", parameters=msgspec.Raw(b'{"properties":{}}'))
CALLED = Message(role="assistant", tool_calls=(ToolCall(id="t1", name="f", arguments='{"a":1}'),))
RESULT = Message(role="tool", tool_call_id="t1", content="one")


def body(*messages: Message, profile: str = "anthropic", options: dict[str, str] | None = None, **more: Any) -> Any:
    """What is sent."""
    request = GenerateRequest(model="m", messages=messages or (USER,), **more)
    settings = Settings.read(options or {})
    return msgspec.json.decode(encode(request, upstream_model="up", profile=PROFILES[profile], settings=settings))


def refused(*messages: Message, **more: Any) -> str | None:
    """The parameter that is refused."""
    with pytest.raises(Unsupported) as caught:
        body(*messages, **more)
    return caught.value.param


def test_the_least_request() -> None:
    """A bound is in every request, and nothing that was not asked for."""
    assert body() == {
        "model": "up",
        "stream": True,
        "max_tokens": 8192,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    }
    assert body(options={"max_tokens": "100"})["max_tokens"] == 100
    assert body(options={"max_tokens": "100"}, sampling=Sampling(max_output_tokens=7))["max_tokens"] == 7


@pytest.mark.parametrize("profile", sorted(PROFILES))
@pytest.mark.parametrize("field", sorted(SAMPLING_FIELDS))
def test_a_parameter_is_said_or_refused(profile: str, field: str) -> None:
    """What a dialect lists it says under its own name, everything else it refuses: nothing is left out silently."""
    value: Any = {"stop": ("a",), "logprobs": True, "reasoning_effort": "low"}.get(field, 1)
    sampling = Sampling(**{field: value})
    name = PROFILES[profile].parameters.get(field)
    if name is None:
        assert refused(profile=profile, sampling=sampling) == field
        return
    found = body(profile=profile, sampling=sampling)
    for step in name.split("."):
        found = found[step]
    assert found == (["a"] if field == "stop" else value)


def test_dialects_speak_of_known_things() -> None:
    """Their parameters and capabilities are ones the router knows; the newer version lacks sampling."""
    for profile in PROFILES.values():
        assert profile.parameters.keys() <= SAMPLING_FIELDS
        assert profile.capabilities <= CAPABILITIES
    assert not {"temperature", "top_p", "top_k"} & PROFILES["anthropic_2026"].features.parameters
    assert "json_object" not in PROFILES["anthropic"].features.capabilities


@pytest.mark.parametrize(
    ("sampling", "param"),
    [
        (Sampling(temperature=1.5), "temperature"),
        (Sampling(stop=("\n",)), "stop"),
        (Sampling(reasoning_effort="low", temperature=0.5), "temperature"),
        (Sampling(reasoning_effort="low", top_k=5), "top_k"),
        (Sampling(reasoning_effort="low", top_p=0.5), "top_p"),
        (Sampling(reasoning_effort="enormous"), "reasoning_effort"),
    ],
)
def test_what_the_vendor_would_refuse_is_left_to_others(sampling: Sampling, param: str) -> None:
    """Its 400 would end a request that another backend can serve; an engine with the same wire takes it."""
    assert refused(sampling=sampling) == param
    if param != "reasoning_effort":
        assert body(profile="vllm", sampling=sampling)


def test_prompts_names_and_formats_without_a_word() -> None:
    """Plain prompts, named speakers and JSON without a schema are refused."""
    prompt = GenerateRequest(model="m", prompt="p")
    with pytest.raises(Unsupported):
        encode(prompt, upstream_model="m", profile=PROFILES["anthropic"], settings=Settings())
    assert refused(Message(role="user", content="x", name="bob")) == "messages[].name"
    assert refused(response_format=ResponseFormat(kind="json_object")) == "response_format"
    assert refused(profile="llama_cpp", response_format=ResponseFormat(kind="json_schema")) == "response_format"
    assert "output_config" not in body(response_format=ResponseFormat(kind="text"))


def test_the_system_prompt_stands_apart() -> None:
    """Wherever the system speaks, it is one prompt; a conversation of nobody else is refused."""
    late = Message(role="system", content="and kind")
    sent = body(Message(role="system", content="Be short"), USER, late)
    assert [block["text"] for block in sent["system"]] == ["Be short", "and kind"]
    assert len(sent["messages"]) == 1
    assert refused(late) == "messages"
    assert refused(Message(role="system", content=(ImagePart(url="https://x.test/a.png"),))) == "messages[].content"


def test_roles_alternate_and_results_come_first() -> None:
    """Turns of one role in a row are one, and what a tool said stands before what the user said."""
    sent = body(USER, CALLED, Message(role="user", content="wait"), RESULT, Message(role="tool", tool_call_id="t2"))
    assert [turn["role"] for turn in sent["messages"]] == ["user", "assistant", "user"]
    last = sent["messages"][-1]["content"]
    assert [block["type"] for block in last] == ["tool_result", "tool_result", "text"]
    assert last[0] == {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "one"}]}
    assert "content" not in last[1]


def test_blanks_are_not_sent() -> None:
    """Blank text is refused by the vendor and says nothing; an answer is not continued after a blank."""
    blank = Message(role="assistant", content=(TextPart(text=" \n"),), tool_calls=CALLED.tool_calls)
    sent = body(USER, blank, RESULT, Message(role="assistant", content="So \n"))
    assert [block["type"] for block in sent["messages"][1]["content"]] == ["tool_use"]
    assert sent["messages"][-1]["content"][0]["text"] == "So"


def test_images() -> None:
    """By address or as bytes; what is no image the vendor takes, or is wanted in low detail, is refused."""
    data, address = ImagePart(url="data:image/png;base64,aGk="), ImagePart(url="https://x.test/a.png", detail="high")
    content = body(Message(role="user", content=(data, address)))["messages"][0]["content"]
    assert content[0]["source"] == {"type": "base64", "media_type": "image/png", "data": "aGk="}
    assert content[1]["source"] == {"type": "url", "url": "https://x.test/a.png"}
    for url, detail in (("data:image/tiff;base64,aGk=", None), ("data:image/png;base64,#", None), (data.url, "low")):
        part = ImagePart(url=url, detail=detail)
        assert refused(Message(role="user", content=(part,))) == "messages[].content"


def test_calls_and_their_ids() -> None:
    """Arguments go as the object they are; an id of another form becomes one that fits, in call and result alike."""
    foreign = "functions.f:0"
    call = ToolCall(id=foreign, name="f", arguments="")
    sent = body(USER, Message(role="assistant", tool_calls=(call,)), Message(role="tool", tool_call_id=foreign))
    use, result = sent["messages"][1]["content"][0], sent["messages"][2]["content"][0]
    assert use["input"] == {}
    assert use["id"] == result["tool_use_id"]
    assert re.fullmatch(r"[A-Za-z0-9_-]+", use["id"])
    broken = Message(role="assistant", tool_calls=(ToolCall(id="a", name="f", arguments='{"a"'),))
    assert refused(USER, broken) == "messages[].tool_calls"


def test_tools() -> None:
    """A schema says that it is an object even if its writer did not; strictness is said only where it is wanted."""
    bare = Tool(name="g", description="d", strict=False)
    tools = body(tools=(TOOL, bare, Tool(name="h", strict=True)))["tools"]
    assert tools[0] == {"name": "f", "input_schema": {"type": "object", "properties": {}}}
    assert tools[1] == {"name": "g", "description": "d", "input_schema": {"type": "object", "properties": {}}}
    assert tools[2]["strict"] is True


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (ToolChoice(), {"type": "auto"}),
        (ToolChoice(parallel=True), {"type": "auto"}),
        (ToolChoice(parallel=False), {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice(mode="required"), {"type": "any"}),
        (ToolChoice(mode="none", parallel=False), {"type": "none"}),
        (
            ToolChoice(mode="function", name="f", parallel=False),
            {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        ),
    ],
)
def test_choices_of_a_tool(choice: ToolChoice, sent: dict[str, Any]) -> None:
    """Each way to choose has its word."""
    assert body(tools=(TOOL,), tool_choice=choice)["tool_choice"] == sent


def test_choices_an_engine_does_not_know() -> None:
    """Where no call can be forced it is refused, and forbidding calls means not to speak of tools."""
    for forced in (ToolChoice(mode="function", name="f"), ToolChoice(mode="required")):
        assert refused(profile="llama_cpp", tools=(TOOL,), tool_choice=forced) == "tool_choice"
    assert "tools" not in body(profile="llama_cpp", tools=(TOOL,), tool_choice=ToolChoice(mode="none"))
    assert refused(tool_choice=ToolChoice(mode="required")) == "tool_choice"


def test_tools_of_earlier_turns_are_declared() -> None:
    """Calls in the history need their tools declared, and none of them may be called again."""
    sent = body(USER, CALLED, RESULT)
    assert [tool["name"] for tool in sent["tools"]] == ["f"]
    assert sent["tool_choice"] == {"type": "none"}


def test_a_schema_is_closed() -> None:
    """Objects say that they take nothing further, unless they say otherwise; names and values are left alone."""
    schema = {
        "type": "object",
        "properties": {"properties": {"type": "object", "properties": {}}, "b": {"$ref": "#/$defs/b"}},
        "required": ["b"],
        "$defs": {"b": {"type": "object", "additionalProperties": True}},
        "anyOf": [{"type": "object"}],
        "default": {"type": "object"},
    }
    wanted = ResponseFormat(kind="json_schema", schema=msgspec.Raw(msgspec.json.encode(schema)), description="d")
    sent = body(response_format=wanted)["output_config"]["format"]["schema"]
    assert sent == {
        **schema,
        "description": "d",
        "additionalProperties": False,
        "properties": {
            "properties": {"type": "object", "properties": {}, "additionalProperties": False},
            "b": {"$ref": "#/$defs/b"},
        },
        "anyOf": [{"type": "object", "additionalProperties": False}],
    }


def test_efforts() -> None:
    """The default is adaptive; none switches it off; minimal is the least there is; a format stands beside it."""
    schema = ResponseFormat(kind="json_schema", schema=msgspec.Raw(b"{}"))
    sent = body(sampling=Sampling(reasoning_effort="minimal"), response_format=schema)
    assert sent["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert sent["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": {}}}
    assert body(sampling=Sampling(reasoning_effort="none"))["thinking"] == {"type": "disabled"}
    forced = ToolChoice(mode="required")
    low = Sampling(reasoning_effort="low")
    assert refused(tools=(TOOL,), tool_choice=forced, sampling=low) == "tool_choice"
    assert refused(USER, Message(role="assistant", content="So"), sampling=low) == "messages"


def test_budgets() -> None:
    """A budget stays within the caller's bound, and is refused where the bound leaves too little."""
    options = {"thinking": "budget"}
    sent = body(options=options, sampling=Sampling(reasoning_effort="high", max_output_tokens=4000))
    assert (sent["thinking"]["budget_tokens"], sent["max_tokens"]) == (2000, 4000)
    tight = Sampling(reasoning_effort="low", max_output_tokens=1500)
    assert refused(options=options, sampling=tight) == "reasoning_effort"


def test_a_budget_does_not_begin_amid_unsigned_calls() -> None:
    """Calls that another vendor made come without their thinking; the turn goes on without it, the next has it."""
    options, low = {"thinking": "budget"}, Sampling(reasoning_effort="low")
    assert "thinking" not in body(USER, CALLED, RESULT, tools=(TOOL,), options=options, sampling=low)
    assert "thinking" in body(USER, CALLED, RESULT, USER, tools=(TOOL,), options=options, sampling=low)
    signed = msgspec.structs.replace(CALLED, reasoning=(ReasoningBlock(text="t", signature="s"),))
    assert "thinking" in body(USER, signed, RESULT, tools=(TOOL,), options=options, sampling=low)


def test_reasoning_goes_back() -> None:
    """What is signed goes back as it was, also without its text; what is not goes only to who needs no signature."""
    blocks = (
        ReasoningBlock(text="t", signature="s"),
        ReasoningBlock(signature="s2"),
        ReasoningBlock(signature="d", redacted=True),
        ReasoningBlock(text="another vendor's", signature="gemini:proof"),
        ReasoningBlock(text="unsigned"),
    )
    said = Message(role="assistant", content="x", reasoning=blocks)
    assert body(USER, said, USER)["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "t", "signature": "s"},
        {"type": "thinking", "thinking": "", "signature": "s2"},
        {"type": "redacted_thinking", "data": "d"},
        {"type": "text", "text": "x"},
    ]
    lenient = body(USER, said, USER, profile="vllm")["messages"][1]["content"]
    assert {"type": "thinking", "thinking": "unsigned", "signature": ""} in lenient


def test_the_prefix_is_marked_where_that_is_wanted() -> None:
    """The last block of the system prompt, or the last tool where there is none; without the option nothing is."""
    system = Message(role="system", content="s")
    marked = body(system, USER, tools=(TOOL,), options={"cache": "auto"})
    assert marked["system"][-1]["cache_control"] == {"type": "ephemeral"}
    assert "cache_control" not in marked["tools"][-1]
    assert body(tools=(TOOL,), options={"cache": "auto"})["tools"][-1]["cache_control"] == {"type": "ephemeral"}
    for unmarked in (body(system, USER, tools=(TOOL,)), body(options={"cache": "auto"})):
        assert b"cache_control" not in msgspec.json.encode(unmarked)


def test_end_users_and_betas() -> None:
    """The caller's own user is named in the metadata, a beta in the headers."""
    assert body(end_user="u")["metadata"] == {"user_id": "u"}
    assert Settings.read({"beta": "a-1,b-2"}).headers == ((b"anthropic-beta", b"a-1,b-2"),)
    assert Settings.read({}).headers == ()


@pytest.mark.parametrize(
    ("name", "value", "is_valid"),
    [
        ("max_tokens", "1", True),
        ("max_tokens", "0", False),
        ("thinking", "budget", True),
        ("thinking", "hard", False),
        ("cache", "on", False),
        ("beta", "a b", False),
        ("beta", "a-2026-01-01,b", True),
    ],
)
def test_options_are_checked(name: str, value: str, is_valid: bool) -> None:  # noqa: FBT001 - of the table
    """Values that would fail later are refused when they are set."""
    assert bool(re.fullmatch(OPTIONS[name].pattern, value)) is is_valid
