"""One replica's part of a rate that all replicas share: a balance that the store fills and requests take from.

A request is let in while the balance allows, without asking anybody. What the replica wants more of is asked for in the
background (`ask`, `answered`). The balance may go one slice below zero, so that a quiet replica holds nothing and still
answers the first requests at once; a request dearer than a slice is let in while the balance is not negative.

While the store does not answer, the balance fills by this replica's share of the rate, and never above zero; what it
gave itself is told to the store afterwards (`took`).
"""

from __future__ import annotations

from router.domain.slices import RateAsk

EVERY_S = 0.1
# Without an answer for so long a replica lives on its own share; what it was granted ends after `HOLD_S`, before the
# store forgets that it was (FORGET_S of scripts/slices.lua).
ALONE_AFTER_S = 0.25
HOLD_S = 1.0
AHEAD_S = 0.25
_FADE = 0.7
_NOTHING = 0.05
_DUST = 1e-6


class RateGate:
    """Times are monotonic seconds, given by the caller. Call `admits`, and `take` when everything else admits too."""

    def __init__(self, tenant: str, limit: str, rate: float, burst_s: float, *, replicas: int) -> None:
        self.tenant = tenant
        self.limit = limit
        self.balance = 0.0
        self.set_limit(rate, burst_s, replicas)
        self._asked_for = 0.0
        self._demand = 0.0
        self._ceiling = 0.0
        self._back = 0.0
        self._took = 0.0
        self._quiet = True
        self._alone_at = 0.0
        self._holds_until = 0.0
        self._filled_at = 0.0
        self._asked_at = 0.0
        self._sent: RateAsk | None = None

    def set_limit(self, rate: float, burst_s: float, replicas: int) -> None:
        self.rate = rate
        self.capacity = max(1.0, rate * burst_s)
        self.use_replicas(replicas)

    def use_replicas(self, replicas: int) -> None:
        self.share = self.rate / replicas
        self.slice = max(1.0, self.share * EVERY_S)

    def admits(self, cost: float, now: float, *, away: bool) -> bool:
        """Whether something of this cost may start now; it is counted as asked for whatever the answer."""
        self._asked_for += cost
        if self._quiet:
            self._quiet = False
            self._filled_at = self._asked_at = self._holds_until = now
            self._alone_at = now if away else now + ALONE_AFTER_S
        elif now > self._alone_at:
            self._fill(now)
        return self.balance >= 0.0 or self.balance - cost >= -self.slice

    def take(self, cost: float) -> None:
        self.balance -= cost

    def give(self, amount: float) -> None:
        """What was taken and not used. The store counts on no more being held here than it knows of."""
        self.balance += amount
        if self.balance > self._ceiling:
            self._back += self.balance - self._ceiling
            self.balance = self._ceiling

    def wait_s(self, cost: float) -> float:
        """Seconds until something of this cost may start, at this replica's share of the rate."""
        missing = min(0.0, cost - self.slice) - self.balance
        return max(EVERY_S, missing / self.share)

    def ask(self, now: float, replicas: int) -> RateAsk | None:
        """What to ask the store for; None while nobody wants anything."""
        if self._quiet:
            return None
        self.use_replicas(replicas)
        if now > self._alone_at:
            self._fill(now)
        self._observe(now)
        # A debt is a wish as well, though nobody asks for more.
        demand = self._demand + max(0.0, -self.balance)
        target = min(self._demand, self.rate) * AHEAD_S
        want = target - self.balance
        if want < 0.0:
            self._back -= want
            self.balance = target
            self._ceiling = min(self._ceiling, target)
            want = 0.0
        elif target == 0.0 and want < _DUST:
            self.balance = want = demand = 0.0
        back, self._back = self._back, 0.0
        if demand == self.balance == back == self._took == 0.0:
            self._quiet = True
            return None
        self._sent = RateAsk(
            tenant=self.tenant,
            limit=self.limit,
            rate=self.rate,
            capacity=self.capacity,
            balance=self.balance,
            want=want,
            back=back,
            took=self._took,
            demand=demand,
        )
        return self._sent

    def answered(self, ask: RateAsk, amount: float, sent_at: float) -> None:
        """The store's answer to the last ask, which was sent at that time."""
        if ask is not self._sent:
            return
        self._sent = None
        self._took = max(0.0, self._took - ask.took)
        self._ceiling = max(0.0, ask.balance + amount)
        self._filled_at = self._alone_at = sent_at
        self._alone_at += ALONE_AFTER_S
        self._holds_until = sent_at + HOLD_S
        self.give(amount)

    def unanswered(self, now: float) -> None:
        """The store is away: from now on this replica lives on its own share."""
        self._sent = None
        self._alone_at = min(self._alone_at, now)

    def _observe(self, now: float) -> None:
        elapsed = max(now - self._asked_at, EVERY_S / 2.0)
        self._asked_at = now
        rate, self._asked_for = self._asked_for / elapsed, 0.0
        self._demand = rate if rate > self._demand else _FADE * self._demand + (1.0 - _FADE) * rate
        if self._demand < _NOTHING:
            self._demand = 0.0

    def _fill(self, now: float) -> None:
        """Nobody answers: what was granted ends, and a debt shrinks by this replica's share since the last answer."""
        if self.balance > 0.0 and now > self._holds_until:
            self.balance = self._ceiling = 0.0
        if now > self._filled_at:
            gain = max(0.0, min(-self.balance, (now - self._filled_at) * self.share))
            self.balance += gain
            self._took += gain
            self._filled_at = now
