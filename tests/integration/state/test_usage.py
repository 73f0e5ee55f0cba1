"""Usage in a real Valkey, from the meter to the admin API."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from router.api.usage_service import UsageService
from router.clock import FakeClock, SystemClock
from router.domain.outcome import AttemptOutcome, TokenUsage
from router.domain.usage import HOUR_S, UsageKey, UsageRow, UsageTotals
from router.errors import StoreUnavailable
from router.metering.meter import Meter, new_incarnation
from router.metering.sync import UsageSync
from router.state.client import StoreClient
from router.state.embedded import EmbeddedValkey
from router.state.keys import USAGE_S, Keys
from router.state.runtime import end_task
from router.state.usage import UsageStore
from router.v1 import usage_pb2 as pb
from router.v1 import usage_pb2_grpc

HOUR = 1_800_000_000
KEY = UsageKey(HOUR, "acme", "llama", "h100")
KEYS = Keys("router")


@pytest.fixture
async def client(valkey: EmbeddedValkey) -> AsyncIterator[StoreClient]:
    client = StoreClient.connect(valkey.url)
    yield client
    await client.aclose()


@pytest.fixture
def usage(client: StoreClient) -> UsageStore:
    return UsageStore(client, KEYS)


def totals(attempts: int) -> UsageTotals:
    return UsageTotals(requests=attempts, attempts=attempts, output_tokens=7 * attempts, cost_nano_usd=2**60 + attempts)


async def rows(usage: UsageStore, begin: int = HOUR, end: int = HOUR + HOUR_S, **wanted: str) -> list[UsageRow]:
    return [row async for row in usage.rows(begin, end, **wanted)]


def record(meter: Meter, tenant: str = "acme", backend: str = "h100") -> None:
    outcome = AttemptOutcome(backend=backend, model="m", result="OK", usage=TokenUsage(output=3), cost_usd=1e-9)
    meter.record(tenant, [outcome])


async def test_runs_are_added_up_and_late_copies_change_nothing(usage: UsageStore) -> None:
    """Two runs of a replica count side by side; a repeat and an older copy leave the later one; 60 bits stay exact."""
    for run, attempts in (("one", 5), ("two", 2), ("one", 5), ("one", 3)):
        await usage.hand_in("session", 0, [(run, KEY, totals(attempts))])

    assert await rows(usage) == [UsageRow(key=KEY, totals=totals(5) + totals(2))]


@pytest.mark.parametrize("name", ["a|b", "100%", "org/model:free @ x", "ü|%7C", "", "\n"])
async def test_any_name_comes_back_as_it_was(name: str, usage: UsageStore) -> None:
    """Names may hold the separator and what it is encoded with."""
    key = UsageKey(HOUR, name, f"{name}m", f"b{name}")
    await usage.hand_in("session", 0, [(f"run{name}", key, totals(1))])

    assert [row.key for row in await rows(usage)] == [key]


async def test_a_name_that_cannot_be_written_keeps_nobody_else_out(usage: UsageStore) -> None:
    """A lone surrogate is written as a question mark, and its neighbours are handed in."""
    bad = UsageKey(HOUR, "\ud800", "llama", "h100")
    await usage.hand_in("session", 0, [("run", bad, totals(1)), ("run", KEY, totals(1))])

    assert [row.key.tenant for row in await rows(usage)] == ["?", "acme"]


async def test_rows_are_in_order_and_filtered(usage: UsageStore) -> None:
    """Hours of the range only, in order of hour, tenant, model and backend; each filter by itself."""
    keys = [UsageKey(HOUR + h * HOUR_S, t, m, b) for h in (0, 1, 300) for t in "xy" for m in "mn" for b in "ab"]
    await usage.hand_in("session", 0, [("run", key, totals(1)) for key in reversed(keys)])

    assert [row.key for row in await rows(usage, HOUR, HOUR + 301 * HOUR_S)] == keys
    assert [row.key for row in await rows(usage, HOUR + 1, HOUR + HOUR_S + 1)] == keys[8:16]
    assert {row.key.tenant for row in await rows(usage, tenant="y")} == {"y"}
    assert {row.key.model for row in await rows(usage, model="n")} == {"n"}
    assert {row.key.backend for row in await rows(usage, backend="a")} == {"a"}


async def test_a_field_that_nobody_could_have_written_is_left_out(usage: UsageStore, client: StoreClient) -> None:
    """What cannot be read is counted and skipped; numbers that a later version adds are ignored."""
    await usage.hand_in("session", 0, [("run", KEY, totals(1))])
    await client.call("HSET", KEYS.usage(HOUR), "nonsense", "1", "a|b|c|d", "x y z", what="test")
    await client.call("HSET", KEYS.usage(HOUR), "later|b|c|d", "1 2 3 4 5 6 7 8 9 10 11", what="test")

    assert [row.key.tenant for row in await rows(usage)] == ["acme", "b"]
    assert usage.unreadable == 2


async def test_everything_expires(usage: UsageStore, client: StoreClient) -> None:
    """The hours and the number of hand-ins go away by themselves after the retention."""
    await usage.hand_in("session", 0, [("run", KEY, totals(1))])

    for key in (KEYS.usage(HOUR), KEYS.usage_handed_in("session")):
        assert USAGE_S - 10 <= await client.call("TTL", key, what="test") <= USAGE_S


async def test_the_number_of_hand_ins_tells_of_a_loss(usage: UsageStore, client: StoreClient) -> None:
    """A store that was wiped refuses until the session says that it knows; then it counts on past the old number."""
    first = await usage.hand_in("session", 0, [("run", KEY, totals(1))])
    second = await usage.hand_in("session", first or 0, [])
    await client.call("FLUSHALL", what="test")
    refused = await usage.hand_in("session", second or 0, [("run", KEY, totals(1))])
    assert await rows(usage) == []
    again = await usage.hand_in("session", second or 0, [("run", KEY, totals(1))], after_loss=True)

    assert (first, second, refused, again) == (1, 2, None, 3)
    assert len(await rows(usage)) == 1


async def test_a_killed_and_emptied_store_is_filled_again(
    usage: UsageStore, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    """Two replicas and one that died hand in; the server is killed and starts empty; the sums come back exact."""
    clock = FakeClock(unix=HOUR + 1.0)
    dead = Meter(tmp_path, "dead", clock)
    for _ in range(10):
        record(dead)
    dead.close()
    meters = [Meter(tmp_path, name, clock) for name in ("left", "right")]
    syncs = [UsageSync(meter, usage, clock) for meter in meters]
    for meter, sync in zip(meters, syncs, strict=True):
        await meter.keep()
        for n in range(500):
            record(meter, f"tenant-{n % 50}", f"b{n % 7}")
        await sync.step()
    before = await rows(usage)
    assert sum(row.totals.requests for row in before) == 1010
    assert sum(row.totals.cost_nano_usd for row in before) == 1010

    os.kill(valkey.pid, signal.SIGKILL)
    for meter in meters:
        record(meter)
    with pytest.raises(StoreUnavailable):
        await syncs[0].step()
    await valkey.restart()
    for sync in syncs:
        await sync.step()

    after = await rows(usage)
    assert sum(row.totals.requests for row in after) == 1012
    assert [row.key for row in after] == [row.key for row in before]
    for sync in syncs:
        await sync.stop()


async def test_a_thawed_store_that_carries_out_old_hand_ins_counts_them_once(
    usage: UsageStore, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    """What was sent into a frozen server is carried out when it thaws, after or beside the repeat: once in the sum."""
    clock = FakeClock(unix=HOUR + 1.0)
    meter = Meter(tmp_path, "run", clock)
    sync = UsageSync(meter, usage, clock)
    record(meter)
    await sync.step()
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        for _ in range(3):
            record(meter)
            with suppress(StoreUnavailable):
                await sync.step()
        assert sync.pending == 1
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
    record(meter)
    await sync.step()
    await sync.step()

    (row,) = await rows(usage)
    assert (row.totals.requests, row.totals.cost_nano_usd) == (5, 5)
    await sync.stop()


async def test_reading_much_leaves_the_loop_to_others(usage: UsageStore) -> None:
    """While 20,000 fields of one hour are read, added up and sorted, other tasks get their turns all along."""
    for first in range(0, 20_000, 500):
        entries = [("run", UsageKey(HOUR, f"t{n}", "m", "b"), totals(1)) for n in range(first, first + 500)]
        await usage.hand_in("session", 0, entries)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    found = await rows(usage)
    await end_task(task)

    assert len(found) == 20_000
    # Reading, adding up, sorting and giving out have a turn for each 500.
    assert turns > 4 * 20_000 / 500


async def test_packing_an_old_hour_changes_no_sum(usage: UsageStore, client: StoreClient) -> None:
    """Fields go to one packed field and the sums stay; a late copy counts once, by the later of the two."""
    runs = ("one", "two")
    keys = [UsageKey(HOUR, f"tenant-{n % 20}", "llama", f"b{n // 20}") for n in range(600)]
    for run in runs:
        for first in range(0, 600, 200):
            await usage.hand_in("session", 0, [(run, key, totals(3)) for key in keys[first : first + 200]])
    before = await rows(usage)
    size = await client.call("MEMORY", "USAGE", KEYS.usage(HOUR), "SAMPLES", 0, what="test")

    assert await usage.pack(HOUR + 4 * HOUR_S) == 1200
    assert await rows(usage) == before
    assert await client.call("EXISTS", KEYS.usage(HOUR), what="test") == 0
    packed = await client.call("MEMORY", "USAGE", KEYS.usage_packed(HOUR), "SAMPLES", 0, what="test")
    assert packed < size / 5
    assert USAGE_S - 10 <= await client.call("TTL", KEYS.usage_packed(HOUR), what="test") <= USAGE_S

    late = [("one", keys[0], totals(3)), ("one", keys[1], totals(2)), ("one", keys[2], totals(5))]
    await usage.hand_in("session", 0, late)
    sums = {row.key: row.totals for row in await rows(usage)}
    assert sums == {row.key: row.totals for row in before} | {keys[2]: totals(5) + totals(3)}
    assert await usage.pack(HOUR + 4 * HOUR_S) == 3
    assert await usage.pack(HOUR + 4 * HOUR_S) == 0
    assert {row.key: row.totals for row in await rows(usage)} == sums


async def test_an_hour_that_goes_on_is_not_packed(usage: UsageStore) -> None:
    """This hour and the one before stay as they are: replicas still hand them in."""
    await usage.hand_in("session", 0, [("run", KEY, totals(1))])

    assert await usage.pack(HOUR + 2 * HOUR_S - 1) == 0


async def test_readers_and_writers_beside_packing_see_every_sum_once(usage: UsageStore) -> None:
    """While an hour is packed and written to again and again, no reading misses a counter or has it twice."""
    keys = [UsageKey(HOUR, f"t{n:03}", "llama", "h100") for n in range(300)]
    await usage.hand_in("session", 0, [("run", key, totals(1)) for key in keys])
    packing = True

    async def pack() -> int:
        packed = 0
        for attempts in range(2, 30):
            await usage.hand_in("session", 0, [("run", key, totals(attempts)) for key in keys])
            packed += await usage.pack(HOUR + 4 * HOUR_S)
        nonlocal packing
        packing = False
        return packed

    packs = asyncio.create_task(pack())
    last = 0
    while packing:
        found = await rows(usage)
        assert [row.key for row in found] == keys
        assert all(last <= row.totals.attempts < 30 for row in found)
        last = min(row.totals.attempts for row in found)
    assert await packs > 1000
    assert {row.totals.attempts for row in await rows(usage)} == {29}


@pytest.fixture
async def stub(usage: UsageStore) -> AsyncIterator[Any]:
    clock = FakeClock(unix=HOUR + 90.5)
    server = grpc.aio.server()
    service = UsageService(usage, clock)
    usage_pb2_grpc.add_UsageServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]  # generated
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield usage_pb2_grpc.UsageServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
    await server.stop(1.0)


async def listed(stub: Any, begin: int | None = None, end: int | None = None, **wanted: str) -> list[pb.UsageRow]:
    request = pb.ListUsageRequest(**wanted)  # type: ignore[arg-type]  # a test's own keywords
    for name, at in (("from", begin), ("to", end)):
        if at is not None:
            getattr(request, name).CopyFrom(Timestamp(seconds=at))
    return [row async for page in stub.ListUsage(request) for row in page.rows]


async def test_the_admin_api_lists_this_day_by_default(stub: Any, usage: UsageStore) -> None:
    """Without a range it is this day so far, UTC; every figure arrives."""
    key = UsageKey(HOUR, "acme", "llama", "h100")
    whole = UsageTotals(
        requests=1,
        attempts=2,
        failed_attempts=3,
        input_tokens=4,
        cached_input_tokens=5,
        output_tokens=6,
        reasoning_tokens=7,
        cost_nano_usd=8,
        energy_mj=9,
    )
    midnight = HOUR // 86_400 * 86_400
    others = [UsageKey(hour, "acme", "llama", "h100") for hour in (midnight - HOUR_S, HOUR + HOUR_S)]
    await usage.hand_in("session", 0, [("run", k, whole) for k in (key, *others)])

    (row,) = await listed(stub)
    assert row == pb.UsageRow(
        hour=Timestamp(seconds=HOUR),
        tenant="acme",
        model="llama",
        backend="h100",
        requests=1,
        attempts=2,
        failed_attempts=3,
        input_tokens=4,
        cached_input_tokens=5,
        output_tokens=6,
        reasoning_tokens=7,
        cost_nano_usd=8,
        energy_j=0.009,
    )


async def test_the_admin_api_streams_pages(stub: Any, usage: UsageStore) -> None:
    """More rows than a page holds arrive in order, each once."""
    for first in range(0, 1200, 200):
        entries = [("run", UsageKey(HOUR, f"{n:04}", "m", "b"), totals(1)) for n in range(first, first + 200)]
        await usage.hand_in("session", 0, entries)

    assert [row.tenant for row in await listed(stub)] == [f"{n:04}" for n in range(1200)]
    assert [row.tenant for row in await listed(stub, tenant="0007")] == ["0007"]


@pytest.mark.parametrize(("begin", "end"), [(HOUR, HOUR - 1), (HOUR - 400 * 86_400, HOUR), (-1, HOUR)])
async def test_a_range_that_cannot_be_is_refused(begin: int, end: int, stub: Any) -> None:
    """Backwards, before 1970 or longer than a leap year: INVALID_ARGUMENT."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await listed(stub, begin, end)

    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_without_a_store_the_answer_is_unavailable(stub: Any, valkey: EmbeddedValkey) -> None:
    """A listing while the store is dead says so."""
    os.kill(valkey.pid, signal.SIGKILL)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await listed(stub)

    assert raised.value.code() == grpc.StatusCode.UNAVAILABLE


def test_real_incarnations_do_not_meet() -> None:
    """Two runs that start in the same second have different names."""
    assert new_incarnation("replica", SystemClock()) != new_incarnation("replica", SystemClock())
