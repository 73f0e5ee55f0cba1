"""Fleets that are only supposed: for deciding under another configuration or another state. Nothing is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from backends.contract import Backend as Adapter
from backends.scripted import ScriptedBackend
from router.clock import Clock
from router.dispatch.fleet import Fleet, Member, adapter_spec
from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend
from router.domain.live import Live
from router.domain.policies import DispatchPolicy, Policies
from router.domain.quality import Quality
from router.domain.snapshot import FleetSnapshot
from router.domain.wires import Wires
from router.resilience.breaker import Breaker
from router.resilience.rate_limit import RateLimit

Usable = Callable[[Backend], bool]


class SupposedFleet(Fleet):
    """The fleet as a snapshot would make it, over what is known of the real one, if there is one."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        policies: Policies,
        clock: Clock,
        wires: Wires | None = None,
        real: Fleet | None = None,
        usable: Usable = lambda _: True,
    ) -> None:
        super().__init__(
            catalogue=catalogue, build_adapter=ScriptedBackend, clock=clock, policies=policies, wires=wires
        )
        self._real = real
        self._usable = usable

    def quality(self, model: str) -> Quality:
        return self._real.quality(model) if self._real is not None else super().quality(model)

    def _member(self, backend: Backend) -> Member:
        if self._real is not None:
            for served in backend.models:
                row = self._real.row(backend.id, served.model)
                if row is not None:
                    self._learned[backend.id, served.model] = row.learned
        member = self._shared(backend) or self._new(backend)
        self.members[backend.id] = member
        return member

    def _shared(self, backend: Backend) -> Member | None:
        known = (self._real or self).members.get(backend.id)
        if known is None:
            return None
        adapter = known.adapter
        if adapter_spec(known.backend) != adapter_spec(backend):
            adapter = self._stand_in(backend)
        # The circuit and the limits write to the live state when they are made, so they are shared as well.
        return replace(known, backend=backend, adapter=adapter)

    def _new(self, backend: Backend) -> Member:
        live = Live()
        policy: DispatchPolicy = self.policies.dispatch
        breaker = Breaker(
            live, open_after=policy.open_after_failures, open_base_s=policy.open_base_s, open_max_s=policy.open_max_s
        )
        limits = RateLimit(
            live,
            requests_per_minute=backend.requests_per_minute,
            tokens_per_minute=backend.tokens_per_minute,
            now=self._clock.monotonic(),
        )
        adapter = self._stand_in(backend)
        return Member(backend=backend, adapter=adapter, live=live, breaker=breaker, rate_limit=limits)

    def _stand_in(self, backend: Backend) -> Adapter | None:
        return ScriptedBackend(replace(adapter_spec(backend), options={})) if self._usable(backend) else None


def supposed(real: Fleet, snapshot: FleetSnapshot, policies: Policies, clock: Clock, usable: Usable) -> Fleet:
    """`real` as `snapshot` and `policies` would make it."""
    fleet = SupposedFleet(
        catalogue=real.catalogue, policies=policies, clock=clock, wires=real.wires, real=real, usable=usable
    )
    fleet.apply(snapshot)
    return fleet
