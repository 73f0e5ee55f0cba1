"""The store's writes on a real Valkey: compare-and-set, cascades, seeding, restoring and their errors."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import closing

import pytest

from router.domain.audit import Author
from router.domain.fleet import Backend, Health, HealthState
from router.domain.pricing import Price, book_of
from router.errors import AlreadyExists, NotFound, StaleVersion, StoreUnavailable
from router.state.connection import open_client
from router.state.embedded import EmbeddedValkey
from router.state.fold import Lost
from router.state.keys import REBUILD_JUMP, Keys, Kind
from router.state.store import SeedDocuments, ValkeyStore

MakeBackend = Callable[..., Backend]


async def test_a_write_raises_the_version_of_the_document_and_of_the_fleet(
    store: ValkeyStore, make_backend: MakeBackend
) -> None:
    """Each write gives the document its next version and the fleet its next version, and both are read back."""
    first, fleet_1 = await store.put_backend(make_backend(), expected_version=0, author=Author(actor="a"))
    second, fleet_2 = await store.put_backend(make_backend(region="eu"), expected_version=1, author=Author(actor="a"))
    assert (first.version, fleet_1, second.version, fleet_2) == (1, 1, 2, 2)
    assert await store.get_backend("h100") == second
    held = await store.load()
    assert (held.snapshot.version, held.snapshot.backends) == (2, {"h100": second})


async def test_a_stale_write_changes_nothing_and_names_the_current_version(
    store: ValkeyStore, make_backend: MakeBackend
) -> None:
    """A write that expects an old version fails with the current one, and leaves document and stream as they were."""
    await store.put_backend(make_backend(), expected_version=0, author=Author(actor="a"))
    await store.put_backend(make_backend(region="eu"), expected_version=1, author=Author(actor="a"))
    with pytest.raises(StaleVersion) as stale:
        await store.put_backend(make_backend(region="us"), expected_version=1, author=Author(actor="b"))
    with pytest.raises(StaleVersion):
        await store.remove_backend("h100", expected_version=1, author=Author(actor="b"))
    with pytest.raises(StaleVersion):
        await store.set_drained("h100", drained=True, expected_version=1, author=Author(actor="b"))
    assert stale.value.current == 2
    assert stale.value.metadata() == {"current_version": "2"}
    assert (await store.get_backend("h100")).region == "eu"
    assert len(await store.changes(after=0, limit=10)) == 2


async def test_what_exists_is_not_created_again_and_what_is_missing_is_not_changed(
    store: ValkeyStore, make_backend: MakeBackend
) -> None:
    """Expected version 0 fails on a backend that exists; any other fails on one that does not."""
    await store.put_backend(make_backend(), expected_version=0, author=Author(actor="a"))
    with pytest.raises(AlreadyExists):
        await store.put_backend(make_backend(), expected_version=0, author=Author(actor="a"))
    with pytest.raises(NotFound):
        await store.put_backend(make_backend("other"), expected_version=3, author=Author(actor="a"))
    with pytest.raises(NotFound):
        await store.remove_backend("other", expected_version=1, author=Author(actor="a"))
    with pytest.raises(NotFound):
        await store.put_price(
            book_of(Price(backend="other", usd_per_hour=1.0)), expected_version=0, author=Author(actor="a")
        )
    with pytest.raises(NotFound):
        await store.put_health("other", Health(), expected_version=0, actor="a")
    await store.put_policies("a: 1", expected_version=0, author=Author(actor="a"))
    with pytest.raises(StaleVersion) as stale:
        await store.put_policies("b: 1", expected_version=0, author=Author(actor="a"))
    assert stale.value.current == 1


async def test_of_concurrent_writers_exactly_one_wins_each_version(
    store: ValkeyStore, make_backend: MakeBackend
) -> None:
    """Of twenty writers that expect the same version one is answered and the others are told that they are stale."""
    await store.put_backend(make_backend(), expected_version=0, author=Author(actor="a"))
    for version in range(1, 6):
        answers = await asyncio.gather(
            *(
                store.put_backend(make_backend(region=f"r{n}"), expected_version=version, author=Author(actor=f"w{n}"))
                for n in range(20)
            ),
            return_exceptions=True,
        )
        won = [answer for answer in answers if not isinstance(answer, BaseException)]
        assert len(won) == 1
        assert all(isinstance(a, StaleVersion) for a in answers if isinstance(a, BaseException))
        assert await store.get_backend("h100") == won[0][0]


async def test_removing_a_backend_takes_its_prices_and_health_in_one_change(
    store: ValkeyStore, make_backend: MakeBackend
) -> None:
    """Prices and health go with their backend, in one change; those of a backend with a longer name stay."""
    for name in ("h1", "h100"):
        await store.put_backend(make_backend(name), expected_version=0, author=Author(actor="a"))
        await store.put_price(
            book_of(Price(backend=name, usd_per_hour=1.0)), expected_version=0, author=Author(actor="a")
        )
        await store.put_price(
            book_of(Price(backend=name, model="org/m", usd_per_hour=1.0)), expected_version=0, author=Author(actor="a")
        )
        await store.put_health(name, Health(state=HealthState.HEALTHY), expected_version=0, actor="a")
    before = (await store.load()).snapshot.version
    fleet = await store.remove_backend("h1", expected_version=1, author=Author(actor="admin"))
    snapshot = (await store.load()).snapshot
    assert snapshot.version == fleet == before + 4
    assert set(snapshot.backends) == set(snapshot.health) == {"h100"}
    assert set(snapshot.prices) == {("h100", ""), ("h100", "org/m")}
    entries = await store.changes(after=before, limit=10)
    assert [(e.change.kind, e.change.operation, e.more) for e in entries] == [
        ("price", "removed", True),
        ("price", "removed", True),
        ("health", "removed", True),
        ("backend", "removed", False),
    ]
    assert {e.change.actor for e in entries} == {"admin"}


async def test_a_removed_backend_can_be_registered_again(store: ValkeyStore, make_backend: MakeBackend) -> None:
    """Version 0 and the tombstone's version both bring a removed backend back, and versions never repeat."""
    await store.put_backend(make_backend(), expected_version=0, author=Author(actor="a"))
    await store.remove_backend("h100", expected_version=1, author=Author(actor="a"))
    with pytest.raises(NotFound):
        await store.put_backend(make_backend(), expected_version=1, author=Author(actor="a"))
    with pytest.raises(NotFound):
        await store.get_backend("h100")
    again, _ = await store.put_backend(make_backend(), expected_version=2, author=Author(actor="a"))
    await store.remove_backend("h100", expected_version=3, author=Author(actor="a"))
    once_more, _ = await store.put_backend(make_backend(), expected_version=0, author=Author(actor="a"))
    assert (again.version, once_more.version) == (3, 5)


