"""The judge of recordings sees every kind of difference, and the command says what came of a folder."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from backends.contract import Chunk, FinishReason, Headroom, Signals, ToolCallDelta, Usage, Window
from backends.errors import AuthFailed, BackendError, ProtocolViolation, RateLimited, StreamBroken
from backends.http.transport import FastTransport
from simulation.recordings.__main__ import main
from simulation.recordings.frames import write_sse
from simulation.recordings.interaction import Interaction
from simulation.recordings.judge import compare, judge
from simulation.recordings.readings.said import Call, Said, Tokens
from simulation.recordings.replay import cuts
from simulation.recordings.requests import Asked, Beyond, differences, read

URL = "http://h/v1/chat/completions"
SAID = Said(
    text="hé",
    reasoning="hm",
    calls=[Call("c", "f", {"a": 1})],
    finish="tool_calls",
    usage=Tokens(input=3, cached=1, output=2),
    complete=True,
)
CHUNK = Chunk(
    text="hé",
    reasoning="hm",
    tool_calls=(ToolCallDelta(index=0, id="c", name="f", arguments='{"a": 1}'),),
    finish_reason=FinishReason.TOOL_CALLS,
    usage=Usage(input=3, cached_input=1, output=2),
)


def _chunk(**changed: Any) -> Chunk:
    return Chunk(**{name: changed.get(name, getattr(CHUNK, name)) for name in CHUNK.__struct_fields__})


def test_the_same_is_equal() -> None:
    """Nothing differs where nothing does."""
    assert compare([CHUNK], None, SAID, Interaction(url=URL)) == []


@pytest.mark.parametrize(
    ("what", "changed"),
    [
        ("text", {"text": "he"}),
        ("reasoning", {"reasoning": ""}),
        ("finish reason", {"finish_reason": FinishReason.STOP}),
        ("finish reason", {"finish_reason": None}),
        ("tool calls", {"tool_calls": ()}),
        ("tool calls", {"tool_calls": (ToolCallDelta(index=0, id="other", name="f", arguments='{"a":1}'),)}),
        ("tool calls", {"tool_calls": (ToolCallDelta(index=0, id="c", name="g", arguments='{"a":1}'),)}),
        ("tool calls", {"tool_calls": (ToolCallDelta(index=0, id="c", name="f", arguments='{"a":2}'),)}),
        ("usage", {"usage": None}),
        ("usage", {"usage": Usage(input=3, output=2)}),
        ("usage", {"usage": Usage(input=3, cached_input=1, output=2, estimated=True)}),
    ],
)
def test_each_difference_is_seen(what: str, changed: dict[str, Any]) -> None:
    """A change of any one thing is a difference, named by what changed."""
    (found,) = compare([_chunk(**changed)], None, SAID, Interaction(url=URL))
    assert found.startswith(what)


def test_an_invented_count_must_be_marked() -> None:
    """Where nothing was counted, a usage that is not called an estimate is wrong."""
    said = Said(text="hé", finish="stop", complete=True)
    for usage, expected in ((Usage(output=1, estimated=True), 0), (Usage(output=1), 1)):
        chunk = Chunk(text="hé", finish_reason=FinishReason.STOP, usage=usage)
        assert len(compare([chunk], None, said, Interaction(url=URL))) == expected


@pytest.mark.parametrize(
    ("error", "said", "is_right"),
    [
        (None, Said(text="hé"), False),
        (ProtocolViolation("x"), Said(text="hé"), True),
        (StreamBroken("PROTOCOL_VIOLATION: x"), Said(text="hé"), True),
        (AuthFailed("x"), Said(text="hé"), False),
        (AuthFailed("x"), Said(failure=frozenset({"AUTH_FAILED"})), True),
        (RateLimited("x"), Said(failure=frozenset({"AUTH_FAILED"})), False),
        (StreamBroken("RATE_LIMITED: x"), Said(failure=frozenset({"RATE_LIMITED"})), True),
        (RateLimited("x", retry_after_s=2), Said(failure=frozenset({"RATE_LIMITED"}), retry_after_s=1.0), False),
        (RateLimited("x", retry_after_s=1), Said(failure=frozenset({"RATE_LIMITED"}), retry_after_s=1.0), True),
        (AuthFailed("x"), SAID, False),
    ],
)
def test_failures(error: BackendError | None, said: Said, is_right: bool) -> None:  # noqa: FBT001 - a case of the table
    """A broken stream must fail, an error must be of its kind, and a complete answer must not fail."""
    assert (compare([], error, said, Interaction(url=URL)) == []) is is_right


def test_limits_must_be_read() -> None:
    """The recorded headroom comes with the first chunk, exactly."""
    interaction = Interaction(url=URL, headers={"x-ratelimit-remaining-requests": "7"})
    for left, wrong in ((7.0, 0), (6.0, 1), (None, 1)):
        window = None if left is None else Window(remaining=left)
        chunk = _chunk(signals=Signals(headroom=Headroom(requests=window)))
        assert len(compare([chunk], None, SAID, interaction)) == wrong


@pytest.fixture
async def transport() -> AsyncIterator[FastTransport]:
    made = FastTransport()
    yield made
    await made.aclose()


def _stream(*events: dict[str, Any], done: bool = True) -> bytes:
    return write_sse([*map(json.dumps, events), *(["[DONE]"] if done else [])])


TEXT = {"choices": [{"index": 0, "delta": {"content": "hé"}}]}
STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


async def test_a_stream_replays_equal(transport: FastTransport) -> None:
    """A recorded stream comes out as it was recorded, in five ways of cutting it."""
    asked = {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 5}
    interaction = Interaction(url=URL, body=_stream(TEXT, STOP), request=asked)
    verdict = await judge(interaction, transport=transport, ways=5)
    assert (verdict.outcome, verdict.differences, verdict.asked) == ("equal", [], "equal")


async def test_a_stream_that_was_cut_is_broken(transport: FastTransport) -> None:
    """A recording without its end is equal only because the adapter says that the stream broke."""
    interaction = Interaction(url=URL, body=_stream(TEXT, done=False))
    assert (await judge(interaction, transport=transport)).outcome == "equal"


async def test_limits_come_with_a_failure(transport: FastTransport) -> None:
    """A stream that breaks before it says anything still tells what is left of the limits."""
    headers = {"content-type": "text/event-stream", "x-ratelimit-remaining-requests": "7"}
    interaction = Interaction(provider="openai", url=URL, headers=headers, body=b'data: {"cho')
    assert (await judge(interaction, transport=transport)).differences == []


async def test_an_answer_that_cannot_be_read_is_no_success(transport: FastTransport) -> None:
    """A recording that is not of its wire must be refused by the adapter, and is reported."""
    verdict = await judge(Interaction(url="http://h/v1/messages", body=b'{"a": 1}'), transport=transport)
    assert (verdict.outcome, verdict.differences) == ("equal", [])
    assert verdict.reason.startswith("not an answer of this wire")


async def test_an_error_replays_with_its_kind(transport: FastTransport) -> None:
    """An error answer comes out as its kind, with the wait that it asks for."""
    interaction = Interaction(url=URL, status=429, headers={"retry-after": "3"}, body=b'{"error":{"message":"slow"}}')
    verdict = await judge(interaction, transport=transport)
    assert (verdict.outcome, verdict.differences) == ("equal", [])


async def test_a_request_beyond_the_model_is_asked_with_less(transport: FastTransport) -> None:
    """A request with a part that nobody can say is replaced by a small one, and counted."""
    parts = [{"type": "input_audio", "input_audio": {}}]
    asked = {"messages": [{"role": "user", "content": parts}]}
    verdict = await judge(Interaction(url=URL, body=_stream(TEXT, STOP), request=asked), transport=transport)
    assert (verdict.outcome, verdict.asked) == ("equal", "n/a")
    assert "input_audio" in verdict.asked_notes[0]


async def test_a_prediction_is_created_read_and_looked_at(transport: FastTransport) -> None:
    """Creation, stream and the prediction's own counts are one answer, asked for at the replay server's addresses."""
    urls = {name: f"https://api.example.com/{name}" for name in ("get", "stream", "cancel")}
    made = {"id": "p", "status": "starting", "urls": urls}
    counted = {**made, "status": "succeeded", "metrics": {"input_token_count": 5, "output_token_count": 2}}
    stream = b"event: output\nid: 1\ndata: h\xc3\xa9\n\nevent: done\nid: 2\ndata: {}\n\n"
    interaction = Interaction(
        provider="replicate",
        url="https://api.example.com/v1/models/o/m/predictions",
        status=201,
        request={"input": {"prompt": "x"}, "stream": True},
        body=json.dumps(made).encode(),
        later=(
            Interaction(method="GET", url=urls["stream"], body=stream),
            Interaction(method="GET", url=urls["get"], body=json.dumps(counted).encode()),
        ),
    )
    verdict = await judge(interaction, transport=transport)
    assert (verdict.outcome, verdict.differences, verdict.asked) == ("equal", [], "equal")


@pytest.mark.parametrize("body", [b"", b"a", "é\r\n".encode() * 3, bytes(range(256)) * 200])
def test_cuts_keep_the_body(body: bytes) -> None:
    """Every way of cutting gives the same bytes, and the same seed the same pieces."""
    for cut, again in zip(cuts(body, 7, 6), cuts(body, 7, 6), strict=True):
        assert b"".join(cut.pieces) == body
        assert cut == again


WIRES: list[tuple[str, dict[str, Any]]] = [
    (
        "openai_chat",
        {
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": [{"type": "text", "text": "u"}]},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": '{"a":1}'}}],
                },
                {"role": "tool", "tool_call_id": "c", "content": "r"},
            ],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
            "max_tokens": 9,
        },
    ),
    (
        "anthropic",
        {
            "system": "s",
            "messages": [
                {"role": "user", "content": "u"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "r"}]},
            ],
            "tools": [{"name": "f", "input_schema": {"type": "object"}}],
            "max_tokens": 9,
        },
    ),
    (
        "gemini",
        {
            "systemInstruction": {"parts": [{"text": "s"}]},
            "contents": [
                {"role": "user", "parts": [{"text": "u"}]},
                {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a": 1}}}]},
                {"role": "user", "parts": [{"function_response": {"name": "f", "response": {"output": "r"}}}]},
            ],
            "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]}],
            "generation_config": {"max_output_tokens": 9},
        },
    ),
    (
        "bedrock",
        {
            "system": [{"text": "s"}],
            "messages": [
                {"role": "user", "content": [{"text": "u"}]},
                {"role": "assistant", "content": [{"toolUse": {"toolUseId": "c", "name": "f", "input": {"a": 1}}}]},
                {"role": "user", "content": [{"toolResult": {"toolUseId": "c", "content": [{"text": "r"}]}}]},
            ],
            "toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object"}}}}]},
            "inferenceConfig": {"maxTokens": 9},
        },
    ),
    (
        "ollama",
        {
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "u"},
                {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
                {"role": "tool", "tool_name": "f", "content": "r"},
            ],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
            "options": {"num_predict": 9},
        },
    ),
]


@pytest.mark.parametrize(("wire", "body"), WIRES)
def test_the_same_request_on_every_wire(wire: str, body: dict[str, Any]) -> None:
    """The same conversation reads the same, whichever wire it is written in."""
    assert differences(read(*WIRES[0]), read(wire, body)) == []
    assert len(read(wire, body).canonical("m").messages) == 4


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"messages": [{"role": "user", "content": "u"}]}, "roles"),
        ({"tools": []}, "tool f: missing"),
        ({"tools": [{"function": {"name": "f", "parameters": {"type": "array"}}}]}, "tool f: schema"),
        ({"max_tokens": 8}, "max tokens"),
    ],
)
def test_differences_of_requests(changed: dict[str, Any], what: str) -> None:
    """Roles, tools with their schemas and the token limit are compared."""
    wire, body = WIRES[0]
    (found,) = differences(read(wire, body), read(wire, {**body, **changed}))
    assert found.startswith(what)


def test_a_changed_text_is_seen() -> None:
    """A text that arrives otherwise is a difference, its blanks aside."""
    before, after = (read("openai_chat", {"messages": [{"role": "user", "content": text}]}) for text in ("a b", "a c"))
    assert differences(before, after) == ["messages[0].text: ab became ac"]


@pytest.mark.parametrize("body", [None, "text", {}, {"messages": 7}, {"prompt": [1, 2]}])
def test_requests_that_cannot_be_said(body: object) -> None:
    """A request that was not kept, or is of another kind, is beyond the model."""
    with pytest.raises(Beyond):
        read("openai_chat", body)


def test_asked_without_messages() -> None:
    """An empty conversation is nothing to ask."""
    with pytest.raises(Beyond):
        Asked().canonical("m")


def _folder(tmp_path: Path, *bodies: bytes) -> Path:
    (tmp_path / "groq").mkdir()
    for number, body in enumerate(bodies):
        request = {"method": "POST", "url": URL, "body": "{}"}
        response = {"status": {"code": 200}, "headers": {}, "body": body.decode()}
        file = tmp_path / "groq" / f"{number}.json"
        file.write_text(json.dumps({"request": request, "response": response}))
    return tmp_path


def test_command_that_finds_all_equal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 0, a table by provider, and a sentence."""
    assert main([str(_folder(tmp_path, _stream(TEXT, STOP)))]) == 0
    out = capsys.readouterr().out
    assert "groq" in out
    assert "All 1 that are applicable replay equal." in out


def test_command_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Something different is exit status 1, and listed with its adapter."""
    folder = _folder(tmp_path, b'{"a": [1', _stream(TEXT, STOP))
    (folder / "groq" / "2.json").write_text("{")
    assert main([str(folder), "--json", "--ways", "1"]) == 1
    said = json.loads(capsys.readouterr().out)
    counted = {name: count for name, count in said["providers"]["groq"].items() if count}
    assert counted == {
        "recordings": 3,
        "unreadable": 1,
        "interactions": 2,
        "equal": 2,
        "replayed": 2,
        "requests n/a": 2,
        "framing recorded": 2,
    }
    assert [entry["file"] for entry in said["unreadable"]] == ["groq/2.json"]


def test_command_that_sees_a_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recording whose answer the adapter cannot give is listed with what differed."""
    folder = _folder(
        tmp_path,
        b'{"choices": [{"message": {"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": 5}}]}}]}',
    )
    assert main([str(folder)]) == 1
    assert "groq/0.json#0 (recorded, openai_chat, groq)" in capsys.readouterr().out


def test_command_without_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that is not there is exit status 2, in one line."""
    assert main([str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.strip().endswith("no such directory")
