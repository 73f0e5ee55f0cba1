"""The history on a real Valkey: one revision per change, bounded, and a way back to each."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.domain.audit import Author
from router.domain.fleet import Backend, Health
from router.domain.pricing import Price, PriceBook, book_of
from router.domain.snapshot import FleetSnapshot
from router.domain.tenant import Tenant
from router.errors import NotFound
from router.state.client import StoreClient
from router.state.codec import PoliciesDocument
from router.state.embedded import EmbeddedValkey
from router.state.history import History, StoredRevision
from router.state.keys import MAX_HISTORY_BYTES, MAX_REVISIONS, POLICIES_ID, Keys, Kind, price_id
from router.state.store import SeedDocuments, ValkeyStore, Write

MakeBackend = Callable[..., Backend]
ANN = Author(actor="ann", origin="10.0.0.1:99", action="SetPrice", note='why: "spring"\n')


def wanted(snapshot: FleetSnapshot) -> dict[tuple[str, str], object]:
    """The configuration without versions and times."""
    documents: dict[tuple[str, str], object] = {}
    for backend in snapshot.backends.values():
        documents["backend", backend.id] = replace(backend, version=0)
    for book in snapshot.prices.values():
        documents["price", price_id(book.backend, book.model)] = replace(book, version=0, changed_at=0.0)
    for tenant in snapshot.tenants.values():
        documents["tenant", tenant.id] = replace(tenant, version=0)
    if snapshot.policies_version:
        documents["policies", POLICIES_ID] = snapshot.policies_yaml
    return documents


async def test_every_change_of_the_configuration_is_one_revision(store: ValkeyStore, make_backend: MakeBackend) -> None:
    """Seeds, writes and removals are told with who, where, why and the documents before and after; health is not."""
    await store.seed(SeedDocuments(backends=(make_backend("a"),), policies_yaml="v: 1"), actor="seed@r")
    await store.seed(SeedDocuments(backends=(make_backend("a"),)), actor="seed@r")
    await store.put_backend(make_backend("a", region='e"u'), expected_version=1, author=ANN)
    await store.put_health("a", Health(), expected_version=0, actor="r")
    odd = 'org/"m"\\é'
    await store.put_price(book_of(Price(backend="a", model=odd, usd_per_hour=1.0)), expected_version=0, author=ANN)
    await store.remove_backend("a", expected_version=2, author=ANN)
    newest, priced, changed, seeded = await store.history(before=0, limit=10)
    assert [r.version for r in (newest, priced, changed, seeded)] == [8, 5, 3, 2]
    assert (seeded.actor, seeded.action) == ("seed@r", "Seed")
    assert (changed.actor, changed.origin, changed.action, changed.note) == (
        *("ann", "10.0.0.1:99", "SetPrice", 'why: "spring"\n'),
    )
    (document,) = changed.changes
    assert (document.before or "").replace('"region":""', r'"region":"e\"u"') == document.after
    assert [(c.kind, c.id, c.before is None, c.after is None) for c in priced.changes] == [
        ("price", f"a/{odd}", True, False)
    ]
    assert {(c.kind, c.after) for c in newest.changes} == {("price", None), ("backend", None)}
    assert await store.history(before=5, limit=1) == (changed,)
    assert await store.revision(3) == changed
    for version in (1, 4, 99):
        with pytest.raises(NotFound, match=f"revision {version} is not kept"):
            await store.revision(version)


async def test_the_history_is_bounded_by_count(store: ValkeyStore) -> None:
    """The oldest revisions go; what came before them cannot be gone back to, and the answer says how far one can."""
    for version in range(MAX_REVISIONS + 5):
        await store.put_policies(f"v: {version}", expected_version=version, author=ANN)
    kept = (await store.load()).history.revisions
    assert (len(kept), kept[0].version) == (MAX_REVISIONS, 6)
    with pytest.raises(NotFound, match="does not reach back to version 5: the oldest kept version is 6"):
        await store.documents_at(5)
    (write,) = await store.documents_at(6)
    assert isinstance(write.document, PoliciesDocument)
    assert write.document.yaml == "v: 5"
    with pytest.raises(NotFound, match="99999 has not been reached"):
        await store.documents_at(99_999)


async def test_the_history_is_bounded_by_bytes(valkey: EmbeddedValkey) -> None:
    """Large revisions push out the oldest, but the newest always stays; the mirror has what the server has."""
    store = ValkeyStore.connect(valkey.url, timeout_s=10.0)
    text = "x" * (MAX_HISTORY_BYTES // 8)
    for version in range(8):
        await store.put_policies(f"{text}{version}", expected_version=version, author=ANN)
    held = await store.load()
    # Each holds the text of before as well, but for the first.
    assert [r.version for r in held.history.revisions] == [6, 7, 8]
    assert sum(len(r.changes) for r in held.history.revisions) <= MAX_HISTORY_BYTES
    await store.put_policies(text * 8, expected_version=8, author=ANN)
    news = await store.news(after=8, after_revision=8, limit=10)
    alone = await store.load()
    assert [r.version for r in alone.history.revisions] == [9]
    assert held.history.extended(news.revisions) == alone.history
    client = StoreClient.connect(valkey.url)
    assert await client.call("LLEN", Keys("router").history_sizes, what="ask") == 1
    await client.aclose()
    await store.aclose()


async def test_a_lost_history_comes_back_in_order_from_several_replicas(
    store: ValkeyStore, valkey: EmbeddedValkey
) -> None:
    """Replicas that hold different parts put them back at once, in any order: all of it is there, once, in order."""
    for version in range(30):
        await store.put_policies(f"v: {version}", expected_version=version, author=ANN)
    whole = (await store.load()).history
    for number, parts in enumerate(
        ((whole.revisions[:20], whole.revisions[10:]), (whole.revisions[20:], whole.revisions[:25], whole.revisions))
    ):
        empty = ValkeyStore.connect(valkey.url, namespace=f"n{number}")
        recalled = await asyncio.gather(*(empty.recall(part) for part in parts))
        assert sum(recalled) == 30
        assert (await empty.load()).history == whole
        assert await empty.recall(whole.revisions) == 0
        await empty.aclose()


async def test_a_revision_that_was_made_meanwhile_stays_among_those_put_back(store: ValkeyStore) -> None:
    """What a store went on to write is neither lost nor moved; of one version made twice the earlier stays."""
    await store.put_policies("v: 0", expected_version=0, author=ANN)
    await store.put_policies("v: 1", expected_version=1, author=ANN)
    later = (await store.load()).history
    lost = [StoredRevision(version, "1.000000", "bob", "", "Apply", "", b"[]") for version in (2, 5)]
    assert await store.recall(lost) == 2
    revisions = await store.history(before=0, limit=10)
    assert [(r.version, r.actor) for r in revisions] == [(5, "bob"), (2, "bob"), (1, "ann")]
    assert (await store.load(None)).history == later.merged(History(tuple(lost)))


KINDS = st.sampled_from(["backend", "price", "tenant", "policies"])
CHANGES = st.lists(
    st.tuples(KINDS, st.sampled_from(["a", "b", "ab"]), st.sampled_from([None, 0, 1, 2])), min_size=1, max_size=4
)


def as_writes(changes: list[tuple[str, str, int | None]]) -> tuple[Write, ...]:
    """A transaction that is valid for any fleet: a price always comes with its backend."""
    writes: dict[tuple[Kind, str], Write] = {}
    for kind, name, value in changes:
        write = as_write(kind, name, value)
        if kind == "price" and value is not None:
            writes.setdefault((Kind.BACKEND, name), as_write("backend", name, 0))
            if writes[Kind.BACKEND, name].document is None:
                continue
        if kind == "backend" and value is None and (Kind.PRICE, f"{name}/m") in writes:
            continue
        writes[write.kind, write.id] = write
    return tuple(writes.values())


def as_write(kind: str, name: str, value: int | None) -> Write:
    if kind == "backend":
        document = Backend(id=name, wire="w", address=str(value), models=())
        return Write(Kind.BACKEND, name, None if value is None else document)
    if kind == "price":
        book = PriceBook(backend=name, model="m", prices=(Price(backend=name, model="m", usd_per_hour=value),))
        return Write(Kind.PRICE, f"{name}/m", None if value is None else book)
    if kind == "tenant":
        return Write(Kind.TENANT, name, None if value is None else Tenant(id=name, name=str(value)))
    return Write(Kind.POLICIES, POLICIES_ID, None if value is None else PoliciesDocument(f"v: {value}"))


def test_every_version_can_be_gone_back_to() -> None:
    """After any sequence of transactions, applying `documents_at(v)` gives the configuration of v, for every v."""
    namespaces = itertools.count()
    with asyncio.Runner() as runner:
        valkey = runner.run(EmbeddedValkey().__aenter__())

        async def play(transactions: list[list[tuple[str, str, int | None]]]) -> None:
            store = ValkeyStore.connect(valkey.url, namespace=f"n{next(namespaces)}")
            then: dict[int, dict[tuple[str, str], object]] = {}
            for changes in transactions:
                await store.apply(as_writes(changes), expected_config_version=None, author=ANN)
                snapshot = (await store.load()).snapshot
                then[snapshot.version] = wanted(snapshot)
            oldest = (await store.load()).history.revisions
            for version, configuration in then.items():
                if not oldest or version < oldest[0].version:
                    continue
                writes = await store.documents_at(version)
                result = await store.apply(writes, expected_config_version=None, author=ANN)
                snapshot = (await store.load()).snapshot
                assert wanted(snapshot) == configuration
                assert result.config_version == snapshot.config_version
                assert await store.documents_at(snapshot.version) == ()
            await store.aclose()

        @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
        @given(st.lists(CHANGES, min_size=1, max_size=8))
        def examples(transactions: list[list[tuple[str, str, int | None]]]) -> None:
            runner.run(play(transactions))

        try:
            examples()
        finally:
            runner.run(valkey.__aexit__(None, None, None))