async def test_seeding_neither_overwrites_nor_resurrects(store: ValkeyStore, make_backend: MakeBackend) -> None:
    """A seed writes only what has never been there: changed and removed documents stay as operators left them."""
    seed = SeedDocuments(
        backends=(make_backend("a"), make_backend("b"), make_backend("c")),
        prices=(book_of(Price(backend="a", usd_per_hour=1.0)), book_of(Price(backend="b", usd_per_hour=1.0))),
        policies_yaml="from: config",
    )
    report = await store.seed(seed, actor="seed")
    assert len(report.written) == 6
    assert report.kept == ()
    await store.put_backend(make_backend("a", region="changed"), expected_version=1, author=Author(actor="admin"))
    await store.remove_backend("b", expected_version=1, author=Author(actor="admin"))
    before = await store.load()
    more = SeedDocuments(
        backends=(*seed.backends, make_backend("d")),
        prices=(*seed.prices, book_of(Price(backend="b", model="m", usd_per_hour=1.0))),
        policies_yaml="from: other",
    )
    report = await store.seed(more, actor="seed")
    after = await store.load()
    assert report.written == ("backend d",)
    assert after.snapshot.backends == before.snapshot.backends | {"d": await store.get_backend("d")}
    assert after.snapshot.prices == before.snapshot.prices
    assert after.snapshot.policies_yaml == "from: config"


