"""Admin messages and domain values: what is valid goes there and back unchanged, what is not is named."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from router.api.wire.admin import FleetRules, decode_backend, encode_backend, encode_change
from router.domain.catalogue import Catalogue
from router.domain.fleet import (
    Backend,
    Capability,
    Change,
    Health,
    HealthState,
    Left,
    LiveLoad,
    PrivacyLevel,
    ServedModel,
)
from router.domain.hardware import Hardware, Model
from router.errors import InvalidRequest
from router.v1 import admin_pb2 as pb
from router.v1 import common_pb2 as common

CATALOGUE = Catalogue(
    hardware={
        "h100": Hardware(id="h100", name="NVIDIA H100", kind="gpu", memory_bytes=80e9),
        "hosted": Hardware(id="hosted", name="hosted", kind="hosted"),
    },
    models={"m1": Model(id="m1", parameters=8e9, context_tokens=131_072), "m2": Model(id="m2", parameters=1e9)},
)
RULES = FleetRules(catalogue=CATALOGUE)
WORDS = st.text("abc-9", min_size=1, max_size=10)
BACKENDS = st.builds(
    Backend,
    id=st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,20}", fullmatch=True),
    wire=WORDS,
    profile=WORDS,
    address=st.sampled_from(["http://127.0.0.1:8000/v1", "https://api.example.com"]),
    models=st.lists(
        st.builds(
            ServedModel,
            model=st.sampled_from(["m1", "m2"]),
            upstream_name=st.text("abc/", max_size=5),
            context_tokens=st.none() | st.integers(1, 131_072),
            bytes_per_weight=st.none() | st.sampled_from([0.56, 1.0, 2.0]),
            bytes_per_kv=st.none() | st.sampled_from([1.0, 2.0]),
            expert_parallel=st.booleans(),
            draft_tokens=st.integers(1, 16),
            draft_acceptance=st.floats(0.1, 1.0),
        ),
        min_size=1,
        max_size=2,
        unique_by=lambda served: served.model,
    ).map(tuple),
    hardware=st.sampled_from(["h100", "hosted"]),
    hardware_count=st.integers(1, 100),
    emulated=st.booleans(),
    region=st.text("eu-1", max_size=5),
    privacy=st.sampled_from(PrivacyLevel),
    capabilities=st.frozensets(st.sampled_from(Capability)),
    max_concurrency=st.integers(1, 1000),
    requests_per_minute=st.none() | st.integers(1, 2**31),
    tokens_per_minute=st.none() | st.integers(1, 2**31),
    credential=st.sampled_from([None, "env:KEY", "file:/run/key"]),
    options=st.dictionaries(WORDS, st.text(max_size=20), max_size=3).map(
        lambda options: tuple(sorted(options.items()))
    ),
    labels=st.dictionaries(WORDS, WORDS, max_size=3).map(lambda labels: tuple(sorted(labels.items()))),
    network_rtt_s=st.floats(0, 60),
    first_token_timeout_s=st.none() | st.floats(0.001, 3600),
)


@given(BACKENDS)
def test_a_backend_goes_there_and_back(backend: Backend) -> None:
    """Every field of a valid backend survives the message that describes it."""
    assert decode_backend(encode_backend(backend, Health(), LiveLoad(), CATALOGUE).spec, RULES) == backend


@given(st.binary(max_size=200))
def test_any_message_is_a_backend_or_a_named_fault(data: bytes) -> None:
    """Whatever bytes a client sends, the answer is a backend, or a refusal that names fields of the message."""
    try:
        message = pb.BackendSpec.FromString(data)
    except DecodeError:
        return
    try:
        decode_backend(message, RULES)
    except InvalidRequest as error:
        names = {v.field for v in error.violations}
        known = {field.name for field in pb.BackendSpec.DESCRIPTOR.fields}
        assert all(name.removeprefix("spec.").partition(".")[0].partition("[")[0] in known for name in names)


def test_an_empty_specification_takes_the_defaults_of_the_file() -> None:
    """What a message leaves out is what fleet.yaml leaves out."""
    message = pb.BackendSpec(id="a", wire="w", address="http://h", models=[pb.ServedModel(model="m1")])
    expected = Backend(id="a", wire="w", address="http://h", models=(ServedModel(model="m1"),))
    assert decode_backend(message, RULES) == expected


def test_too_many_options_and_too_long_ones_are_refused() -> None:
    """Options are bounded like everything else that is kept."""
    message = pb.BackendSpec(id="a", wire="w", address="http://h", models=[pb.ServedModel(model="m1")])
    message.options["long"] = "x" * 65_537
    with pytest.raises(InvalidRequest) as caught:
        decode_backend(message, RULES)
    assert [v.field for v in caught.value.violations] == ["spec.options.long"]
    message.options.clear()
    message.options.update({f"n{n}": "x" for n in range(65)})
    with pytest.raises(InvalidRequest) as caught:
        decode_backend(message, RULES)
    assert [v.field for v in caught.value.violations] == ["spec.options"]


def test_every_health_state_is_shown() -> None:
    """Each state has its number on the wire, and what this replica sees goes before what the fleet says."""
    backend = Backend(id="a", wire="w", address="", models=(), drained=True)
    for state in HealthState:
        live = LiveLoad(health=Health(state=state, reason="seen here"), kv_cache_usage=0.5)
        shown = encode_backend(backend, Health(version=4), live, CATALOGUE).state
        assert common.HealthState.Name(shown.health) == f"HEALTH_STATE_{state.name}"
        assert (shown.health_reason, shown.health_version, shown.kv_cache_usage) == ("seen here", 4, 0.5)
        assert shown.drained


def test_what_is_left_of_limits_is_shown_where_it_is_known() -> None:
    """What a vendor said is there with its end; what nobody said is absent, not zero."""
    backend = Backend(id="a", wire="w", address="", models=())
    live = LiveLoad(requests_left=Left(remaining=0.0, until_unix=1.8e9))
    shown = encode_backend(backend, Health(), live, CATALOGUE).state
    assert (shown.requests_left.remaining, shown.requests_left.until.seconds) == (0.0, 1_800_000_000)
    assert shown.HasField("requests_left")
    assert not shown.HasField("tokens_left")


def test_a_change_keeps_its_time_to_the_microsecond() -> None:
    """The server's time of a change reaches watchers as it was written."""
    change = Change(
        fleet_version=7, kind="price", id="a/", operation="set", version=2, at=1795408658.968302, actor="me"
    )
    message = encode_change(change)
    assert (message.changed_at.seconds, message.changed_at.nanos) == (1795408658, 968302000)
    assert (message.fleet_version, message.kind, message.id, message.actor) == (7, "price", "a/", "me")
