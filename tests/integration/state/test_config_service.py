"""Plans, transactions, history and rollback over a real gRPC server, a real Valkey and the sync between them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest

from router.state.embedded import EmbeddedValkey
from router.v1 import config_pb2 as pb
from tests.integration.state.config_site import (
    POLICIES,
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


async def test_a_change_is_planned_applied_and_told(site: Site) -> None:
    """What a plan shows is what applying makes: at one version, acknowledged, and in the history with its author."""
    first = await site.apply(fleet_file("a", "b"), price_file(a=10, b=15), policy_file(), note="the beginning")
    site.decide(20)
    files = [price_file(a=10, b=7.5), policy_file("2e-5")]

    planned = await site.stub.Plan(pb.PlanRequest(files=files))
    applied = await site.stub.Apply(
        pb.ApplyRequest(files=files, expected_config_version=planned.config_version, note="cheaper"),
        metadata=(("x-actor", "ann@laptop"),),
    )

    assert planned.config_version == first.config_version == 5
    assert [(d.kind, d.id, d.operation) for d in planned.differences] == [
        ("price", "b/", "change"),
        ("policies", "policies", "change"),
    ]
    assert planned.differences[0].fields[0].ratio == pytest.approx(0.5)
    assert (planned.effect.requests, planned.effect.moved) == (20, 20)
    assert planned.effect.cost_usd_after == pytest.approx(0.75 * planned.effect.cost_usd_before)
    assert list(applied.differences) == list(planned.differences)
    assert applied.config_version == 7 == site.state.view.snapshot.config_version
    assert [replica.replica for replica in applied.acknowledged] == ["r1", "r2"]
    assert not applied.missing
    history = (await site.stub.ListHistory(pb.ListHistoryRequest())).revisions
    assert [(r.version, r.action, r.note, r.documents) for r in history] == [
        (7, "Apply", "cheaper", 2),
        (5, "Apply", "the beginning", 5),
    ]
    assert history[0].actor == "ann@laptop"
    assert history[0].origin.startswith("ipv4:127.0.0.1")
    assert history[0].summary == "2 changed: price b, policies"
    told = await site.stub.GetRevision(pb.GetRevisionRequest(version=7))
    assert list(told.differences) == list(planned.differences)


async def test_nothing_to_change_makes_no_version(site: Site) -> None:
    """Applied again, the same files write nothing: no version, no revision, no difference."""
    files = (fleet_file("a"), price_file(a=10), policy_file())
    first = await site.apply(*files)

    again = await site.apply(*files)

    assert again.config_version == first.config_version
    assert not again.differences
    assert len((await site.stub.ListHistory(pb.ListHistoryRequest())).revisions) == 1


async def test_of_two_concurrent_changes_one_wins(site: Site, start_replica: StartReplica) -> None:
    """Of two admins who planned at one version, at two replicas, one wins; the other is ABORTED with the new one."""
    await site.apply(fleet_file("a", "b"), price_file(a=10, b=10))
    other_state = await start_replica()
    async with serving(other_state) as other:
        version = site.state.view.snapshot.config_version
        await other_state.view.wait_version(version, timeout_s=2.0)
        for round_ in range(1, 11):
            version = max(s.state.view.snapshot.config_version for s in (site, other))
            calls = [
                at.apply(price_file(a=10 + round_, b=by), expected_config_version=version)
                for at, by in ((site, 20 + round_), (other, 40 + round_))
            ]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            (won,) = [answer for answer in answers if isinstance(answer, pb.ApplyResponse)]
            (lost,) = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
            assert lost.code() is grpc.StatusCode.ABORTED
            assert f"at version {won.config_version}, not at the expected {version}" in str(lost.details())
            assert "plan again" in str(lost.details())
        assert len((await site.stub.ListHistory(pb.ListHistoryRequest())).revisions) == 11


async def test_a_change_that_expects_nothing_is_planned_again(site: Site, start_replica: StartReplica) -> None:
    """Without an expected version concurrent changes of different documents all come to pass."""
    await site.apply(fleet_file("a", "b"))
    other_state = await start_replica()
    async with serving(other_state) as other:
        await asyncio.gather(site.apply(price_file(a=11)), other.apply(price_file(b=12)), site.apply(policy_file()))
        version = await site.state.store.version()
        await site.state.view.wait_version(version, timeout_s=2.0)

    prices = {key[0]: book.prices[0].output_usd_per_mtok for key, book in site.state.view.snapshot.prices.items()}
    assert prices == {"a": 11, "b": 12}
    assert site.state.view.snapshot.policies_yaml == POLICIES


async def test_a_stale_plan_is_aborted_with_the_new_version(site: Site) -> None:
    """A change by another call between plan and apply makes the apply ABORTED, and nothing of it is written."""
    await site.apply(fleet_file("a"), price_file(a=10))
    planned = await site.stub.Plan(pb.PlanRequest(files=[price_file(a=5)]))
    between = await site.apply(policy_file())

    code, facts, _, message = await failure(site.apply(price_file(a=5), expected_config_version=planned.config_version))

    assert code is grpc.StatusCode.ABORTED
    assert facts["current_version"] == str(between.config_version)
    assert "plan again" in message
    assert site.state.view.snapshot.prices["a", ""].prices[0].output_usd_per_mtok == 10


async def test_a_replica_that_does_not_follow_is_named(site: Site) -> None:
    """The change is made all the same, and the answer says who runs it and who does not, and at what version."""
    site.replicas.second_follows = False

    response = await site.apply(fleet_file("a", "b"), wait_s=0.05)

    assert [replica.replica for replica in response.acknowledged] == ["r1"]
    assert [(replica.replica, replica.fleet_version) for replica in response.missing] == [("r2", 1)]
    assert site.state.view.snapshot.config_version == response.config_version


async def test_wrong_files_are_refused_whole(site: Site) -> None:
    """Every problem is a violation with file, line and key; nothing is written; as many as fit, and how many more."""
    await site.apply(fleet_file("a"))
    bad = pb.ConfigFile(name="x/fleet.yaml", text="backends:\n  b: {wire: scripted, adress: 'http://b', models: []}\n")

    code, _, named, message = await failure(site.apply(bad, price_file(zz=1)))
    many = pb.ConfigFile(name="f", text="backends:\n" + "".join(f"  b{n}: {{}}\n" for n in range(200)))
    _, _, cut, said = await failure(site.stub.Plan(pb.PlanRequest(files=[many])))

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert any(
        line.startswith("x/fleet.yaml:2: backends.b.adress: unknown key (did you mean 'address'?)") for line in named
    )
    assert message.endswith("nothing was changed")
    assert said.startswith("600 problems in f")
    assert cut[-1] == f"files: and {600 - len(cut) + 1} more problems"
    assert set(site.state.view.snapshot.backends) == {"a"}


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ApplyRequest(), "files"),
        (pb.ApplyRequest(files=[pb.ConfigFile(text="a: 1")] * 17), "files"),
        (pb.ApplyRequest(files=[pb.ConfigFile(text="#" * 2_200_000)]), "files"),
        (pb.ApplyRequest(files=[fleet_file("a")], note="x" * 501), "note"),
        (pb.ApplyRequest(files=[fleet_file("a")], wait_s=float("nan")), "wait_s"),
        (pb.ApplyRequest(files=[fleet_file("a")], wait_s=61), "wait_s"),
        (pb.ApplyRequest(files=[pb.ConfigFile(name="\n", text="a: 1")]), "files[0].name"),
    ],
)
async def test_what_comes_in_is_bounded(site: Site, request_: pb.ApplyRequest, field: str) -> None:
    """Too many files, too much text, a long note or an endless wait is INVALID_ARGUMENT at that field."""
    code, _, named, _ = await failure(site.stub.Apply(request_))

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert [line.partition(": ")[0] for line in named] == [field]
    assert not site.state.view.snapshot.backends


async def test_without_the_store_plans_go_on_and_changes_fail_at_once(site: Site, valkey: EmbeddedValkey) -> None:
    """With the store frozen a plan is made from the snapshot; apply, rollback and history are UNAVAILABLE at once."""
    await site.apply(fleet_file("a"), price_file(a=10))
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(5):
            await site.state.view.wait_connected(connected=False)
        planned = await site.stub.Plan(pb.PlanRequest(files=[price_file(a=5)]))
        calls = (
            site.apply(price_file(a=5)),
            site.stub.Rollback(pb.RollbackRequest(version=1)),
            site.stub.Rollback(pb.RollbackRequest(version=1, plan_only=True)),
            site.stub.ListHistory(pb.ListHistoryRequest()),
            site.stub.GetRevision(pb.GetRevisionRequest(version=1)),
        )
        async with asyncio.timeout(1):
            codes = [(await failure(call))[0] for call in calls]
    finally:
        os.kill(valkey.pid, signal.SIGCONT)

    assert len(planned.differences) == 1
    assert codes == [grpc.StatusCode.UNAVAILABLE] * 5
    async with asyncio.timeout(10):
        await site.state.view.wait_connected(connected=True)
    assert (await site.apply(price_file(a=5))).differences
