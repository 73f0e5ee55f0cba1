"""A backend against its own wire: profile, address, capabilities, options and credential."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend, Capability, ServedModel
from router.domain.hardware import Hardware, Model
from router.domain.wires import Wires
from router.settings import load
from router.settings.backend_rules import REMOTE_SCHEMES, validate_backend, wrong_address
from router.settings.fleet import missing_credential

CATALOGUE = Catalogue(
    hardware={"hosted": Hardware(id="hosted", name="hosted", kind="hosted")}, models={"m": Model(id="m")}
)
GOOD = Backend(id="a", wire="openai_chat", address="http://h:8000", models=(ServedModel(model="m"),))
FLEET = """\
backends:
  one:
    wire: openai_chat
    address: http://h
    models: [{{model: llama-8b}}]
    options: {options}
"""
Write = Callable[..., Path]


def wrong(wires: Wires | None, **fields: object) -> dict[str, str]:
    """What is wrong with the good backend once it has these fields, by field."""
    changed = replace(GOOD, **fields)  # type: ignore[arg-type]  # a test's own keywords
    return {v.field: v.description for v in validate_backend(changed, CATALOGUE, wires=wires)}


def test_a_profile_must_be_of_its_own_wire(wires: Wires) -> None:
    """A profile of another wire is refused, and the nearest of this one is named."""
    assert wrong(wires, profile="vllm") == {}
    assert wrong(wires, profile="vlm") == {"profile": "unknown profile 'vlm' (did you mean 'vllm'?)"}
    assert wrong(wires, wire="scripted", profile="vllm") == {"profile": "unknown profile 'vllm' (known: generic)"}
    assert "profile" in wrong(wires, profile="")


@pytest.mark.parametrize(
    ("wire", "address"),
    [
        ("openai_chat", "https://api.example.com/v1"),
        ("tensors", "grpc://h:8001"),
        ("tensors", "grpcs://h"),
        ("embedded", "file:/models/m.gguf"),
        ("embedded", "file:///models/m.gguf"),
        ("embedded", "file:models/m.gguf"),
    ],
)
def test_an_address_may_have_the_schemes_of_its_wire(wires: Wires, wire: str, address: str) -> None:
    """HTTP, gRPC or a file: what the wire takes."""
    assert wrong(wires, wire=wire, address=address) == {}


@pytest.mark.parametrize(
    ("wire", "address", "expected"),
    [
        ("openai_chat", "grpc://h:8001", "an http:// or https:// URL with a host"),
        ("openai_chat", "file:/models/m.gguf", "an http:// or https:// URL with a host"),
        ("tensors", "http://h:8001", "a grpc:// or grpcs:// URL with a host"),
        ("tensors", "grpc:", "a grpc:// or grpcs:// URL with a host"),
        ("embedded", "file://host/m.gguf", "file:PATH"),
        ("embedded", "file:", "file:PATH"),
        ("embedded", "file:///", "file:PATH"),
        ("embedded", "http://h", "file:PATH"),
    ],
)
def test_an_address_has_no_other_scheme(wires: Wires, wire: str, address: str, expected: str) -> None:
    """Nobody who may register a backend can name a file, or another protocol, unless the wire itself asks for it."""
    assert wrong(wires, wire=wire, address=address) == {"address": f"expected {expected}"}


@given(st.text(max_size=30).map(lambda rest: f"file:{rest}"))
def test_without_known_wires_no_file_is_an_address(address: str) -> None:
    """Where nothing is known of wires, an address is one with a host."""
    assert wrong_address(address, REMOTE_SCHEMES) != ""


def test_capabilities_are_those_of_the_family(wires: Wires) -> None:
    """What a family cannot do, a backend of it cannot declare."""
    declared = frozenset({Capability.TOOLS, Capability.BATCH, Capability.VISION})
    found = wrong(wires, wire="tensors", address="grpc://h", capabilities=declared)
    assert found == {"capabilities": "tensors cannot do tools, vision"}
    found = wrong(wires, profile="vllm", capabilities=frozenset({Capability.AUDIO}))
    assert found == {"capabilities": "profile 'vllm' of openai_chat cannot do audio"}


def test_options_are_checked_by_their_wire(wires: Wires) -> None:
    """Each option that is wrong is a field of its own."""
    assert wrong(wires, options=(("replicas", "3"),)) == {}
    found = wrong(wires, options=(("replica", "3"), ("replicas", "x")))
    assert found["options.replica"].startswith("unknown option")
    assert found["options.replicas"] == "not a valid value"


def test_a_secret_is_no_option() -> None:
    """What looks like a key is refused without being shown: options are shown, and kept in the history."""
    found = wrong(None, options=(("key", "sk-hunter2-hunter2"),))
    assert set(found) == {"options.key"}
    assert "hunter2" not in repr(found)


def test_options_of_a_file_are_text(write: Write) -> None:
    """Numbers, truth values and days become the text that they were; their order does not matter."""
    files = {"fleet.yaml": FLEET.format(options="{version: 2024-10-21, quick: true, size: 4, share: 0.5, name: x}")}
    (backend,) = load(write(files), {}).seed.backends
    expected = {"version": "2024-10-21", "quick": "true", "size": "4", "share": "0.5", "name": "x"}
    assert backend.options == tuple(sorted(expected.items()))


def test_an_option_that_is_no_value_is_named(problems: Callable[..., list[str]]) -> None:
    """A list is not an option, nor is nothing; and names are those of the wire."""
    assert problems({"fleet.yaml": FLEET.format(options="{replicas: [1], other: }")}) == [
        "fleet.yaml: backends.one.options.replicas: expected text, a number or true or false, got [1]",
        "fleet.yaml: backends.one.options.other: expected text, a number or true or false, got None",
    ]
    (line,) = problems({"fleet.yaml": FLEET.format(options="{replica: 1}")})
    assert line.startswith("fleet.yaml: backends.one.options.replica: unknown option")


def test_an_account_of_a_cloud_is_a_credential_like_any_other(wires: Wires) -> None:
    """No credential (the machine's own chain), or a variable that holds several parts; never the parts themselves."""
    assert wrong(wires, credential=None) == {}
    assert wrong(wires, credential="env:AWS_PAIR") == {}
    assert missing_credential("env:AWS_PAIR", {"AWS_PAIR": "AKIAX:secret:token"}) is None
    assert missing_credential(None, {}) is None
    found = wrong(wires, credential="env:AKIAIOSFODNN7EXAMPLE")
    assert set(found) == {"credential"}
    assert "AKIA" not in repr(found)
