"""What the snapshot means for this process: rows to decide over, adapters to send through, live state to count in.

When a snapshot is swapped only what differs from the one before is looked at, by the identity of its documents: one
change in a fleet of thousands costs next to nothing. A row whose facts did not change is the same object as before, and
the live and learned state of a backend outlives any change of its price or health.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import structlog

from backends.auth import MissingCredential
from backends.contract import Backend as Adapter
from backends.spec import BackendSpec
from router.clock import Clock
from router.dispatch.offers import families, refused, unread
from router.dispatch.prices import PricesInForce
from router.domain.catalogue import Catalogue
from router.domain.decision import Drop, DropReason, HardwareLabel, label
from router.domain.fleet import Backend, Health, HealthState, ServedModel
from router.domain.guessing import guessed
from router.domain.hardware import Hardware, Model
from router.domain.learned import Learned
from router.domain.live import NEVER, Live
from router.domain.policies import DispatchPolicy, Policies
from router.domain.pricing import Price
from router.domain.quality import Quality
from router.domain.rows import EVERYTHING, Row
from router.domain.sites import Grids
from router.domain.snapshot import FleetSnapshot
from router.domain.wires import Wires
from router.errors import UnknownModel
from router.prediction.beginning import beginning
from router.prediction.physics import served_speed
from router.resilience.breaker import Breaker
from router.resilience.rate_limit import RateLimit
from router.scheduling.objective import Weights

log = structlog.get_logger(__name__)
K = TypeVar("K", bound=Hashable)
BuildAdapter = Callable[[BackendSpec], Adapter]
# What a backend kept is gone: of one model, or of all (None).
Forgotten = Callable[[str, str | None], None]
UNKNOWN_HEALTH = Health()
# Whoever comes back from these is not taken to remember anything.
STARTS_ANEW = frozenset({HealthState.EJECTED, HealthState.WARMING})


@dataclass(slots=True)
class Member:
    """One backend of the fleet, as this replica works with it."""

    backend: Backend
    adapter: Adapter | None
    live: Live
    breaker: Breaker
    rate_limit: RateLimit


class Fleet:
    """Reads are plain attribute look-ups; `apply` is called by the sync task, and by the collector for prices."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        build_adapter: BuildAdapter,
        clock: Clock,
        policies: Policies,
        wires: Wires | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.wires = wires
        self.policies = policies
        self.weights = _weights(policies)
        self.version = 0
        self.members: dict[str, Member] = {}
        self.removed: list[Adapter] = []
        # Who keeps something made of rows is told here of the backends that have changed since it looked.
        self.watched_by: list[set[str]] = []
        self._build_adapter = build_adapter
        self._clock = clock
        self._applied = FleetSnapshot()
        self._prices = PricesInForce()
        self._learned: dict[tuple[str, str], Learned] = {}
        # By model: whoever serves it, its answers are as good.
        self._quality: dict[str, Quality] = {}
        self._rows: dict[tuple[str, str], Row] = {}
        self._sources: dict[tuple[str, str], tuple[object, ...]] = {}
        # By model, then by backend.
        self._by_model: dict[str, dict[str, Row]] = {}
        self._by_name: dict[str, list[Row]] = {}
        self._families = families(wires or {})
        self._grids = Grids(catalogue.places)
        self._forgotten: Forgotten | None = None

    @property
    def snapshot(self) -> FleetSnapshot:
        """What was applied last."""
        return self._applied

    @property
    def prices_change_at(self) -> float:
        """Unix time at which the next price begins or ends to hold; the snapshot is to be applied again then."""
        return self._prices.change_at

    def beliefs(self) -> list[Learned]:
        """What was learnt of every backend with each of its models."""
        return list(self._learned.values())

    def apply(self, snapshot: FleetSnapshot) -> None:
        """Takes over a new snapshot, or the same one when the time of a price has come."""
        before, now = self._applied, self._clock.time()
        touched = changed_keys(before.backends, snapshot.backends)
        touched += changed_keys(before.health, snapshot.health)
        touched += self._prices.turn(changed_keys(before.prices, snapshot.prices), snapshot.prices, now)
        for backend_id in dict.fromkeys(touched):
            backend = snapshot.backends.get(backend_id)
            if backend is None:
                self._retire(backend_id)
            else:
                self._take(snapshot, backend, now)
        self._prices.settle()
        self._applied = snapshot
        self.version = snapshot.version

    def on_forgotten(self, forgotten: Forgotten) -> None:
        """Calls `forgotten` when a backend no longer serves a model, has moved, or starts anew."""
        self._forgotten = forgotten

    def _lost(self, backend_id: str, model: str | None = None) -> None:
        if self._forgotten is not None:
            self._forgotten(backend_id, model)

    def use_policies(self, policies: Policies) -> None:
        """Takes over new policies."""
        self.weights = _weights(policies)
        self.policies = policies
        for member in self.members.values():
            member.breaker.open_after = policies.dispatch.open_after_failures
            member.breaker.open_base_s = policies.dispatch.open_base_s
            member.breaker.open_max_s = policies.dispatch.open_max_s

    def touched(self, backend_id: str) -> None:
        """Tells that the load, the health or what is believed of a backend has changed."""
        for changed in self.watched_by:
            changed.add(backend_id)

    def rows_for(self, name: str) -> list[Row]:
        """Every row that serves what a caller calls `name`: the same list until the fleet changes.

        Raises:
            UnknownModel: neither the catalogue nor the fleet knows the name.
        """
        rows = self._by_name.get(name)
        if rows is not None:
            return rows
        known = self.catalogue
        models = known.resolve(name)
        rows = [row for model in models for row in self._by_model.get(model, {}).values()]
        if not rows and name not in known.models and name not in known.aliases and name not in known.classes:
            raise UnknownModel(f"no model, alias or class is called '{name}'")
        # Names that resolve are bounded by catalogue and fleet, so this cache is too.
        self._by_name[name] = rows
        return rows

    def not_serving(self, name: str) -> tuple[Drop, ...]:
        """The backends that do not serve `name`, as drops."""
        serving = {row.id for row in self.rows_for(name)}
        return tuple(
            Drop(
                backend=member.backend.id,
                reason=DropReason.MODEL,
                detail=f"does not serve {name}; serves {', '.join(m.model for m in member.backend.models)}",
                hardware=self.label(member.backend),
            )
            for member in self.members.values()
            if member.backend.id not in serving
        )

    def row(self, backend: str, model: str) -> Row | None:
        return self._rows.get((backend, model))

    def label(self, backend: Backend) -> HardwareLabel:
        """How the hardware of a backend is shown."""
        return label(backend, self._hardware(backend))

    def served(self) -> dict[str, list[Row]]:
        """Rows by model."""
        return {model: list(rows.values()) for model, rows in self._by_model.items()}

    def keep_grids(self, unix: float) -> None:
        """Sets how dirty each region's electricity is to the hour."""
        self._grids.keep(unix)

    def quality(self, model: str) -> Quality:
        """What is believed of the answers of a model of this fleet."""
        known = self._quality.get(model)
        if known is None:
            facts = self.catalogue.models.get(model)
            known = self._quality[model] = Quality(facts.quality if facts is not None else ())
        return known

    def _take(self, snapshot: FleetSnapshot, backend: Backend, now: float) -> None:
        """Makes the rows of one backend anew, where anything in them has changed."""
        old = self.members.get(backend.id)
        if old is not None and old.backend is not backend:
            for model in {served.model for served in old.backend.models} - {served.model for served in backend.models}:
                self._forget(backend.id, model)
        member = self._member(backend)
        health = snapshot.health.get(backend.id, UNKNOWN_HEALTH)
        if health.state in STARTS_ANEW:
            self._lost(backend.id)
        for served in backend.models:
            key = (backend.id, served.model)
            price = self._prices.of(snapshot.prices, backend.id, served.model, now)
            row = self._row(member, served, price, health)
            if self._rows.get(key) is not row:
                self._rows[key] = row
                self._by_model.setdefault(served.model, {})[backend.id] = row
                self._by_name.clear()

    def _forget(self, backend_id: str, model: str) -> None:
        key = (backend_id, model)
        del self._rows[key], self._sources[key], self._learned[key]
        self._lost(backend_id, model)
        rows = self._by_model[model]
        del rows[backend_id]
        if not rows:
            del self._by_model[model]
        self._by_name.clear()

    def _member(self, backend: Backend) -> Member:
        old = self.members.get(backend.id)
        if old is not None and old.backend is backend:
            return old
        spec = adapter_spec(backend)
        policy: DispatchPolicy = self.policies.dispatch
        if old is not None and adapter_spec(old.backend) == spec:
            old.backend = backend
            old.rate_limit = self._rate_limit(old.live, backend)
            return old
        live = old.live if old is not None else Live()
        if old is None and self._applied.backends:
            # It joins others that are at work, so nothing depends on it at once.
            live.joined_at = self._clock.monotonic()
        # Another address or credential is another account: what its vendor said of its limits is of the former one.
        live.requests_left_until = live.tokens_left_until = NEVER
        live.unusable_reason = ""
        adapter = None
        try:
            adapter = self._build_adapter(spec)
        except (MissingCredential, ValueError) as error:
            live.unusable_reason = str(error)
            log.warning("backend_unusable", backend=backend.id, reason=str(error))
        if old is not None and old.adapter is not None:
            self.removed.append(old.adapter)
            self._lost(backend.id)
        member = Member(
            backend=backend,
            adapter=adapter,
            live=live,
            breaker=Breaker(
                live,
                open_after=policy.open_after_failures,
                open_base_s=policy.open_base_s,
                open_max_s=policy.open_max_s,
            ),
            rate_limit=self._rate_limit(live, backend),
        )
        self.members[backend.id] = member
        return member

    def _rate_limit(self, live: Live, backend: Backend) -> RateLimit:
        return RateLimit(
            live,
            requests_per_minute=backend.requests_per_minute,
            tokens_per_minute=backend.tokens_per_minute,
            now=self._clock.monotonic(),
        )

    def _retire(self, backend_id: str) -> None:
        member = self.members.pop(backend_id, None)
        if member is None:
            return  # of health or a price that outlived its backend
        for changed in self.watched_by:
            changed.discard(backend_id)
        for model in {served.model for served in member.backend.models}:
            self._forget(backend_id, model)
        if member.adapter is not None:
            self.removed.append(member.adapter)

    def _row(self, member: Member, served: ServedModel, price: Price | None, health: Health) -> Row:
        backend = member.backend
        key = (backend.id, served.model)
        source = (backend, price, health, member.adapter)
        old = self._sources.get(key)
        if old is not None and all(a is b for a, b in zip(old, source, strict=True)):
            return self._rows[key]
        hardware = self._hardware(backend)
        model = self.catalogue.models.get(served.model)
        known = model or guessed(served.model) or Model(id=served.model)
        learned = self._learned.get(key)
        if learned is None or (old is not None and _engine(old[0], served.model) != _engine(backend, served.model)):
            learned = self._learned[key] = beginning(known, hardware, backend.profile)
        context = served.context_tokens or (model.context_tokens if model is not None else 0)
        self._sources[key] = source
        if old is not None and old[0] is backend:
            pace = self._rows[key].speed
        else:
            pace = served_speed(known, hardware, backend, served)
        site, grid = self._grids.of(backend.id, backend.region, self._clock.time())
        return Row(
            at_the_wall=site.at_the_wall,
            grid=grid,
            backend=backend,
            model=served.model,
            upstream_model=served.name_upstream,
            context_tokens=context,
            catalogue_model=model,
            hardware=hardware,
            speed=pace,
            price=price,
            health=health,
            usable=member.adapter is not None,
            live=member.live,
            learned=learned,
            quality=self.quality(served.model),
            family=self._families.get((backend.wire, backend.profile), EVERYTHING)
            & ~(unread(model) | refused(backend)),
        )

    def _hardware(self, backend: Backend) -> Hardware:
        known = self.catalogue.hardware.get(backend.hardware)
        return known or Hardware(id=backend.hardware, name=backend.hardware, kind="hosted", prior_sd_log=0.5)


