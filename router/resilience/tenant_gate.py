"""Lets a tenant's requests in within its limits, from what this replica holds of them; nobody waits for the store.

In any time T all R replicas together admit at most `rate * T + burst + R * slice` of a rate, where `slice` is what one
replica may use before it is granted: max(1, rate * 0.1 s / R), or one request where that is more. Of money, spent and
reserved exceed a budget by at most one slice (a thousandth of it, or one request) per replica. Estimates are settled to
real figures when a request ends, so what the requests in flight were misjudged by comes on top.

While the store is away each replica goes on with rate / R, and with its grant and 1 / R of the money that was left: the
same bounds when all replicas lost it together. One that alone is cut off adds rate / R * T, and what was left / R.
"""

from __future__ import annotations

from collections.abc import Callable

from router.domain.tenant import Limits, Tenant
from router.errors import BudgetExhausted, TenantLimited
from router.resilience.budget_slices import BudgetGate, Span
from router.resilience.rate_slices import EVERY_S, RateGate

_FADE = 0.9
REQUESTS, TOKENS = "requests_per_s", "tokens_per_s"


class TenantGate:
    """All limits of one tenant on this replica. Times are given by the caller, as in the gates that it is made of."""

    def __init__(self, tenant: Tenant, *, replicas: int, wake: Callable[[], None]) -> None:
        self.id = tenant.id
        self._wake = wake
        self.in_flight = 0
        self.refused = 0
        self.rates: dict[str, RateGate] = {}
        self.budgets: dict[str, BudgetGate] = {}
        # What a request of this tenant takes on average: the estimate until its own is known.
        self.mean_tokens = 0.0
        self.mean_usd = 0.0
        self.use(tenant.limits, replicas=replicas)

    def use(self, limits: Limits, *, replicas: int) -> None:
        """Takes over limits; what is held and spent of one that stays, stays."""
        self.max_in_flight = limits.max_in_flight
        for name, rate in ((REQUESTS, limits.requests_per_s), (TOKENS, limits.tokens_per_s)):
            if rate is None:
                self.rates.pop(name, None)
            elif name in self.rates:
                self.rates[name].set_limit(rate, limits.burst_s, replicas)
            else:
                self.rates[name] = RateGate(self.id, name, rate, limits.burst_s, replicas=replicas, wake=self._wake)
        for span, budget in ((Span.DAY, limits.usd_per_day), (Span.MONTH, limits.usd_per_month)):
            if budget is None:
                self.budgets.pop(span.value, None)
            elif span.value in self.budgets:
                self.budgets[span.value].set_limit(budget)
            else:
                self.budgets[span.value] = BudgetGate(self.id, span, budget, replicas=replicas, wake=self._wake)
        self.free = not self.rates and not self.budgets
        self._requests = self.rates.get(REQUESTS)
        self._tokens = self.rates.get(TOKENS)
        self._budgets = tuple(self.budgets.values())

    def enter(self, tokens: float, now: float, unix: float, *, away: bool) -> Ticket:
        """Lets one request in that has so many input tokens.

        Raises:
            TenantLimited, BudgetExhausted: a limit is used up.
        """
        if self.max_in_flight is not None and self.in_flight >= self.max_in_flight:
            self.refused += 1
            raise self._refusal("max_in_flight", self.max_in_flight, EVERY_S)
        if self.free:
            self.in_flight += 1
            return Ticket(self, 0.0, 0.0)
        requests, counted = self._requests, self._tokens
        tokens = max(tokens, self.mean_tokens)
        usd = self.mean_usd
        # Every gate is asked, so that each knows what is wanted of it.
        refused = None
        if requests is not None and not requests.admits(1.0, now, away=away):
            refused = self._refusal(REQUESTS, requests.rate, requests.wait_s(1.0))
        if counted is not None and not counted.admits(tokens, now, away=away):
            refused = refused or self._refusal(TOKENS, counted.rate, counted.wait_s(tokens))
        for budget in self._budgets:
            if not budget.admits(usd, now, unix, away=away):
                refused = self._out_of_money(budget, usd, unix)
        if refused is not None:
            self.refused += 1
            raise refused
        if requests is not None:
            requests.take(1.0)
        if counted is not None:
            counted.take(tokens)
        for budget in self._budgets:
            budget.take(usd)
        self.in_flight += 1
        return Ticket(self, tokens, usd)

    def money_multiplier(self, now: float, unix: float) -> float:
        """What a dollar counts for this tenant: by the budget that would be over first."""
        most = 1.0
        for budget in self._budgets:
            most = max(most, budget.money_multiplier(now, unix))
        return most

    def reserve(self, tokens: float, usd: float) -> None:
        """Takes more than was taken at the entry, or gives some back when negative."""
        if self._tokens is not None:
            self._tokens.take(tokens) if tokens >= 0.0 else self._tokens.give(-tokens)
        for budget in self._budgets:
            budget.take(usd)

    def leave(self, ticket: Ticket, tokens: float, usd: float, unix: float, *, served: bool) -> None:
        """A request is over: what was taken for it becomes what it took."""
        self.in_flight -= 1
        if self.free:
            return
        if served:
            self.mean_tokens += (1.0 - _FADE) * (tokens - self.mean_tokens)
            self.mean_usd += (1.0 - _FADE) * (usd - self.mean_usd)
        elif self._requests is not None:
            self._requests.give(1.0)
        if self._tokens is not None:
            unused = ticket.tokens - tokens
            self._tokens.give(unused) if unused >= 0.0 else self._tokens.take(-unused)
        for budget in self._budgets:
            budget.settle(ticket.usd, usd, unix)

    def unanswered(self, now: float) -> None:
        """The store is away."""
        for rate in self.rates.values():
            rate.unanswered(now)
        for budget in self._budgets:
            budget.unanswered(now)

    def _refusal(self, limit: str, most: float, wait_s: float) -> TenantLimited:
        message = f"tenant '{self.id}' is at its limit of {most:g} {_WORDS[limit]}"
        return TenantLimited(message, tenant=self.id, limit=limit, retry_after_s=wait_s)

    def _out_of_money(self, budget: BudgetGate, usd: float, unix: float) -> TenantLimited:
        wait_s = budget.wait_s(usd, unix)
        if wait_s <= EVERY_S:
            message = f"tenant '{self.id}' spends faster than its budget of ${budget.budget:g} is shared out"
            return TenantLimited(message, tenant=self.id, limit=budget.limit, retry_after_s=wait_s)
        message = f"tenant '{self.id}' has used up its budget of ${budget.budget:g} for {budget.period}"
        return BudgetExhausted(message, tenant=self.id, limit=budget.limit, retry_after_s=wait_s)


_WORDS = {REQUESTS: "requests per second", TOKENS: "tokens per second", "max_in_flight": "requests at a time"}


class Ticket:
    """One request that was let in; ends by `settle` or `cancel`, and only the first of them counts."""

    __slots__ = ("_gate", "_open", "tokens", "usd")

    def __init__(self, gate: TenantGate, tokens: float, usd: float) -> None:
        self._gate = gate
        self._open = True
        self.tokens = tokens
        self.usd = usd

    @property
    def tenant(self) -> str:
        return self._gate.id

    def expect(self, tokens: float, usd: float) -> None:
        """A better estimate of what the request will take; it is let in whatever that is."""
        if self._open and not self._gate.free:
            self._gate.reserve(tokens - self.tokens, usd - self.usd)
            self.tokens, self.usd = tokens, usd

    def settle(self, tokens: float, usd: float, unix: float) -> None:
        """What the request really took."""
        if self._open:
            self._open = False
            self._gate.leave(self, tokens, usd, unix, served=True)

    def cancel(self, unix: float) -> None:
        """The request was refused elsewhere: as if it had not been let in."""
        if self._open:
            self._open = False
            self._gate.leave(self, 0.0, 0.0, unix, served=False)
