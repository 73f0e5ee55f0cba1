"""NVIDIA's own Python client drives the emulated Triton: health, descriptions, streams of both backends, errors."""

from __future__ import annotations

import asyncio
import itertools
import json
import queue
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
from google.protobuf.descriptor import Descriptor
from tritonclient.grpc import aio, model_config_pb2, service_pb2
from tritonclient.utils import InferenceServerException

from backends.triton.v2 import inference_pb2 as ours
from simulation.wires.faults import Faults
from simulation.wires.triton import TritonServer
from simulation.wires.triton_models import NAMES, bls, ensemble, llm_api, old_ensemble, vllm

pytestmark = pytest.mark.judge("triton", "sdk")

_NUMPY = {"BOOL": np.bool_, "INT32": np.int32, "UINT32": np.uint32, "UINT64": np.uint64, "FP32": np.float32}


@pytest.fixture
async def server() -> AsyncIterator[TritonServer]:
    models = [ensemble(), bls(), bls("accumulating", accumulates=True), old_ensemble(), llm_api(), vllm()]
    server = TritonServer(models)
    await server.start("127.0.0.1", 0)
    yield server
    await server.close()


@pytest.fixture
async def client(server: TritonServer) -> AsyncIterator[aio.InferenceServerClient]:
    client = aio.InferenceServerClient(f"127.0.0.1:{server.port}")
    yield client
    await client.close()


def tensor(name: str, datatype: str, *values: Any, is_batched: bool = True) -> tritonclient.grpc.InferInput:
    array: Any = np.array(values, dtype=_NUMPY.get(datatype, np.object_))
    array = array.reshape((1, -1)) if is_batched else array
    found = tritonclient.grpc.InferInput(name, array.shape, datatype)
    found.set_data_from_numpy(array)
    return found


def asked(model: str, *inputs: tritonclient.grpc.InferInput) -> dict[str, Any]:
    return {"model_name": model, "inputs": list(inputs), "request_id": "7", "enable_empty_final_response": True}


async def streamed(
    server: TritonServer, *requests: dict[str, Any], headers: dict[str, str] | None = None
) -> list[tuple[Any, Any]]:
    """By start_stream and async_stream_infer, as NVIDIA's examples do it, in a thread: (result, error) of each."""

    def drive() -> list[tuple[Any, Any]]:
        answers: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
        with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            client.start_stream(callback=lambda result, error: answers.put((result, error)), headers=headers)
            for request in requests:
                client.async_stream_infer(**request)
            client.stop_stream()
        return [answers.get() for _ in range(answers.qsize())]

    return await asyncio.to_thread(drive)


def texts(answers: Sequence[tuple[Any, Any]], name: str = "text_output") -> list[str]:
    found = [result.as_numpy(name) for result, error in answers if error is None]
    return [array.reshape(-1)[0].decode() for array in found if array is not None]


def finals(answers: Sequence[tuple[Any, Any]]) -> list[bool]:
    return [result.get_response().parameters["triton_final_response"].bool_param for result, _ in answers]


HELLO = (tensor("text_input", "BYTES", b"hello"), tensor("max_tokens", "INT32", 12))
STREAM = tensor("stream", "BOOL", True)
EXCLUDE = tensor("exclude_input_in_output", "BOOL", True)


async def test_health_and_readiness_are_told(client: aio.InferenceServerClient, server: TritonServer) -> None:
    """Of the server, of a model, and of one that is not there."""
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("ensemble")
    assert not await client.is_model_ready("none")
    index = await client.get_model_repository_index()
    assert [model.name for model in index.models] == list(server.models)


