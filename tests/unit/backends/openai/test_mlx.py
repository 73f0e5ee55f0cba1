"""What mlx-lm cannot be told, and what is done on our side in its place."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.contract import Chunk, FinishReason, GenerateRequest, Message, Sampling, Tool, ToolChoice, Usage
from backends.errors import ProtocolViolation, Unsupported
from backends.failures.classify import from_event
from backends.http.exchange import Decoder
from backends.openai.codec import OpenAICodec
from backends.openai.profiles import PROFILES

MLX = OpenAICodec(PROFILES["mlx"])
HELLO = (Message(role="user", content="Say hello."),)
TOOL = Tool(name="f")
pieces = st.lists(st.text("abSTOP", min_size=1, max_size=6), min_size=1, max_size=8)


def encoded(**fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(
        MLX.encode(GenerateRequest(model="m", messages=HELLO, **fields), upstream_model="m").body
    )
    return body


def decoder(*stops: str) -> Decoder:
    request = GenerateRequest(model="m", messages=HELLO, sampling=Sampling(stop=stops))
    return MLX.decoder(request, read_failure=lambda body: from_event(body, rules=MLX.dialect.failures))


def event(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "finish_reason": finish, "delta": {"role": "assistant", "content": text}}
    return b"data: %b\n\n" % msgspec.json.encode({"object": "chat.completion.chunk", "choices": [choice]})


USAGE = b'data: {"object":"chat.completion","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n'
DONE = b"data: [DONE]\n\n"


def text(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def test_a_call_that_it_would_not_be_held_to_is_refused() -> None:
    """A tool choice is passed over there: what forces a call is refused, and what forbids one takes the tools away."""
    for mode in ("required", "function"):
        with pytest.raises(Unsupported) as refused:
            encoded(tools=(TOOL,), tool_choice=ToolChoice(mode=mode, name="f"))
        assert refused.value.param == "tool_choice"
    assert encoded(tools=(TOOL,), tool_choice=ToolChoice(mode="none")).keys().isdisjoint({"tools", "tool_choice"})
    assert "tools" in encoded(tools=(TOOL,), tool_choice=ToolChoice(mode="auto"))


def test_stop_sequences_can_be_asked_for_and_are_not_sent() -> None:
    """They are found on our side, so the family has the parameter, and its servers never see it."""
    assert "stop" in MLX.dialect.features.parameters
    assert "stop" not in encoded(sampling=Sampling(stop=("x",)))


@given(pieces, st.integers(0, 3))
def test_an_answer_ends_where_the_sequence_begins(parts: list[str], grouped: int) -> None:
    """However the text comes in pieces, and however many events one read brings."""
    stop = decoder("STOP")
    whole = "".join(parts)
    events = [*(event(part) for part in parts), event("", "stop"), USAGE, DONE]
    size = grouped + 1
    chunks: list[Chunk] = []
    for start in range(0, len(events), size):
        if not stop.done:
            chunks += stop.feed(b"".join(events[start : start + size]))
    assert stop.done
    assert stop.ended
    kept, found, _ = whole.partition("STOP")
    assert text(chunks) == kept
    ends = [(chunk.finish_reason, chunk.stop_sequence) for chunk in chunks if chunk.finish_reason]
    assert ends == [(FinishReason.STOP, found or None)]
    usage = next(chunk.usage for chunk in reversed(chunks) if chunk.usage)
    assert usage == Usage(input=7, output=3) or (found and usage.estimated and 0 < usage.output <= len(parts))


def test_an_answer_without_the_sequence_is_as_it_was() -> None:
    """What was held back comes with the end; a broken stream is still broken; one document is cut as well."""
    plain = decoder("STOP")
    assert text(plain.feed(event("abST"))) == "ab"
    assert text(plain.feed(event("", "stop") + DONE)) == "ST"
    assert plain.close() == []

    broken = decoder("STOP")
    broken.feed(event("abST"))
    with pytest.raises(ProtocolViolation):
        broken.close()

    cut = decoder("STOP")
    assert cut.feed(event("abSTOPcd"))[-1].stop_sequence == "STOP"
    assert cut.close() == []

    document = (
        b'{"choices":[{"message":{"content":"abSTOPcd"},"finish_reason":"stop"}],"usage":{"completion_tokens":4}}'
    )
    chunks = decoder("STOP").whole(document)
    assert (text(chunks), chunks[-1].stop_sequence) == ("ab", "STOP")
    assert chunks[-1].usage == Usage(output=4)
