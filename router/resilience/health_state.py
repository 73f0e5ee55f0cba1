"""The health of one backend as a state machine: what the probes and the attempts of all replicas make of it.

A backend falls by failed probes, or when a share of its attempts that is surely too high fails, and comes back by
successes only. Every fall from service adds to a penalty that fades; the greater the penalty, the longer until it is
healthy again: meanwhile it is suspect and gets little. So a backend that comes and goes is in use less and less.

Circuits (`breaker.py`) are each replica's own and act within a few requests. This is slower and for all: what it takes
out, no circuit tries. It does not eject for the failures of one replica among several: those are that one's circuit's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from router.domain.fleet import Health, HealthState

DRAINED = "drained by an operator"
WELL = "probes succeed"
NOT_PROBED = "not probed yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRules:
    """Shares are of attempts, and count when they are surely reached (lower end of Wilson's 90 % interval).

    Attributes:
        eject_after_probes, recover_after_probes: in a row.
        suspect_share, suspect_attempts: a greater share of at least so many attempts makes it suspect.
        eject_share, eject_attempts: likewise ejected.
        clear_share: at most so many still fail when it stops being suspect.
        hold_first_s, hold_max_s: from a fall to healthy again, doubled with each fall.
        penalty_half_life_s: how fast falls are forgotten.
        lag_s: how late others' attempts are known.
    """

    eject_after_probes: int = 3
    recover_after_probes: int = 2
    suspect_share: float = 0.2
    suspect_attempts: int = 5
    eject_share: float = 0.5
    eject_attempts: int = 10
    clear_share: float = 0.1
    hold_first_s: float = 5.0
    hold_max_s: float = 300.0
    penalty_half_life_s: float = 300.0
    lag_s: float = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Attempts of the last `window_s` on one backend; `replicas` of `live` had failures."""

    attempts: int = 0
    failed: int = 0
    replicas: int = 0
    live: int = 1
    window_s: float = 10.0
    last_error: str = ""

    @property
    def share(self) -> float:
        return self.failed / self.attempts if self.attempts else 0.0

    def surely_above(self, share: float, attempts: int) -> bool:
        """Whether so many were made, and the share that fails is above `share` and not only by chance."""
        n = self.attempts
        if n < max(1, attempts):
            return False
        z2 = 1.645 * 1.645
        p = self.failed / n
        lower = (p + z2 / (2 * n) - math.sqrt(z2 * (p * (1.0 - p) / n + z2 / (4 * n * n)))) / (1.0 + z2 / n)
        return lower > share

    def __str__(self) -> str:
        where = f" on {self.replicas} replica{'s' if self.replicas > 1 else ''}" if self.replicas else ""
        last = f", last: {self.last_error}" if self.last_error else ""
        return f"{self.failed} of {self.attempts} attempts of the last {self.window_s:g} s failed{where}{last}"


class HealthMachine:
    """One backend. Times are Unix seconds of the clock that all replicas share, and may go back a little."""

    __slots__ = (
        "_by_attempts",
        "_core",
        "_deaf_until",
        "_drained",
        "_failed",
        "_fell_at",
        "_held_until",
        "_penalty",
        "_recent",
        "_recovering",
        "_shown",
        "_succeeded",
        "rules",
    )

    def __init__(self, rules: HealthRules) -> None:
        self.rules = rules
        self._core = Health(reason=NOT_PROBED)
        self._shown = self._core
        self._drained = False
        self._failed = 0
        self._succeeded = 0
        self._penalty = 0.0
        self._fell_at = -math.inf
        self._held_until = -math.inf
        # It is, or comes from, ejected and has not been healthy since.
        self._recovering = False
        self._by_attempts = False
        # Attempts counted until then were made before it was taken out.
        self._deaf_until = -math.inf
        self._recent = Evidence()

    @property
    def health(self) -> Health:
        """State, reason, since and evidence; `version` is of no meaning here."""
        return self._shown

    @property
    def state(self) -> HealthState:
        return self._shown.state

    @property
    def taken_out(self) -> bool:
        """Ejected, whether or not it is drained too."""
        return self._core.state is HealthState.EJECTED

    @property
    def held_until(self) -> float:
        """It is not healthy again before."""
        return self._held_until

    def drained(self, now: float, *, drained: bool) -> None:
        """An operator drains it, or takes that back."""
        if drained is not self._drained:
            self._drained = drained
            self._show(now)

    def probe_succeeded(self, now: float, by: str) -> None:
        """It is alive and ready."""
        self._failed = 0
        self._succeeded += 1
        state = self._core.state
        if state is HealthState.SUSPECT:
            self._clear(now, by)
        elif state is not HealthState.HEALTHY and (not self._recovering or self._recovered(now)):
            self._readmit(now, by)

    def probe_warming(self, now: float, by: str, reason: str) -> None:
        """It is alive and loading."""
        self._failed = 0
        self._succeeded = 0
        if self._core.state is not HealthState.WARMING:
            self._enter(HealthState.WARMING, now, reason or "it is loading", f"a probe of {by} found it loading")

    def probe_failed(self, now: float, by: str, reason: str) -> None:
        """It does not answer, or says that it cannot serve."""
        self._failed += 1
        self._succeeded = 0
        if self._failed >= self.rules.eject_after_probes and not self.taken_out:
            count = f"{self._failed} probe{'s' if self._failed > 1 else ''}"
            self._by_attempts = False
            self._enter(HealthState.EJECTED, now, reason, f"{count} of {by} failed: {reason}")

    def attempts(self, now: float, evidence: Evidence) -> None:
        """How the attempts of all replicas went."""
        state = self._core.state
        if state in {HealthState.EJECTED, HealthState.WARMING} or now < self._deaf_until:
            return
        self._recent = evidence
        rules = self.rules
        alone_or_agreed = evidence.replicas >= 2 or evidence.live <= 1
        if alone_or_agreed and evidence.surely_above(rules.eject_share, rules.eject_attempts):
            self._by_attempts = True
            self._enter(HealthState.EJECTED, now, "most attempts fail", str(evidence))
        elif state is not HealthState.SUSPECT and evidence.surely_above(rules.suspect_share, rules.suspect_attempts):
            self._enter(HealthState.SUSPECT, now, "attempts fail", str(evidence))

    def adopt(self, now: float, agreed: Health) -> None:
        """Another replica, whose word counts, has seen a change."""
        if agreed.state in {HealthState.DRAINING, self._core.state}:
            return
        self._failed = self._succeeded = 0
        self._by_attempts = False
        self._recent = Evidence()
        self._enter(agreed.state, agreed.since or now, agreed.reason, agreed.evidence)

    def _recovered(self, now: float) -> bool:
        enough = self._succeeded >= self.rules.recover_after_probes
        # That it answers probes is no news of one that was taken out for its answers to requests.
        return enough and (not self._by_attempts or now >= self._deaf_until)

    def _readmit(self, now: float, by: str) -> None:
        proof = f"{self._succeeded} probe{'s' if self._succeeded > 1 else ''} of {by} succeeded"
        if self._by_attempts:
            # Probes did not see what was wrong with it; a little traffic will.
            self._held_until = max(self._held_until, now + self._hold_s())
        if now < self._held_until:
            reason = f"fell lately, held back for {self._held_until - now:.0f} s"
            self._enter(HealthState.SUSPECT, now, reason, proof)
        else:
            self._enter(HealthState.HEALTHY, now, WELL, proof)

    def _clear(self, now: float, by: str) -> None:
        if now >= self._held_until and self._recent.share <= self.rules.clear_share:
            proof = f"a probe of {by} succeeded"
            if self._recent.attempts:
                proof += f"; {self._recent}"
            self._enter(HealthState.HEALTHY, now, WELL, proof)

    def _enter(self, state: HealthState, now: float, reason: str, evidence: str) -> None:
        before = self._core.state
        in_service = before is HealthState.HEALTHY or (before is HealthState.SUSPECT and self._recovering)
        if state is HealthState.HEALTHY:
            self._recovering = self._by_attempts = False
        elif in_service and state is not HealthState.UNKNOWN:
            self._fall(now)
        if state is HealthState.EJECTED:
            self._recovering = True
            self._succeeded = 0
            if self._penalty > 0.0:
                self._held_until = max(self._held_until, now + self._hold_s())
            self._deaf_until = now + self._recent.window_s + self.rules.lag_s
            self._recent = Evidence()
        self._core = Health(state=state, reason=reason, since=now, evidence=evidence)
        self._show(now)

    def _show(self, now: float) -> None:
        if not self._drained:
            since = now if self._shown.state is HealthState.DRAINING else self._core.since
            core = self._core
            self._shown = Health(state=core.state, reason=core.reason, since=since, evidence=core.evidence)
        elif self._shown.state is not HealthState.DRAINING:
            self._shown = Health(state=HealthState.DRAINING, reason=DRAINED, since=now, evidence="")

    def _fall(self, now: float) -> None:
        rules = self.rules
        elapsed_s = max(0.0, now - self._fell_at)
        faded = self._penalty * math.exp2(-elapsed_s / rules.penalty_half_life_s)
        # Beyond the longest hold there is nothing to count.
        most = 2.0 + math.log2(rules.hold_max_s / rules.hold_first_s)
        self._penalty = min(most, faded + 1.0)
        self._fell_at = now
        self._held_until = max(self._held_until, now + self._hold_s())

    def _hold_s(self) -> float:
        rules = self.rules
        return min(rules.hold_max_s, rules.hold_first_s * math.exp2(max(0.0, self._penalty - 1.0)))
