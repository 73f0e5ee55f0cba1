"""Our messages are the original's on the wire: the same numbers and types, under other names.

The original is described here a second time, by hand, in the package `jetstream_proto`; and once more as plain bytes.
"""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from backends.jetstream.codec import DECODE, HEALTH_CHECK
from backends.jetstream.v1 import jetstream_pb2 as pb

F = descriptor_pb2.FieldDescriptorProto
PACKAGE = "jetstream_proto"
# Message -> (field, number, type or message, repeated, oneof)
ORIGINAL: dict[str, tuple[tuple[str, int, int | str, bool, str], ...]] = {
    "DecodeRequest": (
        ("max_tokens", 4, F.TYPE_INT32, False, ""),
        ("text_content", 5, "DecodeRequest.TextContent", False, "content"),
        ("token_content", 6, "DecodeRequest.TokenContent", False, "content"),
        ("metadata", 7, "DecodeRequest.Metadata", False, "metadata_optional"),
        ("num_samples", 8, F.TYPE_INT32, False, ""),
    ),
    "DecodeRequest.TextContent": (("text", 1, F.TYPE_STRING, False, ""),),
    "DecodeRequest.TokenContent": (("token_ids", 1, F.TYPE_INT32, True, ""),),
    "DecodeRequest.Metadata": (("start_time", 1, F.TYPE_FLOAT, False, ""),),
    "DecodeResponse": (
        ("initial_content", 2, "DecodeResponse.InitialContent", False, "content"),
        ("stream_content", 3, "DecodeResponse.StreamContent", False, "content"),
    ),
    "DecodeResponse.InitialContent": (),
    "DecodeResponse.StreamContent": (("samples", 1, "DecodeResponse.StreamContent.Sample", True, ""),),
    "DecodeResponse.StreamContent.Sample": (
        ("text", 1, F.TYPE_STRING, False, ""),
        ("token_ids", 2, F.TYPE_INT32, True, ""),
    ),
    "HealthCheckRequest": (),
    "HealthCheckResponse": (("is_live", 1, F.TYPE_BOOL, False, ""),),
}
INT32 = st.integers(-(1 << 31), (1 << 31) - 1)
SAMPLES = st.lists(st.tuples(st.text(max_size=20), st.lists(INT32, max_size=5)), max_size=3)


def _describe(name: str, parent: descriptor_pb2.FileDescriptorProto | descriptor_pb2.DescriptorProto) -> None:
    """Adds the message of that name, and those within it."""
    own = name.rpartition(".")[2]
    made = (
        parent.message_type.add(name=own)
        if isinstance(parent, descriptor_pb2.FileDescriptorProto)
        else parent.nested_type.add(name=own)
    )
    for field, number, kind, repeated, oneof in ORIGINAL[name]:
        added = made.field.add(name=field, number=number, label=F.LABEL_REPEATED if repeated else F.LABEL_OPTIONAL)
        if isinstance(kind, str):
            added.type, added.type_name = F.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
        else:
            added.type = F.Type.ValueType(kind)
        if oneof:
            if oneof not in {known.name for known in made.oneof_decl}:
                made.oneof_decl.add(name=oneof)
            added.oneof_index = [known.name for known in made.oneof_decl].index(oneof)
    for inner in ORIGINAL:
        if inner.rpartition(".")[0] == name:
            _describe(inner, made)


def _original() -> dict[str, type[Message]]:
    """The original's messages, in a pool of their own."""
    file = descriptor_pb2.FileDescriptorProto(name="jetstream.proto", package=PACKAGE, syntax="proto3")
    for name in ORIGINAL:
        if "." not in name:
            _describe(name, file)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in ORIGINAL}


THEIRS = _original()


def _ours(name: str) -> Descriptor:
    found: Any = pb
    for part in name.split("."):
        found = getattr(found, part)
    descriptor: Descriptor = found.DESCRIPTOR
    return descriptor


def _facts(field: Any) -> tuple[object, ...]:
    of = field.message_type.full_name.rpartition(".")[2] if field.message_type else ""
    choice = field.containing_oneof.name if field.containing_oneof else ""
    return field.name, field.number, field.type, field.is_repeated, of, choice


@pytest.mark.parametrize("name", ORIGINAL)
def test_fields_have_the_original_numbers_and_types(name: str) -> None:
    """Every message has these fields and no others."""
    ours = _ours(name)
    theirs = THEIRS[name].DESCRIPTOR
    assert {_facts(field) for field in ours.fields} == {_facts(field) for field in theirs.fields}


def test_methods_are_called_by_their_true_paths() -> None:
    """The original's service, not one of our package."""
    assert DECODE.path == "/jetstream_proto.Orchestrator/Decode"
    assert HEALTH_CHECK.path == "/jetstream_proto.Orchestrator/HealthCheck"
    assert not DECODE.is_bidirectional


@given(text=st.text(max_size=50), limit=INT32)
def test_the_original_understands_our_requests(text: str, limit: int) -> None:
    """Whatever the prompt and the limit are."""
    ours = pb.DecodeRequest(max_tokens=limit, text_content=pb.DecodeRequest.TextContent(text=text), num_samples=1)
    theirs: Any = THEIRS["DecodeRequest"].FromString(ours.SerializeToString())
    assert (theirs.max_tokens, theirs.num_samples) == (limit, 1)
    assert theirs.WhichOneof("content") == "text_content"
    assert theirs.text_content.text == text


@given(SAMPLES)
def test_we_understand_the_original_answers(samples: list[tuple[str, list[int]]]) -> None:
    """Whatever text and tokens are in them."""
    theirs: Any = THEIRS["DecodeResponse"]()
    theirs.stream_content.SetInParent()
    for text, tokens in samples:
        theirs.stream_content.samples.add(text=text, token_ids=tokens)
    ours = pb.DecodeResponse.FromString(theirs.SerializeToString())
    assert ours.WhichOneof("content") == "stream_content"
    assert [(sample.text, list(sample.token_ids)) for sample in ours.stream_content.samples] == samples


def _bytes(number: int, content: bytes) -> bytes:
    """A field of bytes, text or a message: its tag, its length, what it holds; all of them short."""
    assert number < 16
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


def _number(number: int, value: int) -> bytes:
    return bytes([number << 3, value])


def test_a_request_is_these_bytes() -> None:
    """The limit as 4, the text as 1 of 5, one sample as 8."""
    ours = pb.DecodeRequest(max_tokens=100, text_content=pb.DecodeRequest.TextContent(text="hé"), num_samples=1)
    assert ours.SerializeToString() == _number(4, 100) + _bytes(5, _bytes(1, "hé".encode())) + _number(8, 1)


def test_answers_are_these_bytes() -> None:
    """Nothing as 2, then samples as 1 of 3, with text as 1 and tokens, packed, as 2; alive as 1."""
    assert pb.DecodeResponse.FromString(_bytes(2, b"")).WhichOneof("content") == "initial_content"
    sample = _bytes(1, b"two words") + _bytes(2, bytes([7, 9]))
    answer = pb.DecodeResponse.FromString(_bytes(3, _bytes(1, sample)))
    (found,) = answer.stream_content.samples
    assert (found.text, list(found.token_ids)) == ("two words", [7, 9])
    assert pb.HealthCheckResponse.FromString(_number(1, 1)).is_live
    assert not pb.HealthCheckResponse.FromString(b"").is_live
