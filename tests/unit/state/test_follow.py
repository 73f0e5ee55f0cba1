"""A replica that follows a store which is always ahead of it."""

from __future__ import annotations

import asyncio
from typing import Any

from router.clock import FakeClock
from router.domain.fleet import Change, Health, HealthState
from router.domain.snapshot import FleetSnapshot
from router.state.codec import Entry
from router.state.contract import News
from router.state.fold import Held, whole
from router.state.sync import FleetSync
from router.state.view import FleetView


def entry(version: int, *, more: bool) -> Entry:
    change = Change(fleet_version=version, kind="health", id=f"b{version}", operation="set", version=1, at=1.0)
    return Entry(change=change, document=Health(state=HealthState.HEALTHY, version=1), more=more)


def test_whole_changes_end_where_no_more_follows() -> None:
    """What comes after the last end of a change waits for the rest of it."""
    entries = [entry(n, more=more) for n, more in enumerate((False, True, False, True, True))]
    assert [whole(entries[:count]) for count in range(6)] == [0, 1, 1, 3, 3, 3]
    assert whole(entries[3:]) == 0


class Ahead:
    """A store whose every answer ends in the middle of a change: it has always more than one answer holds."""

    seen_version = 0

    async def load(self, _last_good: Held | None = None) -> Held:
        return Held(snapshot=FleetSnapshot(version=0))

    async def rebuilding(self) -> bool:
        return False

    async def news(self, *, after: int, **_: Any) -> News:
        await asyncio.sleep(0)
        return News(
            entries=(entry(after + 1, more=bool(after)), entry(after + 2, more=False), entry(after + 3, more=True))
        )


async def test_who_is_never_at_the_end_sees_what_is_whole() -> None:
    """Otherwise a replica behind a busy fleet would stand still until the fleet rests."""
    store: Any = Ahead()
    view = FleetView()
    following = asyncio.create_task(FleetSync(store, view, clock=FakeClock(), replica_id="r").run())
    try:
        assert await view.wait_version(20, timeout_s=5.0)
        assert "b20" in view.snapshot.health
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
