"""Differences between documents, as people read them."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.audit import DocumentChange
from router.domain.fleet import Backend, Capability, PrivacyLevel, ServedModel
from router.domain.pricing import Price, Source, Window, book_of, books
from router.domain.tenant import ApiKey, Limits, Tenant
from router.settings.differences import DocumentDifference, compare, counted, headline, summary, words
from router.state.codec import Document, PoliciesDocument, encode

B200 = Backend(
    id="b200",
    wire="openai_chat",
    address="http://b200:8000",
    models=(ServedModel(model="llama", context_tokens=8192),),
    labels=(("team", "a"),),
    capabilities=frozenset({Capability.TOOLS, Capability.SEED}),
)
HOURLY = Price(backend="h100", usd_per_hour=11.8)


def diff(kind: str, before: Document | None, after: Document | None) -> DocumentDifference:
    texts = [None if document is None else encode(document).decode() for document in (before, after)]
    found = compare(kind, "h100/" if kind == "price" else "b200", *texts)
    assert found is not None
    return found


def told(kind: str, before: Document | None, after: Document | None) -> list[str]:
    found = diff(kind, before, after)
    return [words(field, found.operation) for field in found.fields]


def test_a_price_is_told_with_its_ratio() -> None:
    """A number shows before, after and their ratio; money shows its cents; nothing else of the book is said."""
    found = diff("price", book_of(HOURLY), book_of(replace(HOURLY, usd_per_hour=5.9)))

    assert headline(found) == "~ price h100: usd_per_hour 11.80 -> 5.90 (x0.50)"
    assert found.fields[0].ratio == pytest.approx(0.5)


def test_prices_of_other_sources_are_named() -> None:
    """In a book of several prices each is told apart by its source, its feed and its beginning."""
    spot = Price(backend="h100", usd_per_hour=4.0, source_kind=Source.FEED, feed="vast", effective_at=1.8e9)
    admin = Price(backend="h100", usd_per_hour=9.0, source_kind=Source.ADMIN)
    (before,), (after,) = books([HOURLY, spot]), books([HOURLY, replace(spot, usd_per_hour=5.0), admin])

    lines = told("price", before, after)

    assert "feed:vast@2027-01-15T08:00:00Z.usd_per_hour 4.00 -> 5.00 (x1.25)" in lines
    assert "admin.usd_per_hour (none) -> 9.00" in lines
    assert not any(line.startswith("usd_per_hour") for line in lines)


def test_a_schedule_is_told_in_words() -> None:
    """Windows of a price read as times of day, days, zone and factor."""
    window = Window(start_minute=22 * 60, end_minute=6 * 60, factor=0.5, days=(5, 6), zone="Europe/Berlin")

    lines = told("price", book_of(HOURLY), book_of(replace(HOURLY, schedule=(window,))))

    assert lines == ["schedule (none) -> 22:00-06:00 x0.5 Europe/Berlin sat,sun"]


def test_a_backend_is_told_by_its_fields() -> None:
    """Models by name, labels and options by key, capabilities as one list, levels by name; the equal is not told."""
    after = replace(
        B200,
        models=(ServedModel(model="llama", context_tokens=16384), ServedModel(model="qwen")),
        options=(("api_version", "2"),),
        labels=(("team", "b"),),
        capabilities=frozenset({Capability.TOOLS}),
        privacy=PrivacyLevel.OWN_HARDWARE,
        drained=True,
    )

    assert told("backend", B200, after) == [
        "models[llama].context_tokens 8192 -> 16384 (x2.00)",
        "privacy any -> own_hardware",
        "capabilities seed, tools -> tools",
        "labels.team a -> b",
        "drained false -> true",
        "models[qwen] (none) -> served",
        "options.api_version (none) -> 2",
    ]


def test_an_added_backend_shows_what_it_has() -> None:
    """Of a new document only what is there is told; of a removed one its name is enough."""
    added = diff("backend", None, B200)

    assert {"address", "models[llama]", "labels.team"} <= {field.path for field in added.fields}
    assert not {"credential", "emulated", "region"} & {field.path for field in added.fields}
    assert headline(diff("backend", B200, None)) == "- backend b200"


def test_policies_are_compared_as_values() -> None:
    """Moved lines and comments change nothing but the layout; a changed key is told by its path."""
    before = PoliciesDocument("default_class: a\nclasses: {a: {usd_per_s: 1e-5}, b: {}}\n")
    layout = PoliciesDocument("# why\nclasses: {b: {}, a: {usd_per_s: 1e-5}}\ndefault_class: a\n")
    after = PoliciesDocument("default_class: a\nclasses: {a: {usd_per_s: 2e-5}, b: {}}\n")

    assert told("policies", before, layout) == ["comments and layout 2 lines -> 3 lines"]
    assert told("policies", before, after) == ["classes.a.usd_per_s 1e-05 -> 2e-05 (x2.00)"]
    assert headline(diff("policies", before, after)).startswith("~ policies: classes.a")


def test_hashes_of_keys_are_not_shown() -> None:
    """A tenant's key is told by its name and state; its hash is in no field."""
    key = ApiKey(id="k1", sha256="5e" * 32)
    before = Tenant(id="acme", keys=(key,), limits=Limits(usd_per_day=10.0))
    after = replace(before, keys=(replace(key, revoked=True, expires_at=1.8e9),), limits=Limits(usd_per_day=20.0))

    assert told("tenant", before, after) == [
        "keys[k1] active -> revoked, expires 2027-01-15T08:00:00Z",
        "limits.usd_per_day 10.00 -> 20.00 (x2.00)",
    ]
    for found in (diff("tenant", None, before), diff("tenant", before, after)):
        assert "5e5e" not in msgspec.json.encode(found).decode()


@given(st.text(), st.text())
def test_any_text_of_policies_can_be_compared(before: str, after: str) -> None:
    """Policies that nobody understands, which an older or newer router wrote, are told without an error."""
    documents = [encode(PoliciesDocument(text)).decode() for text in (before, after)]

    found = compare("policies", "policies", *documents)

    assert (found is None) == (before == after)


@given(st.floats(min_value=1e-9, max_value=1e9), st.floats(min_value=1e-9, max_value=1e9))
def test_a_ratio_is_after_over_before(before: float, after: float) -> None:
    """Whatever the amounts, equal ones make no difference and others show their ratio."""
    texts = [encode(book_of(replace(HOURLY, usd_per_hour=amount))).decode() for amount in (before, after)]

    found = compare("price", "h100/", *texts)

    if before == after:
        assert found is None
    else:
        assert found is not None
        assert found.fields[0].ratio == pytest.approx(after / before)
        assert " -> " in words(found.fields[0], "change")


def test_a_summary_is_one_line() -> None:
    """One document is told by its fields; several by how many they are and the first of their names."""
    one = DocumentChange(
        kind="price",
        id="h100/",
        before=encode(book_of(HOURLY)).decode(),
        after=encode(book_of(replace(HOURLY, usd_per_hour=5.9))).decode(),
    )
    many = [DocumentChange(kind="backend", id=f"b{n}", before=None, after="{}") for n in range(6)]

    assert summary([one]) == "~ price h100: usd_per_hour 11.80 -> 5.90 (x0.50)"
    assert summary([one, *many]) == "6 added, 1 changed: price h100, backend b0, backend b1, backend b2, ..."
    assert counted([]) == "nothing to change"
