"""From a spec to a backend: what is accepted, what is refused, and what is never shown."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from backends.auth import InvalidReference, MissingCredential, Secret, resolve
from backends.contract import Backend
from backends.dialect import CAPABILITIES, SAMPLING_FIELDS
from backends.registry import WIRES, UnknownWire, build
from backends.spec import BackendSpec
from backends.urls import endpoint
from backends.wire import UnknownProfile

URL = "http://127.0.0.1:1"

# Options that a profile cannot do without.
TEMPLATE = {"chat_template": "chatml"}
NEEDED = {
    ("gemini", "vertex"): {"project": "our-project", "location": "global"},
    **{(wire, profile): TEMPLATE for wire in ("triton", "jetstream") for profile in WIRES[wire].profiles},
}


@pytest.fixture
async def control() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


def made(spec: BackendSpec, control: httpx.AsyncClient, env: dict[str, str] | None = None) -> Backend:
    return build(spec, transport=httpx.MockTransport(lambda _: httpx.Response(200)), control=control, env=env or {})


async def test_every_wire_and_profile_can_be_built(control: httpx.AsyncClient) -> None:
    """Each name that is offered makes a backend that knows its spec."""
    for wire in WIRES.values():
        for dialect in wire.profiles:
            options = NEEDED.get((wire.name, dialect), {})
            url = URL if "http" in wire.schemes else "file:///model.gguf"
            spec = BackendSpec(id="b", wire=wire.name, profile=dialect, base_url=url, options=options)
            assert made(spec, control, {"AWS_REGION": "us-east-1"}).spec is spec


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (BackendSpec(id="b", wire="telex", base_url=URL), UnknownWire),
        (BackendSpec(id="b", wire="openai_chat", profile="nobody", base_url=URL), UnknownProfile),
        (BackendSpec(id="b", wire="openai_chat", base_url="ftp://host"), ValueError),
        (BackendSpec(id="b", wire="openai_chat", base_url="host:80"), ValueError),
        (BackendSpec(id="b", wire="openai_chat", base_url="http://user:pw@host"), ValueError),
        (BackendSpec(id="b", wire="openai_chat", base_url=URL, options={"x": "y"}), ValueError),
        (BackendSpec(id="b", wire="openai_chat", base_url=URL, credential="env:NOT_THERE"), MissingCredential),
        (BackendSpec(id="b", wire="openai_chat", base_url=URL, credential="sk-the-secret-itself"), InvalidReference),
    ],
)
async def test_a_spec_that_cannot_work_is_refused(
    control: httpx.AsyncClient, spec: BackendSpec, error: type[Exception]
) -> None:
    """The mistake shows at start-up, and the message holds no secret."""
    with pytest.raises(error) as caught:
        made(spec, control)
    assert "the-secret-itself" not in str(caught.value)
    assert "pw" not in str(caught.value)


async def test_a_credential_does_not_print(control: httpx.AsyncClient) -> None:
    """Neither the backend nor the secret shows the key."""
    spec = BackendSpec(id="b", wire="openai_chat", base_url=URL, credential="env:KEY")
    backend = made(spec, control, {"KEY": "sk-value"})
    assert "sk-value" not in repr(backend)
    assert "sk-value" not in f"{Secret('sk-value')!r} {Secret('sk-value')}"


def test_references_are_resolved(tmp_path: Path) -> None:
    """A variable, or the first line of a file, without the blanks around it."""
    file = tmp_path / "key"
    file.write_text(" from-file \nsecond line\n")
    assert resolve("env:A", {"A": " v "}) == "v"
    assert resolve(f"file:{file}", {}) == "from-file"
    assert resolve(None, {}) is None


@pytest.mark.parametrize("value", ["", "  ", "a\rb", "schlüssel"])
def test_a_value_no_header_can_carry_is_missing(value: str) -> None:
    """A key with a line break would be quoted by the client that refuses it, so it never gets there."""
    with pytest.raises(MissingCredential) as caught:
        resolve("env:KEY", {"KEY": value})
    assert caught.value.name == "KEY"
    assert "schl" not in str(caught.value)


def test_an_unreadable_file_is_missing(tmp_path: Path) -> None:
    """The error names the file."""
    with pytest.raises(MissingCredential, match="nothing-here"):
        resolve(f"file:{tmp_path / 'nothing-here'}", {})


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("http://h:8000", "http://h:8000/v1/models"),
        ("http://h:8000/", "http://h:8000/v1/models"),
        ("http://h:8000/v1", "http://h:8000/v1/models"),
        ("http://h:8000/v1/", "http://h:8000/v1/models"),
        ("https://api.groq.com/openai", "https://api.groq.com/openai/v1/models"),
        ("https://openrouter.ai/api/v1?x=1#f", "https://openrouter.ai/api/v1/models"),
        ("http://[::1]:9/a", "http://[::1]:9/a/v1/models"),
    ],
)
def test_a_base_url_is_prefixed(base: str, url: str) -> None:
    """A path is kept, and a base that ends like an SDK's does not double the version."""
    assert str(endpoint(base, "/v1/models")) == url


def test_the_table_of_dialects_is_sound() -> None:
    """Every entry stands under its own name and only renames fields that sampling has."""
    for wire, name, dialect in [(w, *entry) for w in WIRES.values() for entry in w.dialects.items()]:
        assert wire.dialect(name) is dialect
        assert dialect.name == name
        assert dialect.parameters.keys() <= SAMPLING_FIELDS
        assert dialect.capabilities <= CAPABILITIES | {"audio"}
        assert (dialect.probe.metrics is None) == (dialect.probe.gauges is None)
        assert "max_output_tokens" in dialect.parameters
