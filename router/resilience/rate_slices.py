"""One replica's part of a rate that all replicas share: a balance that the store fills and requests take from.

A request is let in while the balance allows, without asking anybody. More is asked for in the background (`ask`,
`answered`). The balance may go one slice below zero; a request dearer than a slice is let in while the balance is not
negative. A quiet replica holds a little of what was saved up, for a burst that comes before the store can be asked.

While the store does not answer, a debt shrinks by this replica's share of the rate, as if the balance were a bucket of
one slice. What the replica gave itself so is told to the store afterwards (`took`).
"""

from __future__ import annotations

from collections.abc import Callable

from router.domain.slices import RateAsk

EVERY_S = 0.1
# So often a quiet replica confirms what it holds.
IDLE_ASK_S = 5.0
# Without an answer for so long a replica lives on its own share; what it was granted ends after `HOLD_S`, before the
# store forgets that it was (FORGET_S of scripts/slices.lua).
ALONE_AFTER_S = 0.25
HOLD_S = 10.0
# What an active replica holds, in seconds of its demand; all quiet ones together hold half of what may be saved up.
AHEAD_S = 0.25
STANDING = 0.5
_SHORTEST_S = 0.02
_FADE = 0.7
_NOTHING = 0.05
_DUST = 1e-6


class RateGate:
    """Times are monotonic seconds, given by the caller. Call `admits`, and `take` when everything else admits too.

    `wake` is called when it would help to ask the store at once.
    """

    def __init__(
        self, tenant: str, limit: str, rate: float, burst_s: float, *, replicas: int, wake: Callable[[], None]
    ) -> None:
        self.tenant = tenant
        self.limit = limit
        self.balance = 0.0
        self.set_limit(rate, burst_s, replicas)
        self._wake = wake
        self._woken = False
        self._short = False
        self._asked_for = 0.0
        self._demand = 0.0
        self._ceiling = 0.0
        self._back = 0.0
        self._took = 0.0
        self._quiet = True
        self._alone_at = 0.0
        self._holds_until = 0.0
        self._filled_at = 0.0
        self._asked_at = -IDLE_ASK_S
        self._sent: RateAsk | None = None

    def set_limit(self, rate: float, burst_s: float, replicas: int) -> None:
        self.rate = rate
        self.capacity = max(1.0, rate * burst_s)
        self._use_replicas(replicas)

    def _use_replicas(self, replicas: int) -> None:
        self.share = self.rate / replicas
        self.slice = max(1.0, self.share * EVERY_S)
        self._standing = STANDING * self.capacity / replicas

    def admits(self, cost: float, now: float, *, away: bool) -> bool:
        """Whether something of this cost may start now; it is counted as asked for whatever the answer."""
        self._asked_for += cost
        if self._quiet:
            self._quiet = False
            self._drop_old(now)
            self._filled_at = now
            self._alone_at = now if away else now + ALONE_AFTER_S
        elif now > self._alone_at:
            self._fill(now)
        balance = self.balance
        if balance - cost < 0.0 and not (self._woken or self._short):
            self._woken = True
            self._wake()
        return balance >= 0.0 or balance - cost >= -self.slice

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
        """What to ask the store for; None when there is nothing to say."""
        self._use_replicas(replicas)
        settled = self._quiet and 0.0 <= self.balance <= self._standing + _DUST and self._back == 0.0
        if settled and now - self._asked_at < IDLE_ASK_S:
            return None
        if now > self._alone_at:
            self._fill(now)
        self._observe(now)
        target = max(self._standing, min(self._demand, self.rate) * AHEAD_S)
        want = target - self.balance
        if want < 0.0:
            self._back -= want
            self.balance = target
            self._ceiling = min(self._ceiling, target)
            want = 0.0
        debt = -self.balance if self.balance < -_DUST else 0.0
        self._quiet = self._demand == debt == 0.0
        back, self._back = self._back, 0.0
        self._woken = False
        self._sent = RateAsk(
            tenant=self.tenant,
            limit=self.limit,
            rate=self.rate,
            capacity=self.capacity,
            balance=self.balance,
            want=want,
            back=back,
            took=self._took,
            # A debt is a wish as well, though nobody asks for more.
            demand=self._demand + debt,
        )
        return self._sent

    def answered(self, ask: RateAsk, amount: float, sent_at: float) -> None:
        """The store's answer to the last ask, which was sent at that time."""
        if ask is not self._sent:
            return
        self._sent = None
        self._short = ask.demand > 0.0 and amount < ask.want - _DUST
        self._took = max(0.0, self._took - ask.took)
        self._ceiling = max(0.0, ask.balance + amount)
        self._filled_at = sent_at
        self._alone_at = sent_at + ALONE_AFTER_S
        self._holds_until = sent_at + HOLD_S
        self.give(amount)

    def unanswered(self, now: float) -> None:
        """The store is away: from now on this replica lives on its own share."""
        self._sent = None
        self._alone_at = min(self._alone_at, now)

    def _observe(self, now: float) -> None:
        elapsed = min(max(now - self._asked_at, _SHORTEST_S), 2.0 * EVERY_S)
        self._asked_at = now
        rate, self._asked_for = self._asked_for / elapsed, 0.0
        self._demand = rate if rate > self._demand else _FADE * self._demand + (1.0 - _FADE) * rate
        if self._demand < _NOTHING:
            self._demand = 0.0

    def _drop_old(self, now: float) -> None:
        """What was granted and not confirmed for long no longer counts."""
        if self.balance > 0.0 and now > self._holds_until:
            self.balance = self._ceiling = 0.0

    def _fill(self, now: float) -> None:
        """Nobody answers: a debt shrinks by this replica's share since the last answer."""
        self._drop_old(now)
        if now > self._filled_at:
            gain = max(0.0, min(-self.balance, (now - self._filled_at) * self.share))
            self.balance += gain
            self._took += gain
            self._filled_at = now
