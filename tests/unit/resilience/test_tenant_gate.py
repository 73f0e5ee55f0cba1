"""All limits of one tenant on one replica: what is refused, what is settled, and that it is settled once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.slices import BudgetGrant
from router.domain.tenant import Limits, Tenant
from router.errors import BudgetExhausted, TenantLimited
from router.resilience.tenant_gate import REQUESTS, TOKENS, TenantGate, Ticket

NOON = 1_800_014_400.0


def gate(**limits: float) -> TenantGate:
    return TenantGate(Tenant(id="t", limits=Limits(**limits)), replicas=1, wake=lambda: None)  # type: ignore[arg-type]


def enter(one: TenantGate, tokens: float = 0.0, now: float = 0.0) -> Ticket:
    return one.enter(tokens, now, NOON, away=False)


def fill(one: TenantGate, *, now: float = 0.0) -> None:
    """As if the store had given everything it was asked for."""
    for rate in one.rates.values():
        if (ask := rate.ask(now, 1)) is not None:
            rate.answered(ask, ask.want, now)
    for budget in one.budgets.values():
        if (told := budget.ask(now, NOON, 1)) is not None:
            free = budget.budget - told.want
            budget.answered(told, BudgetGrant(granted=told.want, total=told.spent, free=max(0.0, free)), now)


def test_a_rate_that_is_used_up_is_refused_with_its_name_and_when_to_come_back() -> None:
    """TENANT_LIMITED names the tenant and the limit, and the wait is the debt at this replica's share."""
    one = gate(requests_per_s=2.0)
    enter(one)
    with pytest.raises(TenantLimited) as caught:
        enter(one)

    assert caught.value.metadata() == {"tenant": "t", "limit": REQUESTS}
    assert caught.value.retry_after_s == pytest.approx(0.5)
    assert "2 requests per second" in str(caught.value)
    assert one.refused == 1


def test_what_is_refused_for_one_limit_is_taken_of_none() -> None:
    """A request that the tokens refuse leaves the requests' balance and the money as they were."""
    one = gate(requests_per_s=100.0, tokens_per_s=10.0, usd_per_day=1.0)
    enter(one, tokens=1_000.0)
    balance, reserved = one.rates[REQUESTS].balance, one.budgets["usd_per_day"].reserved
    with pytest.raises(TenantLimited):
        enter(one, tokens=1_000.0)

    assert (one.rates[REQUESTS].balance, one.budgets["usd_per_day"].reserved) == (balance, reserved)
    assert one.in_flight == 1


def test_requests_at_a_time_are_bounded() -> None:
    """max_in_flight counts what is inside, and an ended request makes room."""
    one = gate(max_in_flight=2)
    first, _ = enter(one), enter(one)
    with pytest.raises(TenantLimited, match="2 requests at a time"):
        enter(one)
    first.settle(0.0, 0.0, NOON)

    enter(one)


def test_an_exhausted_budget_says_when_the_next_period_begins() -> None:
    """BUDGET_EXHAUSTED waits for midnight of UTC; while others hold money it is a short wait instead."""
    one = gate(usd_per_day=1.0)
    fill(one)
    enter(one).settle(0.0, 2.0, NOON)
    budget = one.budgets["usd_per_day"]
    ask = budget.ask(0.1, NOON, 1)
    assert ask is not None
    budget.answered(ask, BudgetGrant(granted=1.0, total=2.0, free=0.0), 0.1)
    with pytest.raises(BudgetExhausted) as caught:
        enter(one, now=0.2)

    assert caught.value.retry_after_s == pytest.approx(43_200.0)
    assert caught.value.limit == "usd_per_day"
    budget._free = 5.0
    with pytest.raises(TenantLimited) as short:
        enter(one, now=0.2)
    assert not isinstance(short.value, BudgetExhausted)
    assert short.value.retry_after_s == pytest.approx(0.1)


@given(
    entries=st.lists(
        st.tuples(
            st.floats(0.0, 500.0),  # estimated tokens
            st.floats(0.0, 0.1),  # estimated dollars
            st.floats(0.0, 500.0),  # real tokens
            st.floats(0.0, 0.1),  # real dollars
            st.lists(st.sampled_from(["expect", "settle", "cancel"]), max_size=5),
        ),
        max_size=20,
    )
)
def test_every_request_is_settled_once(entries: list[tuple[float, float, float, float, list[str]]]) -> None:
    """However often it is settled or cancelled, the first end counts, and nothing stays reserved."""
    one = gate(requests_per_s=1e6, tokens_per_s=1e9, usd_per_day=1e6, usd_per_month=1e6)
    fill(one)
    tokens = one.rates[TOKENS]
    held = tokens.balance
    used = usd = 0.0
    for estimated, dollars, real, cost, ends in entries:
        ticket = enter(one, tokens=estimated)
        ended = False
        for end in [*ends, "settle"]:
            if end == "expect":
                ticket.expect(estimated * 2.0, dollars)
            elif end == "settle":
                ticket.settle(real, cost, NOON)
                used, usd, ended = (used, usd, ended) if ended else (used + real, usd + cost, True)
            else:
                ticket.cancel(NOON)
                ended = True

    assert one.in_flight == 0
    assert tokens.balance + tokens._back == pytest.approx(held - used)
    for budget in one.budgets.values():
        assert budget.reserved == pytest.approx(0.0, abs=1e-9)
        assert budget.spent == pytest.approx(usd)


def test_a_better_estimate_is_reserved_at_once() -> None:
    """What the plan expects counts before the request has used it, so the next one sees it."""
    one = gate(tokens_per_s=1_000.0, usd_per_day=10.0)
    fill(one)
    before = one.rates[TOKENS].balance
    enter(one, tokens=10.0).expect(300.0, 4.0)

    assert one.rates[TOKENS].balance == pytest.approx(before - 300.0)
    assert one.budgets["usd_per_day"].reserved == pytest.approx(4.0)


def test_the_next_request_is_estimated_by_those_before() -> None:
    """The mean of what requests took is reserved at the entry of the next."""
    one = gate(usd_per_day=1e6)
    fill(one)
    for _ in range(50):
        enter(one).settle(0.0, 0.5, NOON)

    assert enter(one).usd == pytest.approx(0.5, rel=0.02)


def test_changed_limits_keep_what_was_spent_and_held() -> None:
    """A limit that is raised, or joined by another, goes on where it was; one that is taken away is gone."""
    one = gate(requests_per_s=10.0, usd_per_day=1.0)
    fill(one)
    ticket = enter(one)
    enter(one).settle(0.0, 0.25, NOON)
    balance = one.rates[REQUESTS].balance
    one.use(Limits(requests_per_s=20.0, usd_per_day=2.0, usd_per_month=5.0), replicas=1)

    assert one.rates[REQUESTS].balance == balance
    assert one.budgets["usd_per_day"].spent == pytest.approx(0.25)
    ticket.settle(0.0, 0.5, NOON)
    assert one.budgets["usd_per_month"].reserved == 0.0
    one.use(Limits(), replicas=1)
    assert one.free
    for _ in range(100):
        enter(one)


def test_cancelled_is_as_if_it_had_not_been_let_in() -> None:
    """A request that something else refused gives back its unit of the rate."""
    one = gate(requests_per_s=1.0)
    enter(one).cancel(NOON)
    enter(one)

    assert one.in_flight == 1
