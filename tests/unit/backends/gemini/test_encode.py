"""Requests in Google's words, and what those words cannot say."""

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
from backends.errors import Unsupported
from backends.gemini.dialects import DIALECTS, GEMINI, VERTEX
from backends.gemini.encode import encode

NEW, OLD = "gemini-3-flash-preview", "gemini-2.5-flash"
USER = Message(role="user", content="Hello")
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
SCHEMA = msgspec.Raw(b'{"type":"object","properties":{"a":{"type":["integer","null"],"minimum":1}},"required":["a"]}')
TOOL = Tool(name="f", description="does", parameters=SCHEMA)
OBJECT = ResponseFormat(kind="json_object")


def body_of(*messages: Message, model: str = NEW, openapi: bool = False, **fields: Any) -> dict[str, Any]:
    request = GenerateRequest(model="m", messages=messages or (USER,), **fields)
    body: dict[str, Any] = msgspec.json.decode(
        encode(request, upstream_model=model, dialect=GEMINI, openapi_schemas=openapi)
    )
    return body


def turns(*messages: Message, model: str = NEW) -> list[dict[str, Any]]:
    contents: list[dict[str, Any]] = body_of(*messages, model=model)["contents"]
    return contents


def called(*calls: ToolCall, **fields: Any) -> Message:
    return Message(role="assistant", tool_calls=calls, **fields)


def result(call_id: str, content: Any = "x", name: str | None = None) -> Message:
    return Message(role="tool", tool_call_id=call_id, content=content, name=name)


def test_nothing_is_sent_that_was_not_asked_for() -> None:
    """The service's own defaults hold."""
    assert body_of() == {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}


def test_instructions_are_apart_from_the_turns() -> None:
    """All of them, wherever they stand."""
    messages = [Message(role="system", content=text) for text in ("a", "b")]
    body = body_of(messages[0], USER, messages[1])
    assert body["systemInstruction"] == {"parts": [{"text": "a"}, {"text": "b"}]}
    assert [turn["role"] for turn in body["contents"]] == ["user"]


def test_roles_and_empty_answers() -> None:
    """An answer's role is model; one that says nothing is no turn."""
    messages = (USER, Message(role="assistant", content="Hi"), USER, Message(role="assistant"), USER)
    assert [turn["role"] for turn in turns(*messages)] == ["user", "model", "user", "user"]


def test_the_results_of_one_turn_are_one_content() -> None:
    """Each names the function of its call; an object is said as it is, anything else is an output."""
    calls = (ToolCall(id="1", name="f", arguments='{"a": 1.50}'), ToolCall(id="2", name="g", arguments=""))
    contents = turns(USER, called(*calls), result("1", '{"b": 2}'), result("2", "[3]"), USER)
    assert [part["functionCall"] for part in contents[1]["parts"]] == [
        {"id": "1", "name": "f", "args": {"a": 1.5}},
        {"id": "2", "name": "g", "args": {}},
    ]
    assert contents[2] == {
        "role": "user",
        "parts": [
            {"functionResponse": {"id": "1", "name": "f", "response": {"b": 2}}},
            {"functionResponse": {"id": "2", "name": "g", "response": {"output": "[3]"}}},
        ],
    }
    assert len(contents) == 4


def test_a_result_may_name_its_function_itself() -> None:
    """Where the turn that called is no longer there."""
    (turn,) = turns(result("1", name="f"))
    assert turn["parts"][0]["functionResponse"]["name"] == "f"
    with pytest.raises(Unsupported, match="makes the call"):
        turns(result("1"))


@pytest.mark.parametrize(("model", "is_inside"), [(NEW, True), (OLD, False)])
def test_images_in_results(model: str, *, is_inside: bool) -> None:
    """The newer models take them in the result, the older ones beside it."""
    image = {"inlineData": {"mimeType": "image/gif", "data": PIXEL.partition(",")[2]}}
    parts = (TextPart(text="look"), ImagePart(url=PIXEL))
    contents = turns(USER, called(ToolCall(id="1", name="f", arguments="{}")), result("1", parts), model=model)
    response, *beside = contents[2]["parts"]
    assert response["functionResponse"]["response"] == {"output": "look"}
    assert (response["functionResponse"].get("parts"), beside) == (([image], []) if is_inside else (None, [image]))


