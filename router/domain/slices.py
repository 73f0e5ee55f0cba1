"""What a replica and the store tell each other about a tenant's limits; see `router.state.slices`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RateAsk:
    """What a replica wants of one rate of one tenant.

    Attributes:
        limit: "requests_per_s" or "tokens_per_s".
        capacity: what may be saved up.
        balance: what the replica holds, negative when it is in debt.
        want: how much more it asks for.
        back: what it gives back with this ask.
        took: what it gave itself while the store did not answer.
        demand: what its callers ask for, per second, refused ones included.
    """

    tenant: str
    limit: str
    rate: float
    capacity: float
    balance: float
    want: float
    back: float = 0.0
    took: float = 0.0
    demand: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RateGrant:
    amount: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetAsk:
    """What a replica wants of one budget of one tenant; every figure is of the whole period, never a difference.

    Attributes:
        limit: "usd_per_day" or "usd_per_month".
        period: "2027-01-15" or "2027-01", of UTC.
        spent: by this replica.
        want: how much it would like to have been granted in all.
        acknowledged: `spent` as the store last heard it.
        others: what all others had spent when the store last answered.
    """

    tenant: str
    limit: str
    period: str
    budget: float
    spent: float
    want: float
    acknowledged: float = 0.0
    others: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetGrant:
    """`granted` to this replica in all, `total` spent by everyone, `free` is neither spent nor granted."""

    granted: float
    total: float
    free: float


Ask = RateAsk | BudgetAsk
Grant = RateGrant | BudgetGrant
