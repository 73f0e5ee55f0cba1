"""Requests as tensors, by what a model says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pytest

from backends.contract import GenerateRequest, Sampling
from backends.errors import BadRequest, ProtocolViolation
from backends.triton.dialects import DIALECTS
from backends.triton.encode import Settings, encode, streams
from backends.triton.shape import ModelShape, Tensor, from_config, from_metadata
from backends.triton.tensors import unpack_strings
from backends.triton.v2 import inference_pb2 as pb

TENSORRTLLM, VLLM = DIALECTS["tensorrtllm"], DIALECTS["vllm"]
SETTINGS = Settings()
LEAST: Mapping[str, str] = MappingProxyType({"text_input": "BYTES", "max_tokens": "INT32"})


def a_shape(*, optional: bool | None = True, is_batched: bool = True, **inputs: str) -> ModelShape:
    return ModelShape(
        inputs={
            name: Tensor(name=name, datatype=datatype, dims=(1,), optional=optional and name not in LEAST)
            for name, datatype in {**LEAST, **inputs}.items()
        },
        outputs=frozenset({"text_output"}),
        is_batched=is_batched,
    )


def encoded(sampling: Sampling, shape: ModelShape, stops: tuple[str, ...] = ()) -> dict[str, pb.ModelInferRequest]:
    """The message under the key "", and each input alone under its name."""
    message = encode(
        GenerateRequest(model="m", prompt="hello", sampling=sampling),
        prompt="hello",
        stops=stops,
        model="m",
        request_id="7",
        shape=shape,
        dialect=TENSORRTLLM,
        settings=SETTINGS,
    )
    found = {"": message}
    for tensor, raw in zip(message.inputs, message.raw_input_contents, strict=True):
        found[tensor.name] = pb.ModelInferRequest(inputs=[tensor], raw_input_contents=[raw])
    return found


def contents(found: Mapping[str, pb.ModelInferRequest], name: str) -> bytes:
    return found[name].raw_input_contents[0]


def test_a_message_says_who_asks_what_of_whom() -> None:
    """The model, the id that comes back, and that an empty last answer is wanted."""
    message = encoded(Sampling(), a_shape())[""]
    assert (message.model_name, message.id) == ("m", "7")
    assert message.parameters["triton_enable_empty_final_response"].bool_param


def test_only_tensors_that_the_model_has_are_sent() -> None:
    """An input too many is refused by the server."""
    assert set(encoded(Sampling(), a_shape())) == {"", "text_input", "max_tokens"}
    assert set(encoded(Sampling(), a_shape(stream="BOOL"))) == {"", "text_input", "max_tokens", "stream"}


@pytest.mark.parametrize(("is_batched", "shape"), [(True, [1, 1]), (False, [1])])
def test_shapes_have_a_batch_dimension_where_the_model_has_one(*, is_batched: bool, shape: list[int]) -> None:
    """It is one request at a time."""
    found = encoded(Sampling(), a_shape(is_batched=is_batched))
    assert list(found["text_input"].inputs[0].shape) == shape


def test_greedy_decoding_is_said_so_that_every_version_understands_it() -> None:
    """As the one likeliest token, since some refuse a temperature of nothing."""
    found = encoded(Sampling(temperature=0.0), a_shape(temperature="FP32", top_k="INT32"))
    assert "temperature" not in found
    assert contents(found, "top_k") == b"\x01\x00\x00\x00"


def test_a_temperature_alone_is_given_the_whole_distribution() -> None:
    """This engine's default is the likeliest token, whatever the temperature."""
    found = encoded(Sampling(temperature=0.5), a_shape(temperature="FP32", top_p="FP32"))
    assert contents(found, "top_p") == b"\x00\x00\x80\x3f"


def test_a_negative_seed_is_one_of_64_bits() -> None:
    """The tensor is unsigned."""
    found = encoded(Sampling(seed=-1), a_shape(random_seed="UINT64"))
    assert contents(found, "random_seed") == b"\xff" * 8


def test_a_number_that_the_tensor_cannot_hold_is_the_requests_fault() -> None:
    """Another backend cannot do better."""
    with pytest.raises(BadRequest, match="max_tokens"):
        encoded(Sampling(max_output_tokens=2**40), a_shape())


def test_stop_words_that_do_not_fit_are_left_to_the_adapter() -> None:
    """A tensor of one string takes one; the text is watched in any case."""
    assert "stop_words" not in encoded(Sampling(), a_shape(stop_words="BYTES"), stops=("a", "b"))
    found = encoded(Sampling(), a_shape(stop_words="BYTES"), stops=("a",))
    assert unpack_strings(contents(found, "stop_words")) == [b"a"]


def test_old_words_are_a_line_of_csv() -> None:
    """Those with a comma or a quote in them are quoted."""
    found = encoded(Sampling(), a_shape(INPUT_3="BYTES"), stops=("a,b", 'say "c"', "d"))
    assert unpack_strings(contents(found, "INPUT_3")) == [b'"a,b","say ""c""",d']


@pytest.mark.parametrize("optional", [False, None])
def test_what_a_model_may_need_is_given_what_changes_nothing(*, optional: bool | None) -> None:
    """Also where nobody says whether it is optional."""
    found = encoded(Sampling(), a_shape(optional=optional, INPUT_2="BYTES", beam_width="UINT32"))
    assert unpack_strings(contents(found, "INPUT_2")) == [b""]
    assert contents(found, "beam_width") == b"\x01\x00\x00\x00"


def test_a_model_that_needs_what_is_not_known_is_not_of_this_kind() -> None:
    """Nor is one without a prompt; one that may not need it is asked."""
    with pytest.raises(ProtocolViolation, match="needs the input pixels"):
        encoded(Sampling(), a_shape(optional=False, pixels="FP32"))
    assert "pixels" not in encoded(Sampling(), a_shape(optional=None, pixels="FP32"))
    without = ModelShape(inputs={}, outputs=frozenset(), is_batched=True)
    with pytest.raises(ProtocolViolation, match="takes no text"):
        encoded(Sampling(), without)


def test_an_ensemble_is_asked_to_stream_since_its_configuration_does_not_tell() -> None:
    """Others say whether they can; the backend's option overrides both."""
    ensemble = pb.ModelConfig(platform="ensemble")
    assert streams(from_config(ensemble), SETTINGS)
    assert not streams(from_config(pb.ModelConfig(backend="python")), SETTINGS)
    assert not streams(from_config(ensemble), Settings(is_streaming=False))


def test_a_configuration_and_its_metadata_describe_the_same_tensors() -> None:
    """Types by number or by name; dimensions without the batch."""
    config = pb.ModelConfig(max_batch_size=8, platform="ensemble")
    config.input.add(name="text_input", data_type=13, dims=[1])
    config.output.add(name="text_output", data_type=13, dims=[-1])
    metadata = pb.ModelMetadataResponse()
    metadata.inputs.add(name="text_input", datatype="BYTES", shape=[-1, 1])
    metadata.outputs.add(name="text_output", datatype="BYTES", shape=[-1, -1])
    one, other = from_config(config), from_metadata(metadata, ("text_input",))
    assert (one.is_batched, other.is_batched) == (True, True)
    assert one.outputs == other.outputs
    assert [(t.name, t.datatype, t.dims) for t in one.inputs.values()] == [
        (t.name, t.datatype, t.dims) for t in other.inputs.values()
    ]
