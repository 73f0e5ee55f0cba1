"""What a change would have done to recent traffic: the last requests, decided again under both configurations.

Both sides use the decider that serves, over fleets of their own that share the live and learned state of the backends
that are known, with the same random draws, at the same moment: what differs is the configuration alone. Nothing is
sent. Two things are not played back: limits of requests per minute, which are as full as they are now, and the load
that moved requests would have made.

It happens beside serving, so the fleets are built in a thread, the decisions are made in slices of a few milliseconds
(in a thread as well where one of them is longer), and the work is bounded in requests and in time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from router.clock import Clock
from router.dispatch.decider import Decider
from router.dispatch.fleet import Fleet
from router.dispatch.recent import Recent
from router.dispatch.supposed import supposed
from router.domain.fleet import Backend
from router.domain.policies import Policies
from router.domain.request import RequestProfile
from router.domain.snapshot import FleetSnapshot
from router.errors import RouterError
from router.prediction.output_length import OutputLength
from router.scheduling.picker import likelihood

MAX_REQUESTS = 300
SLICE_S = 0.002
MAX_WORK_S = 1.0
# Backends beyond which the first decision is not tried out on the event loop.
LARGE_FLEET = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendShare:
    """What one backend had, and would have, of the requests that were looked at."""

    backend: str
    requests_before: int = 0
    requests_after: int = 0
    cost_usd_before: float = 0.0
    cost_usd_after: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Sums and means over `requests`, as predicted. Means of TTFT are over what could be served.

    `moved` would go to another backend. A request that nobody can serve meets no objective.
    """

    requests: int = 0
    moved: int = 0
    unserved_before: int = 0
    unserved_after: int = 0
    cost_usd_before: float = 0.0
    cost_usd_after: float = 0.0
    mean_ttft_s_before: float = 0.0
    mean_ttft_s_after: float = 0.0
    slo_attainment_before: float = 0.0
    slo_attainment_after: float = 0.0
    backends: tuple[BackendShare, ...] = ()


class Effects:
    """Plays recent requests against configurations that do not hold."""

    def __init__(self, *, recent: Recent, fleet: Fleet, lengths: OutputLength, clock: Clock) -> None:
        self._recent = recent
        self._fleet = fleet
        self._lengths = lengths
        self._clock = clock

    async def of(
        self,
        before: FleetSnapshot,
        after: FleetSnapshot,
        *,
        policies: Policies | None = None,
        usable: Callable[[Backend], bool] = lambda _: True,
        limit: int = MAX_REQUESTS,
    ) -> Effect:
        """Compares two snapshots.

        Args:
            before: what holds now.
            after: what is proposed.
            policies: those of `after`; None: the same as now.
            usable: whether this router has what a backend needs that is new or reached in another way.
            limit: the most requests to look at.
        """
        profiles = self._sample(limit)
        if not profiles:
            return Effect()
        now = self._fleet.policies
        sides = await asyncio.to_thread(
            lambda: tuple(
                _Side(supposed(self._fleet, snapshot, held, self._clock, usable), self._lengths, self._clock)
                for snapshot, held in ((before, now), (after, policies or now))
            )
        )
        return await self._play(profiles, *sides)

    async def _play(self, profiles: list[RequestProfile], before: _Side, after: _Side) -> Effect:
        """Decides in slices, each followed by a pause as long as itself: serving comes first."""

        def both(profile: RequestProfile, draw: float) -> bool:
            was, would = before.decide(profile, draw), after.decide(profile, draw)
            return bool(was and would and was != would)

        rng = random.Random(0)
        moved, seen, worked_s = 0, 0, 0.0
        slow = len(self._fleet.members) > LARGE_FLEET
        slice_began = self._clock.monotonic()
        for profile in profiles:
            draw, began = rng.random(), self._clock.monotonic()
            # Where one decision is longer than a slice, only a thread gives the others their turn.
            moved += await asyncio.to_thread(both, profile, draw) if slow else both(profile, draw)
            seen += 1
            now = self._clock.monotonic()
            slow = now - began > SLICE_S
            if now - slice_began < SLICE_S:
                continue
            worked_s += now - slice_began
            if worked_s >= MAX_WORK_S:
                break
            await asyncio.sleep(now - slice_began)
            slice_began = self._clock.monotonic()
        return _sum_up(seen, moved, before, after)

    def _sample(self, limit: int) -> list[RequestProfile]:
        """Requests spread evenly over the ring, in an order of which every beginning is spread as well."""
        recorded = self._recent.latest()
        count = min(limit, len(recorded))
        chosen = [recorded[n * len(recorded) // count] for n in range(count)]
        random.Random(1).shuffle(chosen)
        return [replace(one.profile, explain=False) for one in chosen]


class _Side:
    """The decisions under one configuration, summed up."""

    def __init__(self, fleet: Fleet, lengths: OutputLength, clock: Clock) -> None:
        self._clock = clock
        self._draw = 0.0
        self._decider = Decider(fleet=fleet, lengths=lengths, clock=clock, uniform=lambda: self._draw, age=lambda: 0.0)
        self.shares: dict[str, tuple[int, float]] = {}
        self.served = 0
        self.ttft_s = 0.0
        self.attainment = 0.0

    def decide(self, profile: RequestProfile, draw: float) -> str:
        """Who would serve the request; "" for nobody."""
        self._draw = draw
        if profile.deadline_s is not None:
            profile = replace(profile, deadline_s=self._clock.monotonic() + profile.deadline_s)
        try:
            ranking = self._decider.plan(profile).ranking
        except RouterError:
            return ""
        if not ranking.ordered or (ranking.slo_infeasible and profile.slo.reject_infeasible):
            return ""
        best = ranking.ordered[0]
        count, cost = self.shares.get(best.row.id, (0, 0.0))
        self.shares[best.row.id] = (count + 1, cost + best.cost_usd)
        self.served += 1
        self.ttft_s += best.ttft_s
        self.attainment += likelihood(best)
        return best.row.id

    @property
    def cost_usd(self) -> float:
        return sum(cost for _, cost in self.shares.values())

    @property
    def mean_ttft_s(self) -> float:
        return self.ttft_s / self.served if self.served else 0.0


def _sum_up(requests: int, moved: int, before: _Side, after: _Side) -> Effect:
    names = dict.fromkeys([*before.shares, *after.shares])
    shares = []
    for name in names:
        (had, cost), (has, costs) = before.shares.get(name, (0, 0.0)), after.shares.get(name, (0, 0.0))
        shares.append(
            BackendShare(
                backend=name, requests_before=had, requests_after=has, cost_usd_before=cost, cost_usd_after=costs
            )
        )
    return Effect(
        requests=requests,
        moved=moved,
        unserved_before=requests - before.served,
        unserved_after=requests - after.served,
        cost_usd_before=before.cost_usd,
        cost_usd_after=after.cost_usd,
        mean_ttft_s_before=before.mean_ttft_s,
        mean_ttft_s_after=after.mean_ttft_s,
        slo_attainment_before=before.attainment / requests,
        slo_attainment_after=after.attainment / requests,
        backends=tuple(
            sorted(shares, key=lambda share: (-share.requests_before - share.requests_after, share.backend))
        ),
    )