def test_signatures_of_calls_go_back() -> None:
    """The first of several calls is the signed one; an unsigned first call is said to be foreign."""
    signed = ToolCall(id="1", name="f", arguments="{}", signature="c2ln")
    plain = ToolCall(id="2", name="f", arguments="{}")
    results = (result("1"), result("2"))

    def signatures(*calls: ToolCall, model: str = NEW) -> list[str | None]:
        return [part.get("thoughtSignature") for part in turns(USER, called(*calls), *results, model=model)[1]["parts"]]

    assert signatures(signed, plain) == ["c2ln", None]
    assert signatures(plain, signed) == ["skip_thought_signature_validator", "c2ln"]
    assert signatures(msgspec.structs.replace(plain, id="1"), plain, model=OLD) == [None, None]


def test_thoughts_go_back_to_whose_they_are() -> None:
    """Ours with their signature at the text, unsigned ones as they are, another vendor's not at all."""
    blocks = (
        ReasoningBlock(text="ours", signature="gemini:c2ln"),
        ReasoningBlock(text="plain"),
        ReasoningBlock(text="theirs", signature="EqQB"),
        ReasoningBlock(text="marked", signature="other:EqQB"),
        ReasoningBlock(signature="gemini:eA==", redacted=True),
    )
    contents = turns(USER, Message(role="assistant", content="Hi", reasoning=blocks), USER)
    assert contents[1]["parts"] == [
        {"text": "ours", "thought": True},
        {"text": "plain", "thought": True},
        {"text": "Hi", "thoughtSignature": "c2ln"},
    ]


@pytest.mark.parametrize(
    ("effort", "model", "config"),
    [
        ("low", NEW, {"thinkingLevel": "LOW", "includeThoughts": True}),
        ("minimal", NEW, {"thinkingLevel": "MINIMAL", "includeThoughts": True}),
        ("minimal", "gemini-3.1-pro-preview", {"thinkingLevel": "LOW", "includeThoughts": True}),
        ("xhigh", "gemini-flash-latest", {"thinkingLevel": "XHIGH", "includeThoughts": True}),
        ("medium", OLD, {"thinkingBudget": 8192, "includeThoughts": True}),
        ("none", OLD, {"thinkingBudget": 0}),
    ],
)
def test_reasoning_effort(effort: str, model: str, config: dict[str, Any]) -> None:
    """A level for the newer models, a budget for the older ones; thoughts are shown where there are any."""
    assert body_of(model=model, sampling=Sampling(reasoning_effort=effort))["generationConfig"] == {
        "thinkingConfig": config
    }


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        (None, None),
        (ToolChoice(), {"mode": "AUTO"}),
        (ToolChoice(mode="none"), {"mode": "NONE"}),
        (ToolChoice(mode="required"), {"mode": "ANY"}),
        (ToolChoice(mode="function", name="f"), {"mode": "ANY", "allowedFunctionNames": ["f"]}),
    ],
)
def test_tool_choice(choice: ToolChoice | None, config: dict[str, Any] | None) -> None:
    """Each choice has its mode."""
    body = body_of(tools=(TOOL,), tool_choice=choice)
    assert body.get("toolConfig", {}).get("functionCallingConfig") == config


