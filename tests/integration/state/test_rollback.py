"""History and rollback over a real gRPC server, a real Valkey and the sync between them."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import grpc.aio
import pytest

from router.domain.audit import Author
from router.domain.pricing import Price, Source, book_of
from router.domain.tenant import ApiKey, Tenant
from router.v1 import config_pb2 as pb
from tests.integration.state.config_site import (
    Site,
    StartReplica,
    failure,
    fleet_file,
    policy_file,
    price_file,
    serving,
)


@pytest.fixture
async def site(start_replica: StartReplica) -> AsyncIterator[Site]:
    state = await start_replica()
    async with serving(state) as site:
        yield site


async def test_every_version_can_be_put_back_exactly(site: Site) -> None:
    """Rolling back to any version restores every document of it, as a new change that can be rolled back itself."""
    seen: dict[int, tuple[object, ...]] = {}
    steps: list[list[pb.ConfigFile]] = [
        [fleet_file("a", "b"), price_file(a=10, b=15)],
        [policy_file()],
        [price_file(a=11, b=15)],
        [fleet_file("a", "c"), price_file(a=11, c=3)],
        [fleet_file("c"), policy_file("3e-5")],
    ]
    for step in steps:
        response = await site.apply(*step, prune=True)
        seen[response.config_version] = site.config
    spot = Price(backend="c", usd_per_hour=1.0, source_kind=Source.FEED, feed="f")
    book = site.state.view.snapshot.prices["c", ""]
    _, version = await site.state.store.put_price(
        book_of(spot), expected_version=book.version, author=Author(actor="feed")
    )
    await site.state.view.wait_version(version, timeout_s=2.0)
    seen[version] = site.config
    assert len({repr(config) for config in seen.values()}) == len(seen) == 6
    order = list(seen)
    random.Random(3).shuffle(order)
    for version in (*order, *reversed(order)):
        planned = await site.stub.Rollback(pb.RollbackRequest(version=version, plan_only=True))
        before = site.config
        done = await site.stub.Rollback(
            pb.RollbackRequest(version=version, expected_config_version=planned.config_version)
        )
        assert site.config == seen[version]
        assert list(done.differences) == list(planned.differences)
        assert bool(done.differences) == (before != seen[version])
    newest = (await site.stub.ListHistory(pb.ListHistoryRequest(limit=1))).revisions[0]
    assert newest.action.startswith("Rollback to ")


async def test_a_rollback_does_not_let_anybody_in_or_lock_anybody_out(site: Site) -> None:
    """A key that was revoked since stays revoked, and one that was made since stays valid."""
    old, new = ApiKey(id="old", sha256="a" * 64), ApiKey(id="new", sha256="b" * 64)
    store, author = site.state.store, Author(actor="x")
    first, version = await store.put_tenant(Tenant(id="t", name="then", keys=(old,)), expected_version=0, author=author)
    now = (replace(old, revoked=True), new)
    _, fleet = await store.put_tenant(
        Tenant(id="t", name="now", keys=now), expected_version=first.version, author=author
    )
    await site.state.view.wait_version(fleet, timeout_s=2.0)

    await site.stub.Rollback(pb.RollbackRequest(version=version))

    tenant = site.state.view.snapshot.tenants["t"]
    assert (tenant.name, tenant.keys) == ("then", now)


async def test_a_rollback_of_what_is_not_kept_is_refused(site: Site) -> None:
    """A version that was never reached, or none, is an error; so is a stale expectation."""
    await site.apply(fleet_file("a"))

    unknown = await failure(site.stub.Rollback(pb.RollbackRequest(version=99)))
    none = await failure(site.stub.Rollback(pb.RollbackRequest()))
    stale = await failure(site.stub.Rollback(pb.RollbackRequest(version=1, expected_config_version=7, plan_only=True)))
    revision = await failure(site.stub.GetRevision(pb.GetRevisionRequest(version=99)))

    assert [problem[0] for problem in (unknown, none, stale, revision)] == [
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.NOT_FOUND,
    ]
