"""Properties of the protobuf decoding that hold for whatever a client can send."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from hypothesis import given, settings
from hypothesis import strategies as st

from router.api.wire.proto_profile import decode_generate, decode_profile
from router.api.wire.proto_report import decode_report
from router.domain.request import RequestProfile
from router.errors import InvalidRequest
from router.v1 import inference_pb2 as pb

_TEXT = st.text(max_size=20) | st.sampled_from(["{}", '{"a": 1}', "[", "m", "https://example.org/a", "data:image/png;"])
_SCALARS: dict[int, st.SearchStrategy[object]] = {
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1) | st.integers(0, 5),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats() | st.sampled_from([0.0, 0.5, 1.0]),
    FieldDescriptor.CPPTYPE_ENUM: st.integers(0, 8) | st.integers(-(2**31), 2**31 - 1),
}


def fill(message: Message, data: st.DataObject, depth: int = 0) -> None:
    """Sets any of a message's fields to any value that its type allows."""
    fields = cast("list[FieldDescriptor]", list(message.DESCRIPTOR.fields))
    for field in data.draw(st.lists(st.sampled_from(fields), max_size=6, unique_by=lambda f: f.name)):
        kind = field.message_type
        if kind is None:
            values = _values(field)
            if field.is_repeated:
                getattr(message, field.name).extend(data.draw(st.lists(values, max_size=3)))
            else:
                setattr(message, field.name, data.draw(values))
        elif kind.GetOptions().map_entry:
            getattr(message, field.name).update(data.draw(st.dictionaries(_TEXT, _TEXT, max_size=3)))
        elif kind.file.package == message.DESCRIPTOR.file.package and depth < 5:
            for _ in range(data.draw(st.integers(0, 3)) if field.is_repeated else 1):
                inner = getattr(message, field.name)
                child = inner.add() if field.is_repeated else inner
                if not field.is_repeated:
                    child.SetInParent()
                fill(child, data, depth + 1)


def _values(field: FieldDescriptor) -> st.SearchStrategy[object]:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return st.binary(max_size=20) if field.type == FieldDescriptor.TYPE_BYTES else _TEXT
    return _SCALARS[field.cpp_type]


def assert_sane(profile: RequestProfile) -> None:
    for number in (profile.input_tokens, profile.max_cost_usd, profile.minimum_quality, profile.slo.ttft_s):
        assert number is None or (math.isfinite(number) and number >= 0)
    assert profile.max_attempts is None or 1 <= profile.max_attempts <= 5


@given(st.data())
@settings(max_examples=300)
def test_any_generate_request_decodes_or_is_invalid(data: st.DataObject) -> None:
    """Whatever fields a client sets, the request is understood or refused by field."""
    message = data.draw(st.sampled_from([pb.GenerateRequest(), pb.GenerateRequest(model="m", prompt="p")]))
    message = pb.GenerateRequest.FromString(message.SerializeToString())
    fill(message, data)

    with suppress(InvalidRequest):
        request, profile = decode_generate(message, request_id="r", deadline_s=None)
        assert_sane(profile)
        assert bool(request.messages) != (request.prompt is not None)


@given(st.data(), st.sampled_from([pb.PickRequest, pb.ExplainRequest]))
@settings(max_examples=150)
def test_any_pick_or_explain_request_decodes_or_is_invalid(
    data: st.DataObject, kind: type[pb.PickRequest | pb.ExplainRequest]
) -> None:
    """The same holds for requests that are given by their shape."""
    message = kind()
    fill(message, data)

    with suppress(InvalidRequest):
        assert_sane(decode_profile(message, request_id="r", deadline_s=None))


@given(st.data())
@settings(max_examples=100)
def test_any_report_decodes_or_is_invalid(data: st.DataObject) -> None:
    """And for reports."""
    message = pb.ReportRequest()
    fill(message, data)

    with suppress(InvalidRequest):
        assert decode_report(message).pick_id


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_any_bytes_that_parse_decode_or_are_invalid(wire: bytes) -> None:
    """Bytes that protobuf takes for a request never lead to another error than InvalidRequest."""
    try:
        message = pb.GenerateRequest.FromString(wire)
    except DecodeError:
        return
    with suppress(InvalidRequest):
        decode_generate(message, request_id="r", deadline_s=None)
