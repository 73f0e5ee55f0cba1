"""From what was caught to lines: the documents and states that a decision refers to come before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import msgspec

from router.decisions.capture import LEARNED, LIVE, Caught, Seen
from router.decisions.record import (
    FORMAT,
    Actual,
    Considered,
    DecisionLine,
    DocLine,
    Dropped,
    LogLine,
    StateLine,
    encode,
    tell_profile,
)
from router.domain.outcome import AttemptOutcome, Outcome
from router.domain.rows import Shape
from router.domain.snapshot import FleetSnapshot
from router.scheduling import filters
from router.state import codec
from router.state.keys import POLICIES_ID, Kind, price_id

# Results that are nobody's failure.
OK = "OK"
WELL = frozenset({OK, "CANCELLED"})


@dataclass(frozen=True, slots=True)
class Ended:
    """One decision, and how it went."""

    caught: Caught
    attempts: Sequence[AttemptOutcome]
    outcome: Outcome | None
    result: str

    def missed(self) -> bool:
        """Whether an objective was missed, by what was measured."""
        shape, outcome = self.caught.plan.shape, self.outcome
        if outcome is None:
            return False
        return outcome.ttft_s > shape.ttft_slo_s or outcome.tpot_s > shape.tpot_slo_s or outcome.e2e_s > shape.e2e_slo_s

    def kept_always(self) -> bool:
        return self.result not in WELL or self.missed()


class Lines:
    """Makes the lines of one segment after another; `begin` starts a segment."""

    def __init__(self, replica: str, *, hide: Callable[[str], str] = lambda name: name) -> None:
        self._replica = replica
        self._hide = hide
        # What the segment holds already; the values are kept, so that their identity stays theirs.
        self._states: dict[int, tuple[int, tuple[Any, ...]]] = {}
        self._docs: dict[tuple[Kind, str], object] = {}
        self._policies = ""

    def begin(self, unix: float) -> bytes:
        """The first line of a segment."""
        self._states.clear()
        self._docs.clear()
        self._policies = ""
        return encode(LogLine(format=FORMAT, replica=self._replica, began=unix)) + b"\n"

    def of(self, ended: Ended, weight: float) -> bytes:
        """The lines of one decision."""
        caught = ended.caught
        lines: list[bytes] = []
        seen = [*caught.candidates, *caught.drops]
        for one in seen:
            lines += self._documents(caught.snapshot, one.row.id)
        if caught.snapshot.policies_yaml != self._policies:
            self._policies = caught.snapshot.policies_yaml
            document = codec.PoliciesDocument(self._policies, caught.snapshot.policies_version)
            lines.append(_document(Kind.POLICIES, POLICIES_ID, document))
        for one in seen:
            if id(one.learned) not in self._states:
                self._states[id(one.learned)] = (len(self._states), one.learned)
                lines.append(encode(StateLine(n=len(self._states) - 1, learned=LEARNED.told(one.learned))))
        lines.append(encode(self._decision(ended, weight)))
        lines.append(b"")
        return b"\n".join(lines)

    def _documents(self, snapshot: FleetSnapshot, backend: str) -> Iterator[bytes]:
        """The documents of a backend that the segment does not have as they were."""
        models = {served.model for served in snapshot.backends[backend].models} if backend in snapshot.backends else ()
        found: list[tuple[Kind, str, codec.Document | None]] = [
            (Kind.BACKEND, backend, snapshot.backends.get(backend)),
            (Kind.HEALTH, backend, snapshot.health.get(backend)),
        ]
        found += [(Kind.PRICE, price_id(backend, m), snapshot.prices.get((backend, m))) for m in ("", *models)]
        for kind, name, document in found:
            if self._docs.get((kind, name)) is not document:
                self._docs[kind, name] = document
                yield _document(kind, name, document)

    def _decision(self, ended: Ended, weight: float) -> DecisionLine:
        caught = ended.caught
        plan = caught.plan
        decision, ranking = plan.decision, plan.ranking
        profile = caught.profile
        hidden = replace(
            profile,
            tenant=self._hide(profile.tenant),
            session_key=profile.session_key and self._hide(profile.session_key),
        )
        places = {id(row): at for at, row in enumerate(caught.rows)}
        order = sorted(
            range(len(caught.candidates)), key=lambda n: places.get(id(caught.candidates[n].row), len(places))
        )
        return DecisionLine(
            id=decision.id,
            at=decision.decided_at,
            clock_s=ranking.now,
            profile=tell_profile(hidden),
            workload=decision.workload_class,
            result=ended.result,
            snapshot=decision.snapshot_version,
            age_s=decision.snapshot_age_s,
            weight=weight,
            draws=caught.draws,
            candidates=[self._considered(one) for one in caught.candidates],
            order=order if order != list(range(len(order))) else [],
            more=caught.more,
            drops=[self._dropped(one) for one in caught.drops],
            drop_counts=_counts(caught),
            prefixed=bool(profile.blocks),
            cached=dict(plan.shape.cached_on),
            seed=self._hide(plan.shape.seed) if profile.blocks else "",
            lengths=_lengths(caught),
            money=plan.shape.money_multiplier,
            slo=_objectives(plan.shape),
            missed=ended.missed(),
            actual=_actual(ended),
        )

    def _considered(self, one: Seen) -> Considered:
        forecast = one.forecast
        assert forecast is not None  # noqa: S101 - a candidate has one
        return Considered(
            backend=one.row.id,
            model=one.row.model,
            state=self._states[id(one.learned)][0],
            live=LIVE.told(one.live),
            ttft_s=forecast.ttft_s,
            ttft_sd=forecast.ttft_sd,
            tpot_s=forecast.tpot_s,
            tpot_sd=forecast.tpot_sd,
            e2e_s=forecast.e2e_s,
            output_tokens=forecast.output_tokens,
            cost_usd=forecast.cost_usd,
            energy_j=forecast.energy_j,
            carbon_g=forecast.carbon_g,
            p_ttft=forecast.p_ttft,
            p_tpot=forecast.p_tpot,
            p_e2e=forecast.p_e2e,
            objective_usd=forecast.objective_usd,
            quality=one.quality,
        )

    def _dropped(self, one: Seen) -> Dropped:
        return Dropped(
            backend=one.row.id,
            model=one.row.model,
            reason=filters.REASONS[one.reason].value,
            state=self._states[id(one.learned)][0],
            live=LIVE.told(one.live),
        )


def _document(kind: Kind, name: str, document: codec.Document | None) -> bytes:
    doc = msgspec.Raw(b"null" if document is None else codec.encode(document))
    return encode(DocLine(kind=kind.value, id=name, version=document.version if document is not None else 0, doc=doc))


def _counts(caught: Caught) -> dict[str, int]:
    counts: dict[str, int] = {}
    for code in caught.drop_codes:
        reason = filters.REASONS[code].value
        counts[reason] = counts.get(reason, 0) + 1
    if caught.more_drops:
        counts["MORE"] = caught.more_drops
    return counts


def _lengths(caught: Caught) -> dict[str, tuple[float, float, float, float, float]]:
    found = {}
    for one in (*caught.candidates, *caught.drops):
        if one.forecast is not None and one.row.model not in found:
            length = one.forecast.length
            found[one.row.model] = (length.tokens, length.variance, length.p90, length.mean_log, length.sd_log)
    return found


def _objectives(shape: Shape) -> dict[str, float]:
    asked = {"ttft_s": shape.ttft_slo_s, "tpot_s": shape.tpot_slo_s, "e2e_s": shape.e2e_slo_s}
    return {name: limit for name, limit in asked.items() if limit < math.inf}


def _actual(ended: Ended) -> Actual:
    outcome = ended.outcome
    attempts = [(a.backend, a.result, a.duration_s) for a in ended.attempts]
    backend = attempts[-1][0] if attempts else ""
    if outcome is None:
        last = ended.attempts[-1] if ended.attempts and ended.result == OK else None
        return Actual(
            backend=backend,
            ttft_s=last.ttft_s if last is not None else None,
            tpot_s=last.tpot_s if last is not None else None,
            e2e_s=last.duration_s if last is not None else None,
            input_tokens=sum(a.usage.input for a in ended.attempts),
            output_tokens=sum(a.usage.output for a in ended.attempts),
            cost_usd=sum(a.cost_usd for a in ended.attempts),
            energy_j=sum(a.energy_j for a in ended.attempts),
            attempts=attempts,
        )
    return Actual(
        backend=backend,
        ttft_s=outcome.ttft_s,
        tpot_s=outcome.tpot_s or None,
        e2e_s=outcome.e2e_s,
        input_tokens=outcome.usage.input,
        cached_tokens=outcome.usage.cached_input,
        output_tokens=outcome.usage.output,
        cost_usd=outcome.cost_usd,
        energy_j=outcome.energy_j,
        attempts=attempts,
    )


def hidden(name: str) -> str:
    """A name that cannot be read back, and is the same each time."""
    return blake2b(name.encode(), digest_size=8).hexdigest()
