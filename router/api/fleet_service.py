"""The gRPC face of what people watch: `router.v1.FleetService`. It changes nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from router.api.admin_call import answering
from router.api.wire.fleet import encode_feed, encode_recorded, encode_replica, encode_view
from router.api.wire.token_prices import encode_line
from router.clock import Clock
from router.dispatch.overview import Look, Overview
from router.dispatch.recent import Recent
from router.dispatch.turns import in_turns
from router.domain.audit import Author
from router.domain.price_feed import FeedReport, FeedState
from router.domain.replica import Replica
from router.domain.snapshot import FleetSnapshot
from router.state.view import FleetView
from router.v1 import fleet_pb2 as pb
from router.v1 import fleet_pb2_grpc

DECISIONS = 10
BACKENDS = 100
MOST_DECISIONS = 1_000
MOST_BACKENDS = 10_000
# A replica that has not taken over a version for so long is behind.
BEHIND_S = 2.0
# Of one kind; that there are more is said.
MOST_ALARMS = 10

Feeds = Callable[[], Awaitable[tuple[FeedReport, ...]]]


class Replicas(Protocol):
    """Who lives; `router.state.peers.Peers`."""

    @property
    def replicas(self) -> tuple[Replica, ...]: ...


class _Versions:
    """Which version of the fleet this replica ran a moment ago: whoever does not have that one by now is behind."""

    def __init__(self, version: int, now: float) -> None:
        # (taken over at, version), oldest first; of those that are long enough ago one alone.
        self._taken: deque[tuple[float, int]] = deque([(now, version)])

    def took(self, version: int, now: float) -> None:
        self._taken.append((now, version))
        self._trim(now)

    def due(self, now: float) -> int:
        """What every replica should have by now; 0 when nothing is long enough ago."""
        self._trim(now)
        at, version = self._taken[0]
        return version if now - at >= BEHIND_S else 0

    def _trim(self, now: float) -> None:
        while len(self._taken) > 1 and now - self._taken[1][0] >= BEHIND_S:
            self._taken.popleft()


class FleetService(fleet_pb2_grpc.FleetServiceServicer):
    """Puts together what others keep. `notices` are further lines that an operator should read."""

    def __init__(
        self,
        *,
        replica: str,
        overview: Overview,
        recent: Recent,
        replicas: Replicas,
        view: FleetView,
        feeds: Feeds,
        in_flight: Callable[[], int],
        notices: Callable[[], Iterable[str]],
        clock: Clock,
    ) -> None:
        self._replica = replica
        self._overview = overview
        self._recent = recent
        self._replicas = replicas
        self._view = view
        self._feeds = feeds
        self._in_flight = in_flight
        self._notices = notices
        self._clock = clock
        self._versions = _Versions(view.snapshot.version, clock.monotonic())
        view.on_change(self._took)

    @answering
    async def GetOverview(self, request: pb.GetOverviewRequest, _author: Author) -> pb.GetOverviewResponse:
        now = self._clock.monotonic()
        look = await self._overview.look(min(request.backends or BACKENDS, MOST_BACKENDS), now)
        decisions = self._recent.latest(min(request.decisions or DECISIONS, MOST_DECISIONS))
        mode = self._view.mode
        return pb.GetOverviewResponse(
            replica=self._replica,
            fleet_version=self._view.snapshot.version,
            snapshot_age_s=self._view.age_s(now),
            store=mode.value,
            store_for_s=self._view.mode_age_s(now),
            in_flight=self._in_flight(),
            requests_per_s=look.requests_per_s,
            usd_per_hour=look.usd_per_hour,
            backends=[encode_view(view) async for view in in_turns(look.backends)],
            backend_count=look.backend_count,
            decisions=map(encode_recorded, decisions),
            replicas=[encode_replica(replica, own=self._replica) for replica in self._replicas.replicas],
            alarms=[*_sick(look), *self._behind(now), *await self._stale(), *self._notices()],
        )

    @answering
    async def ListReplicas(self, _request: pb.ListReplicasRequest, _author: Author) -> pb.ListReplicasResponse:
        return pb.ListReplicasResponse(
            replicas=[encode_replica(replica, own=self._replica) for replica in self._replicas.replicas],
            fleet_version=self._view.snapshot.version,
        )

    @answering
    async def ListFeeds(self, _request: pb.ListFeedsRequest, _author: Author) -> pb.ListFeedsResponse:
        return pb.ListFeedsResponse(feeds=map(encode_feed, await self._feeds()))

    @answering
    async def ListTokenPrices(self, request: pb.ListTokenPricesRequest, _author: Author) -> pb.ListTokenPricesResponse:
        now, unix = self._clock.monotonic(), self._clock.time()
        lines, count = await self._overview.prices.lines(
            backend=request.backend,
            limit=min(request.backends or BACKENDS, MOST_BACKENDS),
            history=request.history,
            now=now,
            unix=unix,
        )
        return pb.ListTokenPricesResponse(
            backends=[encode_line(line, unix_offset_s=unix - now) for line in lines],
            backend_count=count,
            replica=self._replica,
        )

    def _took(self, snapshot: FleetSnapshot) -> None:
        self._versions.took(snapshot.version, self._clock.monotonic())

    def _behind(self, now: float) -> list[str]:
        version, due = self._view.snapshot.version, self._versions.due(now)
        return bounded(
            [
                f"replica {replica.id} runs version {has}, {version - has} behind"
                for replica in self._replicas.replicas
                if (has := replica.beat.fleet_version) < due
            ]
        )

    async def _stale(self) -> list[str]:
        if not self._view.connected:
            return []  # the states of feeds are in the store, and that it is away is said already
        stale = [feed for feed in await self._feeds() if feed.state is FeedState.STALE]
        return bounded([f"price feed {feed.settings.name} is stale{_because(feed)}: prices are held" for feed in stale])


def bounded(alarms: Sequence[str]) -> list[str]:
    """The first of many alarms of a kind, and how many more there are."""
    more = len(alarms) - MOST_ALARMS
    return [*alarms[:MOST_ALARMS], *([f"... and {more} more like the last"] if more > 0 else [])]


def _sick(look: Look) -> list[str]:
    return bounded([f"{name} is ejected: {health.reason or 'no reason given'}" for name, health in look.ejected])


def _because(feed: FeedReport) -> str:
    return f" ({feed.status.last_error})" if feed.status.last_error else ""
