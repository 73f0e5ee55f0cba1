"""The Triton adapter against the emulated server that NVIDIA's own client has judged: what is asked and answered."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from backends.contract import FinishReason, GenerateRequest, ImagePart, Message, ResponseFormat, Tool
from backends.errors import Unsupported
from tests.contract.emulated import ask, text
from tests.contract.triton_stage import USER, Stage, a_request, events, limited, staged

SCHEMA = msgspec.Raw(b'{"type":"object","properties":{"a":{"const":1}},"required":["a"]}')
WANTED = ResponseFormat(kind="json_schema", name="n", schema=SCHEMA)
TENSORRTLLM = ["ensemble", "tensorrt_llm_bls", "accumulating", "old", "tensorrt_llm"]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged() as made:
        yield made


@pytest.mark.parametrize("model", [*TENSORRTLLM, "whole", "vllm_model"])
async def test_every_kind_of_model_answers_with_the_same_words(stage: Stage, model: str) -> None:
    """Whatever its tensors are called, and whether it answers in pieces, in one, by repetition, or after the prompt."""
    chunks = await ask(stage.of(model), a_request(model, sampling=limited(20)))
    assert text(chunks).startswith(f"Emulated answer of Triton, model {model}: no")
    assert len(text(chunks)) == 80
    assert events(chunks) == (1 if model == "whole" else 20)


@pytest.mark.parametrize("model", [*TENSORRTLLM, "vllm_model"])
async def test_the_limit_of_tokens_is_a_finish_reason(stage: Stage, model: str) -> None:
    """Said by the server, or known from as many pieces as tokens were allowed."""
    cut = await ask(stage.of(model), a_request(model, sampling=limited(20)))
    assert cut[-1].finish_reason is FinishReason.LENGTH
    ended = await ask(stage.of(model), a_request(model, sampling=limited(2000)))
    assert ended[-1].finish_reason is FinishReason.STOP


@pytest.mark.parametrize("model", [*TENSORRTLLM, "whole", "vllm_model"])
async def test_a_stop_sequence_ends_the_answer_before_it(stage: Stage, model: str) -> None:
    """Also where the server leaves it on the text, and where it has a comma in it."""
    sampling = limited(200, stop=("nothing, never", ": no model"))
    chunks = await ask(stage.of(model), a_request(model, sampling=sampling))
    assert text(chunks) == f"Emulated answer of Triton, model {model}"
    assert chunks[-1].finish_reason is FinishReason.STOP
    assert chunks[-1].stop_sequence == (None if model == "vllm_model" else ": no model")


async def test_usage_is_counted_or_estimated_and_says_which(stage: Stage) -> None:
    """The vllm backend counts; the others do not."""
    counted = (await ask(stage.of("vllm_model"), a_request("vllm_model", sampling=limited(20))))[-1].usage
    assert counted is not None
    assert (counted.estimated, counted.output, counted.input > 8) == (False, 20, True)
    estimated = (await ask(stage.of("ensemble"), a_request(sampling=limited(20))))[-1].usage
    assert estimated is not None
    assert (estimated.estimated, estimated.output) == (True, 20)


async def test_a_conversation_is_rendered_by_the_chat_template(stage: Stage) -> None:
    """A trailing assistant message is continued, and a plain prompt goes as it is."""
    turns = (Message(role="system", content="Be brief."), USER, Message(role="assistant", content="It is"))
    await ask(stage.backend(), a_request("ensemble", *turns, sampling=limited(3)))
    (prompt,) = stage.server.seen[-1]["values"]["text_input"]
    assert prompt.startswith(b"<|im_start|>system\nBe brief.<|im_end|>\n")
    assert prompt.endswith(b"<|im_start|>assistant\nIt is")
    await ask(stage.backend(), GenerateRequest(model="ensemble", prompt="Once upon", sampling=limited(3)))
    assert stage.server.seen[-1]["values"]["text_input"] == [b"Once upon"]


async def test_the_first_token_is_put_there_once(stage: Stage) -> None:
    """By the server's tokenizer, unless the backend is told that it does not."""
    for options, has_bos in (({}, False), ({"bos": "prompt"}, True)):
        await ask(stage.backend(chat_template="llama3", **options), a_request(sampling=limited(3)))
        (prompt,) = stage.server.seen[-1]["values"]["text_input"]
        assert prompt.startswith(b"<|begin_of_text|>") is has_bos


