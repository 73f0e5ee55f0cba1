"""The gRPC face of what people watch: `router.v1.FleetService`. It changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from router.api.admin_call import answering
from router.api.wire.fleet import encode_feed, encode_recorded, encode_replica, encode_view
from router.clock import Clock
from router.dispatch.overview import BackendView, Overview
from router.dispatch.recent import Recent
from router.domain.audit import Author
from router.domain.fleet import HealthState
from router.domain.price_feed import FeedReport
from router.domain.replica import Replica
from router.state.view import FleetView
from router.v1 import fleet_pb2 as pb
from router.v1 import fleet_pb2_grpc

DECISIONS = 10
BACKENDS = 100
MOST_DECISIONS = 1_000
MOST_BACKENDS = 10_000
# A replica that has not taken over a version for so long is behind.
BEHIND_S = 2.0

Feeds = Callable[[], Awaitable[tuple[FeedReport, ...]]]


class Replicas(Protocol):
    """Who lives; `router.state.peers.Peers`."""

    @property
    def replicas(self) -> tuple[Replica, ...]: ...


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

    @answering
    async def GetOverview(self, request: pb.GetOverviewRequest, _author: Author) -> pb.GetOverviewResponse:
        now = self._clock.monotonic()
        views = self._overview.busiest(min(request.backends or BACKENDS, MOST_BACKENDS), now)
        requests_per_s, usd_per_hour = self._overview.totals(now)
        decisions = self._recent.latest(min(request.decisions or DECISIONS, MOST_DECISIONS))
        mode = self._view.mode
        return pb.GetOverviewResponse(
            replica=self._replica,
            fleet_version=self._view.snapshot.version,
            snapshot_age_s=self._view.age_s(now),
            store=mode.value,
            store_for_s=self._view.mode_age_s(now),
            in_flight=self._in_flight(),
            requests_per_s=requests_per_s,
            usd_per_hour=usd_per_hour,
            backends=map(encode_view, views),
            backend_count=self._overview.backend_count,
            decisions=map(encode_recorded, decisions),
            replicas=[encode_replica(replica, own=self._replica) for replica in self._replicas.replicas],
            alarms=[*self._sick(views), *self._behind(), *self._notices()],
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

    @staticmethod
    def _sick(views: Iterable[BackendView]) -> Iterable[str]:
        for view in views:
            if view.health.state is HealthState.EJECTED:
                yield f"{view.backend.id} is ejected: {view.health.reason or 'no reason given'}"

    def _behind(self) -> Iterable[str]:
        version = self._view.snapshot.version
        for replica in self._replicas.replicas:
            behind = version - replica.beat.fleet_version
            if behind > 0 and replica.age_s > BEHIND_S:
                yield f"replica {replica.id} runs version {replica.beat.fleet_version}, {behind} behind"
