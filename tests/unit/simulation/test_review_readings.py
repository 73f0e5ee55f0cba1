"""What the readers of recordings make of answers that the open recordings hold none of.

The adapters are asked the same in tests/contract/test_review_answers.py; the two share no decoder.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from simulation.recordings import readings
from simulation.recordings.errors import expected
from simulation.recordings.formats import MAX_FILE_BYTES, Unreadable, read_file, unpacked
from simulation.recordings.frames import write_aws, write_lines, write_sse
from simulation.recordings.interaction import Interaction
from simulation.recordings.readings.said import Said, Tokens


def read(wire: str, body: bytes, url: str = "/chat/completions") -> Said:
    return readings.read(Interaction(url=url, body=body), wire)


def sse(*events: Any) -> bytes:
    return write_sse(event if isinstance(event, str) else json.dumps(event) for event in events)


def choice(index: int | None = 0, text: str = "", **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": {"content": text}, **fields}]}


def test_counts_of_a_chat_are_taken_field_by_field() -> None:
    """The last value of each field holds; what is no count, or denies the answer, is none."""
    counted = {"usage": {"prompt_tokens": 7, "completion_tokens": 1}}
    said = read(
        "openai_chat", sse(choice(text="a") | counted, choice() | {"usage": {"completion_tokens": "2"}}, "[DONE]")
    )
    assert said.usage == Tokens(input=7, output=2)
    nonsense = {"usage": {"prompt_tokens": -1, "completion_tokens": -2}}
    assert read("openai_chat", sse(choice(text="a") | nonsense, "[DONE]")).usage is None


def test_answers_beside_the_first_are_left_out() -> None:
    """Of several answers in a stream the one with index 0 is read, on both wires that have indexes."""
    assert read("openai_chat", sse(choice(0, "A"), choice(1, "B"), "[DONE]")).text == "A"
    assert read("openai_chat", sse(choice(1, "1"), choice(2, "2"), "[DONE]")).text == "12"
    candidates = [{"index": 1, "content": {"parts": [{"text": "B"}]}}, {"content": {"parts": [{"text": "A"}]}}]
    assert read("gemini", sse({"candidates": candidates}, "[DONE]")).text == "A"


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (choice(error={"code": 429, "message": "rate limited"}, finish_reason="error"), "RATE_LIMITED"),
        ({"choices": [], "x_groq": {"error": "over capacity"}}, "OVERLOADED"),
        (choice(finish_reason="insufficient_system_resource"), "OVERLOADED"),
    ],
)
def test_a_failure_may_be_in_a_choice_or_beside_it(event: dict[str, Any], kind: str) -> None:
    """OpenRouter's, Groq's and DeepSeek's own places for a failure are seen."""
    assert kind in read("openai_chat", sse(event)).failure


def test_half_a_pair_is_a_replacement_character() -> None:
    """A text that JSON can hold and UTF-8 cannot is compared as it can be sent on."""
    assert (
        read("openai_chat", b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\ndata: [DONE]\n\n').text == "\ufffd"
    )


def test_reasoning_may_be_in_its_details_alone() -> None:
    """OpenRouter's summaries are reasoning where no other field says it."""
    details = [{"type": "reasoning.summary", "summary": "hm"}]
    event = {"choices": [{"index": 0, "delta": {"reasoning_details": details}}]}
    assert read("openai_chat", sse(event, "[DONE]")).reasoning == "hm"


def test_a_call_without_a_name_is_no_answer() -> None:
    """Custom tools are not asked for; an adapter refuses a call of theirs, and so does the reader."""
    custom = [{"index": 0, "id": "a", "type": "custom", "custom": {"name": "f", "input": "x"}}]
    said = read("openai_chat", sse({"choices": [{"index": 0, "delta": {"tool_calls": custom}}]}, "[DONE]"))
    assert said.unread
    assert not said.complete


def test_bedrocks_blocks_may_share_an_index_and_cite() -> None:
    """A later call in the same place is another call, a string of arguments is what it holds, cited text is text."""
    starts = [
        ("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": i, "name": i}}}) for i in "ab"
    ]
    body = write_aws(
        (name, json.dumps(data).encode()) for name, data in (*starts, ("messageStop", {"stopReason": "tool_use"}))
    )
    assert [call.name for call in read("bedrock", body).calls] == ["a", "b"]
    content = [
        {"citationsContent": {"content": [{"text": "a"}]}},
        {"toolUse": {"toolUseId": "t", "name": "f", "input": '{"x":1}'}},
    ]
    whole = {"output": {"message": {"content": content}}, "stopReason": "tool_use"}
    said = read("bedrock", json.dumps(whole).encode())
    assert (said.text, said.calls[0].arguments) == ("a", {"x": 1})


def test_ollamas_arguments_as_a_string_and_a_count_that_denies_the_answer() -> None:
    """A string is the object that it holds; no tokens for an answer that has some is no count."""
    call = {"function": {"name": "f", "arguments": '{"x":1}'}}
    lines = [{"message": {"tool_calls": [call]}}, {"done": True, "prompt_eval_count": 1, "eval_count": 0}]
    said = read("ollama", write_lines(lines))
    assert said.calls[0].arguments == {"x": 1}
    assert said.usage is None


@pytest.mark.parametrize(
    ("status", "wire", "body", "kind"),
    [
        (429, "openai_chat", {"code": "x", "error": "used all available credits"}, "QUOTA_EXHAUSTED"),
        (
            422,
            "openai_chat",
            {"error": {"message": "`inputs` tokens + `max_new_tokens` must be <= 9"}},
            "CONTEXT_TOO_LONG",
        ),
        (429, "openai_chat", {"code": "queue_exceeded", "message": "x"}, "OVERLOADED"),
        (429, "gemini", {"error": {"details": [{"quotaId": "RequestsPerDay"}]}}, "QUOTA_EXHAUSTED"),
        (400, "ollama", {"error": "m does not support tools"}, "UNSUPPORTED"),
    ],
)
def test_words_and_codes_of_errors(status: int, wire: str, body: dict[str, Any], kind: str) -> None:
    """Errors that say in words or codes of their own what they are."""
    assert kind in expected(status, {}, json.dumps(body).encode(), wire=wire)


def test_a_compressed_body_is_bounded() -> None:
    """What unpacks to more than a recording may have is unreadable; members one after the other are one body."""
    with pytest.raises(Unreadable, match="more than"):
        unpacked(gzip.compress(bytes(MAX_FILE_BYTES + 1)), "gzip")
    with pytest.raises(Unreadable, match="too early"):
        unpacked(gzip.compress(b"data: [DONE]")[:-9], "gzip")
    assert unpacked(gzip.compress(b"a") + gzip.compress(b"b"), "gzip") == b"ab"


def test_a_status_may_be_a_line(tmp_path: Path) -> None:
    """Some recorders keep the status with its phrase."""
    file = tmp_path / "a.json"
    exchange = {"request": {"uri": "/chat/completions"}, "response": {"status": "200 OK", "body": "data: [DONE]\n\n"}}
    file.write_text(json.dumps({"interactions": [exchange]}), encoding="utf-8")
    found = read_file(file)
    assert isinstance(found[0], Interaction)
    assert found[0].status == 200
