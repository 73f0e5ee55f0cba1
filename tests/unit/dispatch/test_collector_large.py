"""A fleet of a thousand: what probing it costs the store, and this replica's other work."""

from __future__ import annotations

import asyncio

from router.domain.fleet import HealthState
from tests.unit.dispatch.collector_site import Held, MakeSite

NAMES = [f"b{n}" for n in range(1_000)]
HEALTHY = HealthState.HEALTHY


class Counted(Held):
    """Leases that nobody knows of, and how often that was asked."""

    asked = 0

    def __getattribute__(self, name: str) -> object:
        if name == "current":
            self.asked += 1
        return super().__getattribute__(name)


async def test_the_first_round_of_a_large_fleet_is_few_writes(make_site: MakeSite) -> None:
    """A thousand backends that are found healthy together are written in groups, each backend once."""
    site = make_site(*NAMES)
    await site.go_on(1.0)
    assert {name: site.store.states(name) for name in NAMES} == {name: [HEALTHY] for name in NAMES}
    assert site.store.calls <= 6


async def test_what_cannot_be_written_is_not_looked_through_by_every_probe(make_site: MakeSite) -> None:
    """While nobody knows who has which lease, a probe costs the same however many backends wait to be written."""
    leases = Counted(set(NAMES), current=False)
    site = make_site(*NAMES, leases=leases)
    await site.go_on(1.0)
    assert sum(adapter.probes for adapter in site.adapters.values()) == len(NAMES)
    assert site.store.writes == []
    assert leases.asked <= 50 * len(NAMES)

    leases.current = True
    await site.go_on(1.0)
    assert {name: site.store.states(name) for name in NAMES} == {name: [HEALTHY] for name in NAMES}


async def test_probes_leave_the_loop_to_others(make_site: MakeSite) -> None:
    """Probes that end at once do not all run in one turn of the loop: the store would not be heard."""
    site = make_site(*NAMES)
    most = before = 0

    async def watch() -> None:
        nonlocal most, before
        while before < len(NAMES):
            await asyncio.sleep(0)
            now = sum(adapter.probes for adapter in site.adapters.values())
            most, before = max(most, now - before), now

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch())
        tasks.create_task(site.go_on())
    assert most <= 100