async def test_descriptions_of_a_model_are_accepted(client: aio.InferenceServerClient) -> None:
    """Metadata with types by name and the batch dimension, the configuration with types by number."""
    metadata = await client.get_model_metadata("old")
    first = metadata.inputs[1]
    assert (first.name, first.datatype, list(first.shape)) == ("INPUT_1", "UINT32", [-1, -1])
    config = (await client.get_model_config("tensorrt_llm_bls")).config
    assert (config.max_batch_size, config.model_transaction_policy.decoupled) == (8, True)
    assert config.parameters["accumulate_tokens"].string_value == "False"
    assert config.input[0].data_type == model_config_pb2.TYPE_STRING
    assert [tensor.optional for tensor in config.input[:3]] == [False, False, True]
    with pytest.raises(InferenceServerException, match="unknown model") as caught:
        await client.get_model_config("none")
    assert caught.value.status() == "StatusCode.NOT_FOUND"


async def test_a_stream_of_the_tensorrtllm_backend_is_accepted(server: TritonServer) -> None:
    """Pieces of text, then an empty final answer; the request's id comes back with each."""
    answers = await streamed(server, asked("ensemble", *HELLO, STREAM, EXCLUDE))
    assert "".join(texts(answers)).startswith("Emulated answer of Triton, model ensemble")
    assert finals(answers) == [False] * 12 + [True]
    assert {result.get_response().id for result, _ in answers} == {"7"}


async def test_an_answer_in_one_piece_repeats_the_prompt(server: TritonServer) -> None:
    """Unless it is told to leave it out."""
    (said,) = texts(await streamed(server, asked("ensemble", *HELLO)))
    assert said.startswith("helloEmulated")


async def test_a_model_that_accumulates_repeats_the_text_so_far(server: TritonServer) -> None:
    """Each piece begins with the one before it."""
    pieces = texts(await streamed(server, asked("accumulating", *HELLO, STREAM, EXCLUDE)))
    assert all(after.startswith(before) for before, after in itertools.pairwise(pieces))
    assert len(pieces[-1]) == 48


async def test_an_old_ensemble_takes_its_own_names_and_types(server: TritonServer) -> None:
    """UINT32 for the limit, and words as one line of CSV."""
    inputs = [tensor("INPUT_0", "BYTES", b"hello"), tensor("INPUT_1", "UINT32", 60), tensor("INPUT_2", "BYTES", b"")]
    inputs += [tensor("INPUT_3", "BYTES", b'"no, nothing",model'), tensor("streaming", "BOOL", True)]
    answers = await streamed(server, asked("old", *inputs))
    assert "".join(texts(answers, "OUTPUT_0")) == "helloEmulated answer of Triton, model"


async def test_a_stream_of_the_vllm_backend_is_accepted(server: TritonServer) -> None:
    """Parameters in JSON; reason, counts and log-probabilities with each piece, the last of which is final."""
    flags = ("stream", "return_finish_reason", "return_num_input_tokens", "return_num_output_tokens", "return_logprobs")
    parameters = json.dumps({"max_tokens": 5, "logprobs": 2, "temperature": 0.5}).encode()
    inputs = [tensor("text_input", "BYTES", b"hello", is_batched=False)]
    inputs += [tensor("sampling_parameters", "BYTES", parameters, is_batched=False)]
    inputs += [tensor(flag, "BOOL", True, is_batched=False) for flag in flags]
    answers = await streamed(server, asked("vllm_model", *inputs))
    assert texts(answers, "finish_reason") == ["None"] * 4 + ["length"]
    assert [int(result.as_numpy("num_input_tokens")[0]) for result, _ in answers] == [2] * 5
    assert sum(int(result.as_numpy("num_output_tokens")[0]) for result, _ in answers) == 5
    (position,) = json.loads(texts(answers, "logprobs")[0])
    assert [entry["rank"] for entry in position.values()] == [1, 2]
    assert finals(answers) == [False] * 4 + [True]


