"""What is asked of JetStream, and what its answers mean."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.chat_template import ChatTemplate
from backends.contract import (
    Chunk,
    FinishReason,
    GenerateRequest,
    ImagePart,
    Message,
    ResponseFormat,
    Sampling,
    TextPart,
    Tool,
    Usage,
)
from backends.errors import BadRequest, ProtocolViolation, Unsupported
from backends.jetstream import DIALECT, WIRE
from backends.jetstream.codec import JetStreamCodec, JetStreamDecoder
from backends.jetstream.v1 import jetstream_pb2 as pb

USER = Message(role="user", content="Hello?")
END = "<end_of_turn>"


def codec(*, template: str = "gemma", default: int = 1024, keep_bos: bool = False) -> JetStreamCodec:
    return JetStreamCodec(DIALECT, ChatTemplate.load(template), default_max_tokens=default, keep_bos=keep_bos)


async def asked(request: GenerateRequest, **settings: Any) -> tuple[pb.DecodeRequest, JetStreamDecoder]:
    return await codec(**settings).prepare(request, upstream_model="gemma", request_id="r")


def chat(*messages: Message, **sampling: Any) -> GenerateRequest:
    return GenerateRequest(model="gemma", messages=messages or (USER,), sampling=Sampling(**sampling))


def said(text: str, *tokens: int) -> pb.DecodeResponse:
    sample = pb.DecodeResponse.StreamContent.Sample(text=text, token_ids=tokens)
    return pb.DecodeResponse(stream_content=pb.DecodeResponse.StreamContent(samples=[sample]))


def decoded(*messages: pb.DecodeResponse, limit: int = 100, stops: tuple[str, ...] = ()) -> list[Chunk]:
    """The chunks of a call that ended with OK, if the answer had not ended before it."""
    decoder = JetStreamDecoder(limit, stops, END)
    chunks: list[Chunk] = []
    for message in messages:
        chunks += decoder.feed(message)
        if decoder.done:
            assert decoder.is_cut
            return chunks
    return chunks + decoder.close()


def text(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


async def test_messages_go_through_the_template() -> None:
    """Without the first token, which the server's tokenizer adds."""
    message, _ = await asked(chat(max_output_tokens=7))
    assert message.text_content.text == "<start_of_turn>user\nHello?<end_of_turn>\n<start_of_turn>model\n"
    assert (message.max_tokens, message.num_samples) == (7, 1)


async def test_the_first_token_can_be_ours() -> None:
    """For a server that adds none."""
    message, _ = await asked(chat(), keep_bos=True)
    assert message.text_content.text.startswith("<bos><start_of_turn>user")


async def test_a_plain_prompt_goes_as_it_is() -> None:
    """No template is put around it, and no turn ends in it."""
    message, decoder = await asked(GenerateRequest(model="gemma", prompt="Once upon"))
    assert message.text_content.text == "Once upon"
    assert text(decoder.feed(said(f"a {END} time", 1, 2))) == f"a {END} time"


async def test_a_trailing_assistant_message_is_continued() -> None:
    """The prompt ends inside of it."""
    message, _ = await asked(chat(USER, Message(role="assistant", content="Once")))
    assert message.text_content.text.endswith("<start_of_turn>model\nOnce")


async def test_a_limit_is_always_sent() -> None:
    """The backend's default where the caller gives none: the wire has no word for "no limit"."""
    message, _ = await asked(chat(), default=33)
    assert message.max_tokens == 33


async def test_a_limit_that_the_wire_cannot_hold_is_refused() -> None:
    """It is 32 bits there."""
    with pytest.raises(BadRequest, match="INT32"):
        await asked(chat(max_output_tokens=1 << 31))


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 0.5},
        {"temperature": 0.0},
        {"top_p": 0.9},
        {"top_k": 5},
        {"seed": 3},
        {"min_p": 0.1},
        {"presence_penalty": 1.0},
        {"frequency_penalty": 1.0},
        {"repetition_penalty": 1.2},
        {"logprobs": True},
        {"top_logprobs": 2},
        {"reasoning_effort": "low"},
    ],
    ids=lambda sampling: next(iter(sampling)),
)
async def test_a_parameter_without_a_word_for_it_is_refused(sampling: dict[str, Any]) -> None:
    """And the dialect says so before."""
    (name,) = sampling
    assert name not in DIALECT.features.parameters
    with pytest.raises(Unsupported) as caught:
        await asked(chat(**sampling))
    assert caught.value.param == name


