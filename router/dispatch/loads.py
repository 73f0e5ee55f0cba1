"""What this replica tells the others of its work, and what it makes of what they say (DECISION 2.5).

What others have in flight is what they said in their last beat, and since then they are taken to have done as this
replica did. When nothing has been heard for a second, each of them is taken to have as much there as this one has.
Everything here costs in proportion to the backends that somebody has work on, not to the fleet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from router.clock import Clock
from router.dispatch.affinity import Affinity
from router.dispatch.fleet import Fleet
from router.dispatch.passive import WINDOW_S, Passive
from router.domain.live import Live
from router.domain.replica import Beat, Outcomes, Replica, Scrape
from router.resilience.health_state import Evidence

# What was heard longer ago is no longer used as it is.
STALE_S: Final = 1.0
# Others' outcomes are counts of ten seconds: they stay evidence a little longer.
OUTCOMES_STALE_S: Final = 2.0
# A scrape is in the beats of this long, so that a beat or two may be lost.
SCRAPE_TOLD_S: Final = 0.5
NOTHING: Final[Mapping[str, int]] = {}


class Busy:
    """The backends that this replica has work on; every attempt starts and ends here."""

    def __init__(self) -> None:
        self.peers = 0.0
        self.lives: dict[str, Live] = {}

    def start(self, backend: str, live: Live, *, worth_usd_per_s: float = 0.0) -> None:
        live.in_flight += 1
        live.worth_usd_per_s += worth_usd_per_s
        if live.in_flight == 1:
            live.peers = self.peers
            self.lives[backend] = live

    def end(self, backend: str, live: Live, *, worth_usd_per_s: float = 0.0) -> None:
        live.in_flight -= 1
        # Exactly nothing when nobody is left, whatever sums of fractions come to.
        left = live.worth_usd_per_s - worth_usd_per_s
        live.worth_usd_per_s = max(0.0, left) if live.in_flight > 0 else 0.0
        # A backend that was removed and came back under its name is another one.
        if live.in_flight == 0 and self.lives.get(backend) is live:
            del self.lives[backend]


class Loads:
    """The source and the sink of this replica's beats. `probes` is set by whoever probes."""

    def __init__(
        self,
        *,
        fleet: Fleet,
        busy: Busy,
        passive: Passive,
        clock: Clock,
        replica: str,
        requests_in_flight: Callable[[], int] = lambda: 0,
        affinity: Affinity | None = None,
    ) -> None:
        self._fleet = fleet
        self._busy = busy
        self._passive = passive
        self._clock = clock
        self._replica = replica
        self._requests_in_flight = requests_in_flight
        self._affinity = affinity
        self._started_at = clock.time()
        self._sent: dict[str, int] = {}
        self._sent_prefill: dict[str, int] = {}
        self._touched: set[str] = set()
        self._scrapes: dict[str, tuple[float, Scrape]] = {}
        self._others: tuple[Replica, ...] = ()
        self._heard_at = clock.monotonic()
        self._estimated = False
        self.probes = 0

    def beat(self) -> Beat:
        """What this replica says of itself now."""
        now = self._clock.monotonic()
        self._sent = {backend: live.in_flight for backend, live in self._busy.lives.items()}
        self._sent_prefill = {
            backend: int(live.prefill_tokens)
            for backend, live in self._busy.lives.items()
            if live.prefill_tokens >= 1.0
        }
        self._scrapes = {name: told for name, told in self._scrapes.items() if now - told[0] <= SCRAPE_TOLD_S}
        return Beat(
            replica=self._replica,
            fleet_version=self._fleet.version,
            started_at=self._started_at,
            requests_in_flight=self._requests_in_flight(),
            probes=self.probes,
            in_flight=self._sent,
            prefilling=self._sent_prefill,
            scraped={name: replace(said, age_s=now - at) for name, (at, said) in self._scrapes.items()},
            outcomes=self._passive.outcomes(now),
            read=self._affinity.news(now) if self._affinity is not None else (),
        )

    def heard(self, replicas: tuple[Replica, ...], now_monotonic: float) -> None:
        """Takes what all live replicas said, in answer to the beat that was made last."""
        self._others = tuple(replica for replica in replicas if replica.id != self._replica)
        self._heard_at = now_monotonic
        self._estimated = False
        totals: dict[str, int] = {}
        prefill: dict[str, int] = {}
        for replica in self._others:
            for backend, count in replica.beat.in_flight.items():
                totals[backend] = totals.get(backend, 0) + count
            for backend, tokens in replica.beat.prefilling.items():
                prefill[backend] = prefill.get(backend, 0) + tokens
        self._busy.peers = float(len(self._others))
        self._spread(totals, self._sent, prefill, self._sent_prefill)
        for replica in self._others:
            if replica.beat.scraped:
                self._take_scrapes(replica.beat.scraped, now_monotonic - replica.age_s)
        if self._affinity is not None:
            self._affinity.heard(self._others, now_monotonic)

    def refresh(self, now: float) -> None:
        """Called often: what was heard too long ago is replaced by an estimate."""
        if not self._estimated and now - self._heard_at > STALE_S:
            self._estimated = True
            self._spread(NOTHING, NOTHING, NOTHING, NOTHING)

    def scraped(self, backend: str, live: Live, *, running: float, waiting: float, kv_cache_usage: float) -> None:
        """The engine told this replica of its load; negative: it does not say."""
        now = self._clock.monotonic()
        routed = live.routed()
        live.scraped(running=running, waiting=waiting, kv_cache_usage=kv_cache_usage, routed=routed, at=now)
        self._fleet.touched(backend)
        if running >= 0.0 or kv_cache_usage >= 0.0:
            said = Scrape(age_s=0.0, running=running, waiting=waiting, kv_cache_usage=kv_cache_usage, in_flight=routed)
            self._scrapes[backend] = (now, said)

    def failing(self, now: float) -> set[str]:
        """The backends on which attempts of any replica failed lately."""
        every = [self._passive.outcomes(now), *(replica.beat.outcomes for replica in self._still_valid(now))]
        return {backend for outcomes in every for backend, seen in outcomes.items() if seen.failed}

    def evidence(self, backend: str, now: float) -> Evidence:
        """How the attempts of all replicas on a backend went lately."""
        others = self._still_valid(now)
        seen = [self._passive.outcomes(now).get(backend), *(r.beat.outcomes.get(backend) for r in others)]
        there: list[Outcomes] = [outcomes for outcomes in seen if outcomes is not None]
        failed = [outcomes for outcomes in there if outcomes.failed]
        return Evidence(
            attempts=sum(outcomes.ok + outcomes.failed for outcomes in there),
            failed=sum(outcomes.failed for outcomes in failed),
            replicas=len(failed),
            live=1 + len(others),
            window_s=WINDOW_S,
            last_error=max(failed, key=lambda outcomes: outcomes.failed).last_error if failed else "",
        )

    def _still_valid(self, now: float) -> tuple[Replica, ...]:
        return self._others if now - self._heard_at <= OUTCOMES_STALE_S else ()

    def _spread(
        self,
        others: Mapping[str, int],
        own: Mapping[str, int],
        others_prefill: Mapping[str, int],
        own_prefill: Mapping[str, int],
    ) -> None:
        """Puts what is known of others into the backends; those that nobody speaks of any more are cleared."""
        members, peers = self._fleet.members, self._busy.peers
        touched = {*others, *own}
        for backend in self._touched.union(touched, self._busy.lives):
            member = members.get(backend)
            if member is not None:
                live = member.live
                before = live.batch()
                live.others = float(others.get(backend, 0))
                live.in_flight_heard = own.get(backend, 0)
                live.others_prefill = float(others_prefill.get(backend, 0))
                live.prefill_heard = float(own_prefill.get(backend, 0))
                live.peers = peers
                if live.batch() != before:
                    self._fleet.touched(backend)
        self._touched = touched

    def _take_scrapes(self, scrapes: Mapping[str, Scrape], told_at: float) -> None:
        for backend, said in scrapes.items():
            member = self._fleet.members.get(backend)
            at = told_at - said.age_s
            # The same scrape comes in several beats, each time at a time that differs by what beats travel.
            if member is not None and at > member.live.scraped_at + STALE_S / 10.0:
                member.live.scraped(
                    running=said.running,
                    waiting=said.waiting,
                    kv_cache_usage=said.kv_cache_usage,
                    routed=said.in_flight,
                    at=at,
                )
                self._fleet.touched(backend)
