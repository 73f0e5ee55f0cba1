"""Documents survive their stored form, and nothing that is found in a store can stop a reader."""

from __future__ import annotations

import logging
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.fleet import Backend, Capability, Health, HealthState, PrivacyLevel, ServedModel
from router.domain.price_tiers import PriceTier
from router.domain.pricing import Price, PriceBook
from router.domain.request import Priority
from router.domain.tenant import ApiKey, Limits, Tenant, TenantPolicy
from router.state import codec
from router.state.codec import Document, PoliciesDocument, Tombstone
from router.state.keys import Kind, price_id, price_key

NAMES = st.text("abcz019.-_", min_size=1, max_size=12)
AMOUNTS = st.none() | st.floats(0, 1e6)
COUNTS = st.none() | st.integers(1, 2**31)
MODELS = st.builds(
    ServedModel,
    model=st.text(min_size=1),
    upstream_name=st.text(),
    context_tokens=COUNTS,
    bytes_per_weight=AMOUNTS,
    bytes_per_kv=AMOUNTS,
    expert_parallel=st.booleans(),
    draft_tokens=st.integers(0, 64),
    draft_acceptance=st.floats(0.0, 1.0),
)
BACKENDS = st.builds(
    Backend,
    id=NAMES,
    wire=NAMES,
    address=st.text(),
    models=st.lists(MODELS, max_size=3).map(tuple),
    privacy=st.sampled_from(PrivacyLevel),
    capabilities=st.frozensets(st.sampled_from(Capability)),
    requests_per_minute=COUNTS,
    credential=st.none() | st.text(),
    options=st.lists(st.tuples(st.text(), st.text()), max_size=3).map(tuple),
    labels=st.lists(st.tuples(st.text(), st.text()), max_size=3).map(tuple),
    network_rtt_s=st.floats(0, 60),
    drained=st.booleans(),
    version=st.integers(0, 2**53),
)
TIERS = st.builds(PriceTier, service=NAMES, above_tokens=st.integers(0, 10**6), input_usd_per_mtok=AMOUNTS)
PRICES = st.builds(
    Price,
    backend=NAMES,
    usd_per_hour=AMOUNTS,
    expires_at=AMOUNTS,
    source=st.text(),
    tiers=st.lists(TIERS, max_size=2).map(tuple),
)
BOOKS = st.builds(PriceBook, backend=NAMES, model=st.text(max_size=20), prices=st.lists(PRICES, max_size=3).map(tuple))
TENANTS = st.builds(
    Tenant,
    id=NAMES,
    name=st.text(),
    keys=st.lists(st.builds(ApiKey, id=NAMES, sha256=NAMES, expires_at=AMOUNTS), max_size=2).map(tuple),
    limits=st.builds(Limits, requests_per_s=AMOUNTS, max_in_flight=COUNTS),
    policy=st.builds(TenantPolicy, models=st.lists(NAMES).map(tuple), priority=st.sampled_from(Priority)),
)
HEALTH = st.builds(Health, state=st.sampled_from(HealthState), reason=st.text(), since=st.floats(0, 4e9))
DOCUMENTS: st.SearchStrategy[Document] = BACKENDS | BOOKS | TENANTS | HEALTH | st.builds(PoliciesDocument, st.text())


def id_of(document: Document) -> str:
    return "b" if isinstance(document, Health) else codec.document_id(document)


@given(DOCUMENTS, st.integers(1, 2**53), st.floats(0, 4e9))
def test_a_document_survives_its_stored_form(document: Document, version: int, at: float) -> None:
    """What is encoded is decoded to the same value, with the version and time of its envelope."""
    kind, doc = codec.kind_of(document), codec.encode(document)
    assert doc.startswith(b"{")
    decoded = codec.decode(kind, id_of(document), doc, version=version, at=at)
    expected: Document = replace(document, version=version)
    if isinstance(expected, PriceBook):
        expected = replace(expected, changed_at=at)
    assert decoded == expected
    envelope = b'{"version":%d,"at":%s,"doc":%s}' % (version, repr(at).encode(), doc)
    assert codec.decode_envelope(kind, id_of(document), envelope) == (expected, at)
    assert codec.peek(envelope) in {(version, at), None}


@given(st.sampled_from(Kind), st.text(max_size=40), st.binary(max_size=200))
def test_no_bytes_in_a_hash_raise(kind: Kind, document_id: str, value: bytes) -> None:
    """Whatever a hash holds, reading it gives a document, a tombstone or nothing."""
    found = codec.decode_envelope(kind, document_id, value)
    assert found is None or isinstance(found, Tombstone) or codec.kind_of(found[0]) is kind
    codec.peek(value)


@given(
    st.binary(max_size=20),
    st.dictionaries(
        st.sampled_from([b"kind", b"id", b"op", b"version", b"at", b"actor", b"doc", b"more"]),
        st.sampled_from([b"backend", b"price", b"set", b"removed", b"1", b"-1", b"nan", b"{}", b"null"])
        | st.binary(max_size=20),
    ),
)
def test_no_entry_of_a_stream_raises(entry_id: bytes, fields: dict[bytes, bytes]) -> None:
    """Whatever an entry holds, it is an entry, an entry without its document, or nothing."""
    entry = codec.decode_entry(entry_id, fields)
    assert entry is None or entry.change.operation in {"set", "removed"}


def test_equal_documents_are_equal_bytes() -> None:
    """The order of a set never shows, so the same backend is the same bytes in every process."""
    capabilities = (Capability.TOOLS, Capability.VISION, Capability.AUDIO)
    made = {
        codec.encode(Backend(id="b", wire="w", address="", models=(), capabilities=frozenset(order)))
        for order in (capabilities, capabilities[::-1])
    }
    assert len(made) == 1
    assert b'["audio","tools","vision"]' in made.pop()


def test_documents_of_neighbouring_versions_are_read() -> None:
    """A field that is not known is ignored, and one that is missing takes its default."""
    doc = b'{"id":"b","wire":"w","address":"a","models":[],"invented_later":{"x":1}}'
    backend = codec.decode(Kind.BACKEND, "b", doc, version=3, at=0.0)
    assert backend == Backend(id="b", wire="w", address="a", models=(), version=3)


def test_a_document_under_a_wrong_name_is_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    """A backend stored under the id of another is skipped, and the line in the log names it."""
    with pytest.raises(msgspec.ValidationError):
        codec.decode(Kind.BACKEND, "a", b'{"id":"b","wire":"w","address":"","models":[]}', version=1, at=0.0)
    with caplog.at_level(logging.WARNING):
        found = codec.decode_envelope(Kind.PRICE, "a/m", b'{"version":1,"at":1,"doc":{"backend":"b","model":"m"}}')
    assert found is None
    assert "stored price 'a/m'" in caplog.text


def test_a_removed_document_is_a_tombstone() -> None:
    """An envelope without a document keeps its version and time."""
    assert codec.decode_envelope(Kind.BACKEND, "b", b'{"version":4,"at":1.5,"doc":null}') == Tombstone(4, 1.5)


@given(NAMES, st.text())
def test_a_price_is_found_by_its_id(backend: str, model: str) -> None:
    """Backend and model are read back from the id, whatever the model is called."""
    assert price_key(price_id(backend, model)) == (backend, model)
