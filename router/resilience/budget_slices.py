"""One replica's part of a tenant's money for a day or a month: what it was granted, has spent and has reserved.

All three grow through the period and are told to the store as they are, so a message that is lost or repeated changes
nothing. A request is let in while grant less spent less reserved is at least minus one slice (a thousandth of the
budget), or not negative where the request costs more than that.

While the store does not answer, this replica also has its share of what was free when it last did.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum

from router.domain.slices import BudgetAsk, BudgetGrant
from router.resilience.budget_pace import BudgetPace
from router.resilience.rate_slices import AHEAD_S, ALONE_AFTER_S, EVERY_S, IDLE_ASK_S

ACTIVE_S = 1.0
# A quiet replica holds this part of its share of what is free, for a burst that comes before the store is asked.
STANDING = 0.1
_FADE = 0.7


class Span(StrEnum):
    DAY = "usd_per_day"
    MONTH = "usd_per_month"


def period_of(span: Span, unix: float) -> tuple[str, float]:
    """The day or month, of UTC, that a Unix time falls in: its name, and when it ends."""
    moment = datetime.fromtimestamp(unix, UTC)
    if span is Span.DAY:
        return moment.strftime("%Y-%m-%d"), (unix // 86_400 + 1) * 86_400
    year, month = (moment.year + 1, 1) if moment.month == 12 else (moment.year, moment.month + 1)
    return moment.strftime("%Y-%m"), datetime(year, month, 1, tzinfo=UTC).timestamp()


class BudgetGate:
    """Times are monotonic seconds, `unix` is the store's clock; both are the caller's. `wake`: see `RateGate`."""

    def __init__(self, tenant: str, span: Span, budget: float, *, replicas: int, wake: Callable[[], None]) -> None:
        self.tenant = tenant
        self.limit = span.value
        self.reserved = 0.0
        self._span = span
        self._replicas = replicas
        self._wake = wake
        self._woken = False
        self._ends_at = 0.0
        self._active_at = -math.inf
        self._asked_at = -math.inf
        self._alone_at = 0.0
        self._usd_per_s = 0.0
        self._spent_then = 0.0
        self._sent: BudgetAsk | None = None
        self._pace = BudgetPace()
        self.set_limit(budget)
        self._begin("", 0.0)

    def set_limit(self, budget: float) -> None:
        self.budget = budget
        self.slice = budget / 1000.0

    def _begin(self, period: str, ends_at: float) -> None:
        """A new day or month; what is reserved goes on, for it will be spent in this one."""
        self.period = period
        self._ends_at = ends_at
        self.spent = self.granted = self._acknowledged = self._others = self._spent_then = 0.0
        # Of a store that has not answered yet nothing is known: the whole budget is taken to be left.
        self._free = self.budget
        self._sent = None
        self._asked_at = -math.inf

    @property
    def total(self) -> float:
        """What all replicas have spent in this period, as far as is known here."""
        return self._others + self.spent

    def admits(self, cost: float, now: float, unix: float, *, away: bool) -> bool:
        """Whether a request of this estimated cost may start."""
        self._roll(unix)
        if now - self._active_at > ACTIVE_S:
            self._alone_at = max(self._alone_at, now if away else now + ALONE_AFTER_S)
        self._active_at = now
        room = self._room(now)
        if room - cost < 0.0 < self._free and not self._woken:
            self._woken = True
            self._wake()
        return room >= 0.0 or room - cost >= -self.slice

    def money_multiplier(self, now: float, unix: float) -> float:
        """What a dollar counts, 1 to 100: more while the tenant spends faster than the budget lasts."""
        self._roll(unix)
        left_usd, left_s = self.budget - self.total, self._ends_at - unix
        return self._pace.at(now, spent_usd=self.total, left_usd=left_usd, left_s=left_s)

    def take(self, cost: float) -> None:
        self.reserved += cost

    def settle(self, reserved: float, usd: float, unix: float) -> None:
        """A request is over: what was reserved for it is free, what it cost is spent."""
        self._roll(unix)
        self.reserved = max(0.0, self.reserved - reserved)
        self.spent += usd

    def wait_s(self, cost: float, unix: float) -> float:
        """Seconds until a request of this cost may start: at once when money is left, else when the period is over."""
        if self._free > cost:
            return EVERY_S
        return max(0.0, self._ends_at - unix)

    def ask(self, now: float, unix: float, replicas: int) -> BudgetAsk | None:
        """What to tell the store and ask it for; None when it is not the time to."""
        self._roll(unix)
        self._replicas = replicas
        active = now - self._active_at <= ACTIVE_S or self.reserved > 0.0
        if not active and now - self._asked_at < IDLE_ASK_S and self.spent == self._acknowledged:
            return None
        self._observe(now)
        self._woken = False
        standing = STANDING * self._free / replicas
        ahead = max(standing, self.slice, self._usd_per_s * AHEAD_S) if active else standing
        want = self.spent + self.reserved + ahead
        # Given back before the store hears of it, so that it is never counted on twice.
        self.granted = min(self.granted, want)
        self._sent = BudgetAsk(
            tenant=self.tenant,
            limit=self.limit,
            period=self.period,
            budget=self.budget,
            spent=self.spent,
            want=want,
            acknowledged=self._acknowledged,
            others=self._others,
        )
        return self._sent

    def answered(self, ask: BudgetAsk, grant: BudgetGrant, sent_at: float) -> None:
        """The store's answer to the last ask, which was sent at that time."""
        if ask is not self._sent:
            return
        self._sent = None
        self.granted = grant.granted
        self._acknowledged = ask.spent
        self._others = max(0.0, grant.total - ask.spent)
        self._free = grant.free
        self._alone_at = sent_at + ALONE_AFTER_S

    def unanswered(self, now: float) -> None:
        self._sent = None
        self._alone_at = min(self._alone_at, now)

    def _room(self, now: float) -> float:
        room = self.granted - self.spent - self.reserved
        return room + self._free / self._replicas if now >= self._alone_at else room

    def _roll(self, unix: float) -> None:
        if unix >= self._ends_at:
            self._begin(*period_of(self._span, unix))

    def _observe(self, now: float) -> None:
        elapsed = min(max(now - self._asked_at, EVERY_S / 2.0), IDLE_ASK_S)
        self._asked_at = now
        rate, self._spent_then = (self.spent - self._spent_then) / elapsed, self.spent
        self._usd_per_s = rate if rate > self._usd_per_s else _FADE * self._usd_per_s + (1.0 - _FADE) * rate