async def test_tools_and_schemas_are_refused() -> None:
    """The engine can do neither, and the dialect says so before."""
    assert not DIALECT.features.capabilities & {"tools", "json_object", "json_schema", "vision", "logprobs"}
    for fields in (
        {"tools": (Tool(name="f"),)},
        {"response_format": ResponseFormat(kind="json_object")},
        {"response_format": ResponseFormat(kind="json_schema", schema=msgspec.Raw(b"{}"))},
    ):
        with pytest.raises(Unsupported):
            await asked(msgspec.structs.replace(chat(), **fields))


async def test_an_image_is_refused() -> None:
    """A prompt is text."""
    seen = Message(role="user", content=(TextPart(text="what?"), ImagePart(url="http://host/cat.png")))
    with pytest.raises(Unsupported, match="images"):
        await asked(chat(seen))


def test_the_template_is_an_option_that_must_be_given() -> None:
    """No server of this wire knows its own."""
    assert [name for name, _ in WIRE.check_options({})] == ["chat_template"]
    assert not WIRE.check_options({"chat_template": "llama3", "default_max_tokens": "9", "bos": "prompt"})
    assert [name for name, _ in WIRE.check_options({"chat_template": "llama3", "default_max_tokens": "0"})] == [
        "default_max_tokens"
    ]


def test_text_is_passed_on_as_it_comes() -> None:
    """The first response says nothing; the last, an empty sample, ends nothing by itself."""
    initial = pb.DecodeResponse(initial_content=pb.DecodeResponse.InitialContent())
    chunks = decoded(initial, said("He", 1), said("llo", 2, 3), said(""))
    assert [chunk.text for chunk in chunks] == ["He", "llo", ""]
    assert [chunk.events for chunk in chunks] == [1, 1, 0]
    assert chunks[-1].finish_reason is FinishReason.STOP
    assert chunks[-1].usage == Usage(output=3, estimated=True)


def test_responses_are_counted_where_no_tokens_come() -> None:
    """One with text is taken for a token."""
    assert decoded(said("a"), said("b"), said(""))[-1].usage == Usage(output=2, estimated=True)


def test_as_many_tokens_as_were_allowed_are_a_cut() -> None:
    """Whatever responses they come in; one that ended the answer by itself has no text."""
    assert decoded(said("a", 1, 2), said("b", 3), limit=3)[-1].finish_reason is FinishReason.LENGTH
    assert decoded(said("a", 1, 2), said("b", 3, 4), limit=3)[-1].finish_reason is FinishReason.LENGTH
    assert decoded(said("a", 1, 2), limit=3)[-1].finish_reason is FinishReason.STOP
    assert decoded(said("a", 1, 2), said("", 3), limit=3)[-1].finish_reason is FinishReason.STOP


def test_an_answer_of_no_tokens_is_an_answer() -> None:
    """The model ended it at once."""
    (chunk,) = decoded(said(""))
    assert (chunk.finish_reason, chunk.usage) == (FinishReason.STOP, Usage(estimated=True))


def test_a_call_that_says_nothing_is_no_answer() -> None:
    """Whatever its status."""
    for messages in ((), (pb.DecodeResponse(initial_content=pb.DecodeResponse.InitialContent()),)):
        with pytest.raises(ProtocolViolation):
            decoded(*messages)


def test_only_the_first_sample_is_read() -> None:
    """One is asked for."""
    message = said("a", 1)
    message.stream_content.samples.add(text="b", token_ids=[2])
    assert text(decoded(message)) == "a"


def test_the_end_of_a_turn_ends_the_answer_and_is_not_shown() -> None:
    """Where the engine takes it for text like any other."""
    chunks = decoded(said("Yes.", 1), said(END, 2), said("user", 3))
    assert text(chunks) == "Yes."
    assert chunks[-1].finish_reason is FinishReason.STOP
    assert chunks[-1].stop_sequence is None
    assert chunks[-1].usage == Usage(output=2, estimated=True)


@given(st.text("ab#", max_size=24), st.integers(1, 5))
def test_an_answer_ends_where_a_stop_sequence_begins(whole: str, size: int) -> None:
    """Whatever pieces it comes in; without one, nothing of it is lost."""
    pieces = [said(whole[at : at + size], at) for at in range(0, len(whole), size)]
    chunks = decoded(*pieces, said(""), stops=("##", "#b"))
    places = [at for stop in ("##", "#b") if (at := whole.find(stop)) >= 0]
    assert text(chunks) == (whole[: min(places)] if places else whole)
    assert chunks[-1].finish_reason is FinishReason.STOP
    assert chunks[-1].stop_sequence == (whole[min(places) :][:2] if places else None)