def _weights(policies: Policies) -> dict[str, Weights]:
    usual = policies.classes.get(policies.default_class)
    worth = usual.usd_per_slowed_s if usual is not None else None
    return {name: Weights(w, usual_usd_per_slowed_s=worth) for name, w in policies.classes.items()}


def changed_keys(before: Mapping[K, object], after: Mapping[K, object]) -> list[K]:
    """The keys of which one has another object than the other, or none."""
    if before is after:
        return []
    changed = [key for key, document in after.items() if before.get(key) is not document]
    if changed or len(after) != len(before):
        changed += [key for key in before if key not in after]
    return changed


def _engine(backend: object, model: str) -> tuple[object, ...]:
    """What a belief about speed is a belief about: another engine, its options or its hardware make it worthless."""
    if not isinstance(backend, Backend):
        return ()
    served = [one for one in backend.models if one.model == model]
    place = (backend.wire, backend.profile, backend.address, backend.options)
    return (*place, backend.hardware, backend.hardware_count, *served)


def adapter_spec(backend: Backend) -> BackendSpec:
    """The adapter's share of a registered backend."""
    return BackendSpec(
        id=backend.id,
        wire=backend.wire,
        base_url=backend.address,
        profile=backend.profile,
        credential=backend.credential,
        options=dict(backend.options),
    )