async def test_two_replicas_that_seed_at_once_write_each_document_once(
    store: ValkeyStore, make_backend: MakeBackend
) -> None:
    """However many replicas start together, each document is seeded once and is at version 1."""
    seed = SeedDocuments(backends=tuple(make_backend(f"b{n}") for n in range(1200)), policies_yaml="a: 1")
    reports = await asyncio.gather(*(store.seed(seed, actor=f"r{n}") for n in range(3)))
    assert sum(len(report.written) for report in reports) == 1201
    snapshot = (await store.load()).snapshot
    assert len(snapshot.backends) == 1200
    assert {backend.version for backend in snapshot.backends.values()} == {1}
    assert snapshot.version == 1201


async def test_restoring_keeps_whatever_is_newer(store: ValkeyStore, make_backend: MakeBackend) -> None:
    """What a replica puts back never replaces a newer document, and the fleet's version does not go back."""
    await store.put_backend(make_backend("a", region="new"), expected_version=0, author=Author(actor="a"))
    await store.put_backend(make_backend("a", region="newer"), expected_version=1, author=Author(actor="a"))
    lost = (
        Lost(kind=Kind.BACKEND, id="a", version=1, at=1.5, document=make_backend("a", region="old")),
        Lost(kind=Kind.BACKEND, id="b", version=7, at=1.5, document=make_backend("b")),
        Lost(kind=Kind.BACKEND, id="c", version=3, at=1.5, document=None),
    )
    assert await store.restore(lost, fleet_version=40, actor="r") == 2
    assert await store.restore(lost, fleet_version=40, actor="r") == 0
    held = await store.load()
    assert held.snapshot.version == 40 + REBUILD_JUMP + 2
    assert (await store.get_backend("a")).region == "newer"
    assert held.snapshot.backends["b"].version == 7
    assert held.tombstones[Kind.BACKEND, "c"].version == 3


async def test_the_stream_is_capped(store: ValkeyStore, valkey: EmbeddedValkey, make_backend: MakeBackend) -> None:
    """The change stream holds about ten thousand entries, however many changes there were."""
    backend, _ = await store.put_backend(make_backend(), expected_version=0, author=Author(actor="a"))
    for start in range(0, 11_000, 500):
        wave = tuple(make_backend(f"b{start + n}") for n in range(500))
        await store.seed(SeedDocuments(backends=wave), actor="a")
    client = open_client(valkey.url, timeout_s=1.0)
    assert 10_000 <= await client.xlen(Keys("router").changes) <= 10_200
    await client.aclose()
    assert backend.version == 1


async def test_an_acl_user_and_tcp_are_configuration(valkey: EmbeddedValkey, make_backend: MakeBackend) -> None:
    """A URL with user and password works over TCP, and a wrong password is a refusal that shows neither."""
    admin = open_client(valkey.url, timeout_s=1.0)
    await admin.acl_setuser(
        "router", enabled=True, passwords=["+s3cret"], keys=["{router}:*"], categories=["+@all", "-@dangerous"]
    )
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    await admin.config_set("port", port)
    path = valkey.url.removeprefix("unix://")
    allowed = ValkeyStore.connect(f"redis://router:s3cret@127.0.0.1:{port}/0")
    await allowed.put_backend(make_backend(), expected_version=0, author=Author(actor="a"))
    assert len((await allowed.load()).snapshot.backends) == 1
    refused = ValkeyStore.connect(f"unix://router:wr0ng@{path}")
    with pytest.raises(StoreUnavailable, match="refuses our credentials") as error:
        await refused.ping()
    assert "wr0ng" not in str(error.value)
    elsewhere = ValkeyStore.connect(f"unix://router:s3cret@{path}", namespace="other")
    with pytest.raises(StoreUnavailable):
        await elsewhere.load()
    for client in (admin, allowed, refused, elsewhere):
        await client.aclose()