@pytest.mark.parametrize(
    ("model", "sampled", "limit"),
    [
        ("ensemble", {"temperature": "FP32", "top_k": "INT32", "random_seed": "UINT64"}, ("max_tokens", "INT32")),
        ("old", {"temperature": "FP32", "runtime_top_k": "UINT32", "random_seed": "UINT64"}, ("INPUT_1", "UINT32")),
    ],
)
async def test_parameters_go_in_the_types_that_the_model_names(
    stage: Stage, model: str, sampled: dict[str, str], limit: tuple[str, str]
) -> None:
    """The same request, in the tensors of two generations."""
    sampling = limited(7, temperature=0.5, top_k=4, seed=2**64 - 1)
    await ask(stage.of(model), a_request(model, sampling=sampling))
    seen = stage.server.seen[-1]
    types = {name: datatype for name, (datatype, _) in seen["inputs"].items()}
    assert sampled.items() <= types.items()
    assert (types[limit[0]], seen["values"][limit[0]]) == (limit[1], [7])
    assert seen["values"]["random_seed"] == [2**64 - 1]
    assert seen["inputs"][limit[0]][1] == [1, 1]


async def test_parameters_of_the_vllm_backend_are_json(stage: Stage) -> None:
    """In one string, and without what nobody asked for."""
    sampling = limited(7, temperature=0.0, min_p=0.1, stop=("x",))
    await ask(stage.of("vllm_model"), a_request("vllm_model", sampling=sampling))
    values = stage.server.seen[-1]["values"]
    assert msgspec.json.decode(values["sampling_parameters"][0]) == {
        "max_tokens": 7,
        "temperature": 0.0,
        "min_p": 0.1,
        "stop": ["x"],
    }


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("ensemble", {}),
        ("vllm_model", {}),
        ("vllm_model", {"schema_field": "guided_decoding"}),
    ],
)
async def test_structured_output_keeps_to_its_schema(stage: Stage, model: str, options: dict[str, str]) -> None:
    """Through the tensors for it, or in the parameters of the vllm backend, old or new."""
    backend = stage.backend("vllm" if model == "vllm_model" else "tensorrtllm", **options)
    assert text(await ask(backend, a_request(model, response_format=WANTED))) == '{"a": 1}'
    free = await ask(backend, a_request(model, response_format=ResponseFormat(kind="json_object")))
    assert msgspec.json.decode(text(free)) == {"emulated": True, "answer": "no model has run"}


async def test_what_a_model_has_no_tensor_for_is_refused(stage: Stage) -> None:
    """Never dropped; another backend may take it. What is switched off asks for nothing."""
    with pytest.raises(Unsupported, match="model old has no input for it") as caught:
        await ask(stage.of("old"), a_request("old", response_format=WANTED))
    assert caught.value.retryable
    with pytest.raises(Unsupported, match="model old has no input for it"):
        await ask(stage.of("old"), a_request("old", sampling=limited(3, frequency_penalty=0.5)))
    with pytest.raises(Unsupported, match="min_p"):
        await ask(stage.of("ensemble"), a_request(sampling=limited(3, min_p=0.5)))
    with pytest.raises(Unsupported, match="tools"):
        await ask(stage.of("ensemble"), a_request(tools=(Tool(name="t", parameters=SCHEMA),)))
    picture = Message(role="user", content=(ImagePart(url="data:image/png;base64,AA=="),))
    with pytest.raises(Unsupported, match="images"):
        await ask(stage.of("ensemble"), a_request("ensemble", picture))
    assert text(await ask(stage.of("ensemble"), a_request(sampling=limited(3, min_p=0.0))))


async def test_log_probabilities_come_where_they_are_asked_for(stage: Stage) -> None:
    """One for each token, with the likeliest others."""
    sampling = limited(5, logprobs=True, top_logprobs=2)
    chunks = await ask(stage.of("vllm_model"), a_request("vllm_model", sampling=sampling))
    found = [entry for chunk in chunks for entry in chunk.logprobs]
    assert "".join(entry.token for entry in found) == text(chunks)
    assert [len(entry.top) for entry in found] == [2] * 5


async def test_a_server_that_keeps_its_configuration_is_read_by_its_metadata(stage: Stage) -> None:
    """Names and types are in both."""
    stage.server.tells_config = False
    for model in ("ensemble", "old", "vllm_model"):
        chunks = await ask(stage.of(model), a_request(model, sampling=limited(20)))
        assert len(text(chunks)) == 80