def test_strict_tools_are_validated() -> None:
    """Their arguments are held to the schema, the choice stays the model's."""
    strict = msgspec.structs.replace(TOOL, strict=True)
    assert body_of(tools=(strict,))["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}


def test_schemas_in_both_words() -> None:
    """JSON Schema as it was given; the older Schema with its capitals and its nullable."""
    wanted = ResponseFormat(kind="json_schema", schema=SCHEMA)
    body = body_of(tools=(TOOL,), response_format=wanted)
    given = msgspec.json.decode(SCHEMA)
    assert body["tools"] == [
        {"functionDeclarations": [{"name": "f", "description": "does", "parametersJsonSchema": given}]}
    ]
    assert body["generationConfig"] == {"responseMimeType": "application/json", "responseJsonSchema": given}
    older = body_of(response_format=wanted, openapi=True)["generationConfig"]["responseSchema"]
    assert older == {
        "type": "OBJECT",
        "properties": {"a": {"type": "INTEGER", "nullable": True, "minimum": 1}},
        "required": ["a"],
    }


@pytest.mark.parametrize(
    "schema",
    ['{"$ref":"#/$defs/a"}', '{"type":["integer","string"]}', '{"additionalProperties":{}}', '{"items":true}', "[]"],
)
def test_schemas_that_the_older_words_cannot_say(schema: str) -> None:
    """Refused, not thinned out."""
    with pytest.raises(Unsupported, match="schema") as caught:
        body_of(response_format=ResponseFormat(kind="json_schema", schema=msgspec.Raw(schema.encode())), openapi=True)
    assert caught.value.param == "response_format"


@pytest.mark.parametrize(
    ("details", "config"),
    [
        ((None, "auto"), None),
        (("low",), {"mediaResolution": "MEDIA_RESOLUTION_LOW"}),
        (("high", "high"), {"mediaResolution": "MEDIA_RESOLUTION_HIGH"}),
    ],
)
def test_the_detail_of_images(details: tuple[str | None, ...], config: dict[str, str] | None) -> None:
    """One for all of a request."""
    parts = tuple(ImagePart(url=PIXEL, detail=detail) for detail in details)
    assert body_of(Message(role="user", content=parts)).get("generationConfig") == config


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("prompt", {"prompt": "x", "messages": ()}),
        ("messages", {"messages": (Message(role="system", content="x"),)}),
        ("messages", {"messages": (USER, Message(role="assistant", content="and"))}),
        ("messages[].name", {"messages": (Message(role="user", name="Ann", content="x"),)}),
        ("messages[].content", {"messages": (Message(role="user", content=(ImagePart(url="gs://b/a.png"),)),)}),
        ("messages[].content", {"messages": (Message(role="user", content=(ImagePart(url="data:image/png"),)),)}),
        ("messages[].content", {"messages": (Message(role="system", content=(ImagePart(url=PIXEL),)), USER)}),
        (
            "messages[].content",
            {
                "messages": (
                    Message(role="user", content=tuple(ImagePart(url=PIXEL, detail=d) for d in ("low", "high"))),
                )
            },
        ),
        (
            "messages[].tool_calls[].function.arguments",
            {"messages": (USER, called(ToolCall(id="1", name="f", arguments="[1")), result("1"))},
        ),
        ("parallel_tool_calls", {"tools": (TOOL,), "tool_choice": ToolChoice(parallel=False)}),
        ("tool_choice", {"tool_choice": ToolChoice(mode="required")}),
        ("response_format", {"tools": (TOOL,), "response_format": OBJECT, "model": OLD}),
        ("min_p", {"sampling": Sampling(min_p=0.1)}),
        ("repetition_penalty", {"sampling": Sampling(repetition_penalty=1.1)}),
        ("reasoning_effort", {"sampling": Sampling(reasoning_effort="none")}),
        ("reasoning_effort", {"sampling": Sampling(reasoning_effort="xhigh"), "model": OLD}),
    ],
)
def test_what_cannot_be_said_is_refused(param: str, fields: dict[str, Any]) -> None:
    """Before anything is sent, and by the name of the field."""
    model = fields.get("model", NEW)
    request = msgspec.structs.replace(GenerateRequest(model="m", messages=(USER,)), **{**fields, "model": model})
    with pytest.raises(Unsupported) as caught:
        encode(request, upstream_model=model, dialect=GEMINI)
    assert caught.value.param == param


def test_the_cloud_reads_its_own_storage() -> None:
    """With the type that the name tells, or the commonest."""
    parts = (ImagePart(url="gs://b/a.WEBP"), ImagePart(url="https://example.com/a"))
    request = GenerateRequest(model="m", messages=(Message(role="user", content=parts),))
    sent = msgspec.json.decode(encode(request, upstream_model=NEW, dialect=VERTEX))["contents"][0]["parts"]
    assert sent == [
        {"fileData": {"fileUri": "gs://b/a.WEBP", "mimeType": "image/webp"}},
        {"fileData": {"fileUri": "https://example.com/a", "mimeType": "image/jpeg"}},
    ]


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_the_dialects_say_what_they_can_do(name: str) -> None:
    """What the encoder refuses the filter sees first."""
    features = DIALECTS[name].features
    assert features.capabilities == {
        "tools",
        "json_object",
        "json_schema",
        "vision",
        "logprobs",
        "seed",
        "reasoning",
    }
    assert {"min_p", "repetition_penalty"}.isdisjoint(features.parameters)