async def test_a_refusal_is_words_and_the_stream_goes_on(server: TritonServer) -> None:
    """Without the header that asks for a status, the next request on the same stream is answered."""
    (_, first), *rest = await streamed(server, asked("none", *HELLO), asked("ensemble", *HELLO, STREAM, EXCLUDE))
    assert "unknown model: 'none'" in first.message()
    assert finals(rest)[-1]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (HELLO[:1], "missing required input"),
        ((*HELLO, tensor("nothing", "BOOL", True)), "unexpected inference input 'nothing'"),
        ((HELLO[0], tensor("max_tokens", "UINT32", 12)), "data-type is 'UINT32', but model 'ensemble' expects 'INT32'"),
        ((HELLO[0], tensor("max_tokens", "INT32", 12, is_batched=False)), "unexpected shape for input 'max_tokens'"),
    ],
)
async def test_tensors_that_are_wrong_are_refused(
    server: TritonServer, inputs: tuple[tritonclient.grpc.InferInput, ...], words: str
) -> None:
    """By name, type and shape, in Triton's words."""
    ((_, error),) = await streamed(server, asked("ensemble", *inputs))
    assert words in error.message()


async def test_a_failure_has_a_status_where_it_is_asked_for(server: TritonServer) -> None:
    """By the header `triton_grpc_error`; the stream ends with it."""
    server.faults = Faults(status=503, code="the model is not ready")
    ((_, error),) = await streamed(server, asked("ensemble", *HELLO), headers={"triton_grpc_error": "true"})
    assert (error.status(), error.message()) == ("StatusCode.UNAVAILABLE", "the model is not ready")


async def test_an_error_in_the_middle_of_a_stream_is_read(server: TritonServer) -> None:
    """After what came before it."""
    server.faults = Faults(error_after=2)
    answers = await streamed(server, asked("ensemble", *HELLO, STREAM, EXCLUDE))
    assert [error is None for _, error in answers] == [True, True, False]


async def test_the_asyncio_client_is_answered_too(client: aio.InferenceServerClient) -> None:
    """It cannot ask for an empty final answer, and gets none."""

    async def requests() -> AsyncIterator[dict[str, Any]]:
        yield asked("tensorrt_llm_bls", *HELLO, STREAM, EXCLUDE)

    answers = [pair async for pair in client.stream_infer(requests())]
    assert len(texts(answers)) == 12
    assert finals(answers) == [False] * 12


async def test_a_stream_that_is_cancelled_is_noticed(server: TritonServer) -> None:
    """stop_stream with cancel_requests frees the server."""
    server.faults = Faults(stall_after=1)

    def drive() -> None:
        came: queue.SimpleQueue[Any] = queue.SimpleQueue()
        with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            client.start_stream(callback=lambda result, error: came.put(result or error))
            client.async_stream_infer(**asked("ensemble", *HELLO, STREAM, EXCLUDE))
            came.get(timeout=5)
            client.stop_stream(cancel_requests=True)

    await asyncio.to_thread(drive)
    async with asyncio.timeout(2):
        await server.disconnected()
    assert server.disconnects == 1


def test_our_messages_have_the_fields_of_the_vendors() -> None:
    """Every field of ours has the name, number, kind and repetition of NVIDIA's own."""
    theirs = {
        **service_pb2.DESCRIPTOR.message_types_by_name,
        **model_config_pb2.DESCRIPTOR.message_types_by_name,
    }
    compared = [
        field
        for name, message in ours.DESCRIPTOR.message_types_by_name.items()
        for field in _differences(message, theirs.get(name))
    ]
    assert compared == []


def test_types_of_tensors_have_the_vendors_numbers() -> None:
    """As far as they are used."""
    vendors = {name.removeprefix("TYPE_"): number for name, number in model_config_pb2.DataType.items()}
    assert {vendors["STRING" if name == "BYTES" else name]: name for name in NAMES.values()} == NAMES


def _differences(mine: Descriptor, vendors: Descriptor | None) -> list[str]:
    if vendors is None:
        return [mine.full_name]
    found: list[str] = []
    for field in mine.fields:
        other = vendors.fields_by_name.get(field.name)
        kind = field.cpp_type if other is None or other.enum_type is None else other.cpp_type  # enums are our integers
        if other is None or (field.number, kind, field.is_repeated) != (
            other.number,
            other.cpp_type,
            other.is_repeated,
        ):
            found.append(f"{mine.full_name}.{field.name}")
        elif field.message_type is not None:
            found += _differences(field.message_type, other.message_type)
    return found
