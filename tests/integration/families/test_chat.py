"""Every family answers through the router, over both of its faces, with whatever it can be asked for."""

from __future__ import annotations

import base64
import json
from typing import Any

import openai
import pytest

from router.v1 import common_pb2
from router.v1 import inference_pb2 as pb
from simulation.device import MODEL_NAME
from simulation.wires.families import SHARED_MODEL
from tests.integration.families.place import BY_ID, HAS_EMBEDDED, IDS, Place, question

pytestmark = pytest.mark.asyncio(loop_scope="session")
EMULATED = "mulated"
# They do not say how many tokens there were.
WITHOUT_USAGE = frozenset({"jetstream", "triton-tensorrtllm"})
ENDS = {common_pb2.FINISH_REASON_STOP, common_pb2.FINISH_REASON_LENGTH}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["city", "people"],
    "additionalProperties": False,
}
# They offer tools, and have no word for a call that must be made.
UNFORCED = frozenset({"mlx", "ollama"})
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def able(capability: str) -> list[str]:
    return [name for name in IDS if capability in BY_ID[name].capabilities]


def asked(place: Place, name: str) -> str:
    """The latest request as the server of that name saw it."""
    return json.dumps(place.servers[name].seen[-1], default=repr)


def with_tools(name: str) -> dict[str, Any]:
    """Of the SDK: one tool, for this backend alone."""
    function = {"name": "look_up", "description": "Looks it up.", "parameters": SCHEMA}
    return {
        "model": SHARED_MODEL,
        "tools": [{"type": "function", "function": function}],
        "max_completion_tokens": 200,
        "extra_body": {"router": {"only_backends": [name]}},
    }


@pytest.mark.parametrize("name", IDS)
async def test_a_streamed_chat_over_grpc(place: Place, name: str) -> None:
    """Text comes in deltas from the backend that was named, with how it ended, what was used and what it cost."""
    answer = await place.ask(question(name))

    assert EMULATED in answer.text
    assert answer.finished is not None
    assert (answer.finished.backend, answer.finished.model) == (name, SHARED_MODEL)
    assert answer.finished.hardware.emulated
    assert answer.finished.reason in ENDS
    assert answer.finished.usage.input_tokens > 0
    assert answer.finished.usage.output_tokens > 0
    assert answer.finished.usage.estimated is (name in WITHOUT_USAGE)
    assert answer.finished.cost_usd > 0


@pytest.mark.parametrize("name", IDS)
async def test_a_chat_with_the_openai_sdk(place: Place, name: str) -> None:
    """The official SDK gets the same from every family, whole and streamed: text, its end, usage, who answered."""
    body: dict[str, Any] = {
        "model": SHARED_MODEL,
        "messages": [{"role": "user", "content": "Say hello."}],
        "max_completion_tokens": 24,
        "extra_body": {"router": {"only_backends": [name]}},
    }

    whole = await place.sdk.chat.completions.create(**body)
    stream = await place.sdk.chat.completions.create(**body, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]

    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    ends = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    assert EMULATED in (whole.choices[0].message.content or "")
    assert EMULATED in text
    assert ends == [whole.choices[0].finish_reason]
    assert ends[0] in {"stop", "length"}
    assert whole.usage is not None
    assert chunks[-1].usage is not None
    assert whole.usage.completion_tokens > 0
    assert chunks[-1].usage.completion_tokens > 0
    told = (whole.model_extra or {})["router"]
    assert (told["backend"], told["emulated"]) == (name, True)
    assert told["cost_usd"] > 0


@pytest.mark.parametrize("name", IDS)
async def test_several_turns(place: Place, name: str) -> None:
    """A conversation reaches the server whole: the system's word, both earlier turns and the question."""
    request = question(name, text="And the third word?")
    turns = [(pb.ROLE_SYSTEM, "Be brief."), (pb.ROLE_USER, "The first word."), (pb.ROLE_ASSISTANT, "The second word.")]
    for at, (role, text) in enumerate(turns):
        request.messages.insert(at, pb.Message(role=role, text=text))

    answer = await place.ask(request)

    assert answer.text
    for text in ("Be brief.", "The first word.", "The second word.", "And the third word?"):
        assert text in asked(place, name)


@pytest.mark.parametrize("name", able("tools"))
async def test_a_tool_call_and_its_result(place: Place, name: str) -> None:
    """A call that must be made comes with its arguments and finish reason, and its result goes on to an answer."""
    body = with_tools(name)
    messages: list[Any] = [{"role": "user", "content": "How many people live there?"}]
    if name in UNFORCED:
        with pytest.raises(openai.APIStatusError, match=r"no backend can serve .*CAPABILITY"):
            await place.sdk.chat.completions.create(messages=messages, tool_choice="required", **body)
        called = {"id": "abcdef012", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
        turn: dict[str, Any] = {"role": "assistant", "tool_calls": [called]}
    else:
        first = await place.sdk.chat.completions.create(messages=messages, tool_choice="required", **body)
        assert first.choices[0].finish_reason == "tool_calls"
        turn = first.choices[0].message.model_dump(exclude_none=True)
        assert turn["tool_calls"][0]["function"]["name"] == "look_up"
        assert set(json.loads(turn["tool_calls"][0]["function"]["arguments"])) == {"city", "people"}

    result = {"role": "tool", "tool_call_id": turn["tool_calls"][0]["id"], "content": '{"found": "seventeen-people"}'}
    messages += [turn, result]
    second = await place.sdk.chat.completions.create(messages=messages, **body)

    assert second.choices[0].message.content
    assert "seventeen-people" in asked(place, name)


@pytest.mark.parametrize("name", able("json_schema"))
async def test_an_answer_by_a_json_schema(place: Place, name: str) -> None:
    """The schema reaches the server in the family's own form, and the answer is JSON of its shape."""
    request = question(name, max_tokens=200)
    request.response_format.json_schema.name = "place"
    request.response_format.json_schema.schema_json = json.dumps(SCHEMA)
    request.response_format.json_schema.strict = True

    answer = await place.ask(request)

    assert set(json.loads(answer.text)) == {"city", "people"}


@pytest.mark.parametrize("name", able("vision"))
async def test_an_image(place: Place, name: str) -> None:
    """The bytes of an image arrive at every family that reads images."""
    request = question(name)
    request.messages[0].text = ""
    request.messages[0].parts.add(text="What is it?")
    request.messages[0].parts.add(image=pb.Image(data=PNG, mime_type="image/png"))

    answer = await place.ask(request)

    assert EMULATED in answer.text
    assert base64.b64encode(PNG).decode() in asked(place, name)


@pytest.mark.skipif(not HAS_EMBEDDED, reason="no model file, or no llama.cpp for this machine")
async def test_the_real_model_on_the_device(place: Place) -> None:
    """Beside them, a real llama.cpp in a child of the router answers over both faces, and is not called emulated."""
    await place.ready("embedded", MODEL_NAME)
    request = question("embedded", max_tokens=8)
    request.model = MODEL_NAME
    body: dict[str, Any] = {"model": MODEL_NAME, "messages": [{"role": "user", "content": "Say hello."}]}

    over_grpc = await place.ask(request)
    over_http = await place.sdk.chat.completions.create(**body, max_completion_tokens=8)

    assert over_grpc.text
    assert over_grpc.finished is not None
    assert over_grpc.finished.backend == "embedded"
    assert not over_grpc.finished.hardware.emulated
    assert not over_grpc.finished.usage.estimated
    assert over_http.choices[0].message.content
