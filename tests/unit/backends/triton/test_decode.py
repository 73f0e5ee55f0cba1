"""Answers of a stream, decoded without a server."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.contract import Chunk, FinishReason
from backends.errors import BackendError, ContextTooLong, ModelNotServed, ProtocolViolation, UpstreamFault
from backends.triton.decode import Expected, TritonDecoder
from backends.triton.dialects import DIALECTS
from backends.triton.shape import ModelShape
from backends.triton.tensors import pack
from backends.triton.v2 import inference_pb2 as pb

NAMES = ("text_output", "finish_reason", "num_input_tokens", "num_output_tokens", "logprobs")
SHAPE = ModelShape(inputs={}, outputs=frozenset(NAMES), is_batched=False)
PROMPT = "a prompt of more than a few characters: "


def a_decoder(dialect: str = "tensorrtllm", **expected: Any) -> TritonDecoder:
    return TritonDecoder(SHAPE, DIALECTS[dialect], Expected(**{"request_id": "7", "max_tokens": 100, **expected}))


def piece(
    text: str | bytes | None, *, final: bool = False, request_id: str = "7", **more: str | int
) -> pb.ModelStreamInferResponse:
    answer = pb.ModelInferResponse(id=request_id)
    answer.parameters["triton_final_response"].bool_param = final
    if text is not None:
        raw = text.encode() if isinstance(text, str) else text
        answer.outputs.add(name="text_output", datatype="BYTES")
        answer.raw_output_contents.append(len(raw).to_bytes(4, "little") + raw)
    for name, value in more.items():
        datatype = "BYTES" if isinstance(value, str) else "UINT32"
        answer.outputs.add(name=name, datatype=datatype)
        answer.raw_output_contents.append(pack(datatype, [value]))
    return pb.ModelStreamInferResponse(infer_response=answer)


def decoded(decoder: TritonDecoder, *pieces: pb.ModelStreamInferResponse) -> list[Chunk]:
    return [chunk for message in pieces for chunk in decoder.feed(message)]


def text(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


END = piece(None, final=True)


def test_the_end_has_to_be_said() -> None:
    """A call that ends well without it was cut, and so was one that said nothing."""
    decoder = a_decoder()
    decoded(decoder, piece("a"))
    assert not decoder.done
    with pytest.raises(ProtocolViolation, match="ended before the answer"):
        decoder.close()
    with pytest.raises(ProtocolViolation, match="without an answer"):
        decoded(a_decoder(), END)


def test_answers_to_other_requests_are_not_ours() -> None:
    """One stream may carry several."""
    chunks = decoded(a_decoder(), piece("a"), piece("b", request_id="8"), piece(None, final=True, request_id="8"))
    assert text(chunks) == "a"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), min_size=1), st.data())
def test_text_that_is_cut_anywhere_comes_out_whole(said: str, data: st.DataObject) -> None:
    """Also within a character, piece by piece or repeated from the beginning."""
    raw = said.encode()
    at = data.draw(st.lists(st.integers(0, len(raw)), max_size=4).map(sorted))
    ends = [*at, len(raw)]
    pieces = [raw[start:end] for start, end in zip([0, *at], ends, strict=True)]
    assert text(decoded(a_decoder(), *map(piece, pieces), END)) == said
    repeated = [piece(raw[:end]) for end in ends]
    assert text(decoded(a_decoder(is_cumulative=True), *repeated, END)) == said


@given(st.lists(st.integers(0, len(PROMPT) + 12), max_size=5).map(sorted))
def test_a_repeated_prompt_is_taken_off_in_whatever_pieces_it_comes(at: list[int]) -> None:
    """And an answer that only begins like it is left alone."""
    said = PROMPT + "and its answer"
    pieces = [said[start:end] for start, end in zip([0, *at], [*at, len(said)], strict=True)]
    assert text(decoded(a_decoder(echoes=(PROMPT,)), *map(piece, pieces), END)) == "and its answer"
    assert text(decoded(a_decoder(echoes=(PROMPT,)), piece(PROMPT[:10]), END)) == PROMPT[:10]


@given(st.lists(st.integers(0, 17), max_size=5).map(sorted))
def test_a_stop_sequence_is_found_in_whatever_pieces_it_comes(at: list[int]) -> None:
    """Nothing of it is delivered, and what follows is not waited for."""
    said = "an answer STOP more"
    pieces = [said[start:end] for start, end in zip([0, *at], [*at, len(said)], strict=True)]
    decoder = a_decoder(stops=("STOP", "never"))
    chunks: list[Chunk] = []
    for part in pieces:
        chunks += decoder.feed(piece(part))
        if decoder.done:
            break
    assert text(chunks) == "an answer "
    assert (decoder.is_cut, chunks[-1].finish_reason, chunks[-1].stop_sequence) == (True, FinishReason.STOP, "STOP")


def test_the_end_of_a_turn_is_no_stop_sequence_of_the_callers() -> None:
    """It ends the answer and is not spoken of."""
    chunks = decoded(a_decoder(end_of_turn="<|im_end|>"), piece("hi<|im_"), piece("end|>"))
    assert text(chunks) == "hi"
    assert (chunks[-1].finish_reason, chunks[-1].stop_sequence) == (FinishReason.STOP, None)


@pytest.mark.parametrize(
    ("pieces", "limit", "reason"),
    [(2, 2, FinishReason.LENGTH), (2, 3, FinishReason.STOP), (1, 1, FinishReason.LENGTH)],
)
def test_as_many_pieces_as_tokens_were_allowed_mean_the_limit(pieces: int, limit: int, reason: FinishReason) -> None:
    """Where the server gives no reason."""
    chunks = decoded(a_decoder(max_tokens=limit), *[piece("a")] * pieces, END)
    assert chunks[-1].finish_reason is reason
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.output, usage.estimated) == (pieces, True)


def test_a_server_that_counts_is_believed() -> None:
    """Counts come with each piece; the reason with the last, which may be the final answer itself."""
    first = piece("a", finish_reason="None", num_input_tokens=9, num_output_tokens=2)
    last = piece("b", final=True, finish_reason="length", num_input_tokens=9, num_output_tokens=1)
    chunks = decoded(a_decoder("vllm"), first, last)
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.input, usage.output, usage.estimated) == (9, 3, False)
    assert chunks[-1].finish_reason is FinishReason.LENGTH


def test_an_answer_that_the_engine_gave_up_is_a_failure() -> None:
    """No finish reason of ours."""
    with pytest.raises(UpstreamFault, match="abort"):
        decoded(a_decoder("vllm"), piece("a", finish_reason="abort"))


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Request for unknown model: 'm' is not found", ModelNotServed),
        ("Prompt length (9000) exceeds maximum input length (8192).", ContextTooLong),
        ("Encountered an error in forward function", BackendError),
    ],
)
def test_an_error_in_the_stream_has_its_kind_and_no_secret(words: str, kind: type[BackendError]) -> None:
    """By the server's words alone."""
    message = pb.ModelStreamInferResponse(error_message=f"{words} sk-secret-value")
    with pytest.raises(kind) as caught:
        a_decoder(secret="sk-secret-value").feed(message)
    assert "sk-secret-value" not in str(caught.value)


def test_log_probabilities_have_the_chosen_token_first() -> None:
    """And the likeliest by rank; what cannot be read is told."""
    given = '[{"1":{"logprob":-2.5,"rank":2,"decoded_token":"a"},"2":{"logprob":-0.5,"rank":1,"decoded_token":"b"}}]'
    (chunk, *_) = decoded(a_decoder("vllm", top_logprobs=1), piece("a", logprobs=given))
    (entry,) = chunk.logprobs
    assert (entry.token, [top.token for top in entry.top]) == ("a", ["b"])
    with pytest.raises(ProtocolViolation, match="cannot be read"):
        decoded(a_decoder("vllm"), piece("a", logprobs="[{]"))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_and_chunks_or_an_error_of_ours(raw: bytes) -> None:
    """As contents of every output."""
    answer = pb.ModelInferResponse(id="7")
    for name in NAMES:
        answer.outputs.add(name=name, datatype="UINT32" if name.startswith("num") else "BYTES")
        answer.raw_output_contents.append(raw)
    decoder = a_decoder("vllm")
    try:
        decoded(decoder, pb.ModelStreamInferResponse(infer_response=answer), END)
    except BackendError:
        return
    assert decoder.done
