"""A dollar counts for more while a tenant spends faster than its budget lasts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.tenant import Limits, Tenant
from router.resilience.budget_pace import BudgetPace
from router.resilience.tenant_gate import TenantGate

DAY_S = 86_400.0


def test_the_multiplier_follows_the_ratio_of_the_two_rates() -> None:
    """M <- m exp(0.1 (spending / allowed - 1)), every ten seconds."""
    pace = BudgetPace()
    assert pace.at(0.0, spent_usd=0.0, left_usd=100.0, left_s=1000.0) == 1.0
    # 0.3 $ a second are spent where 0.1 may be.
    assert pace.at(9.9, spent_usd=3.0, left_usd=97.0, left_s=970.0) == 1.0
    assert pace.at(10.0, spent_usd=3.0, left_usd=97.0, left_s=970.0) == pytest.approx(math.exp(0.2))
    assert pace.at(20.0, spent_usd=6.0, left_usd=97.0, left_s=970.0) == pytest.approx(math.exp(0.4))


def test_it_falls_back_to_one_when_nothing_is_spent() -> None:
    """And not below: money never counts for less than it is."""
    pace = BudgetPace()
    pace.at(0.0, spent_usd=0.0, left_usd=1.0, left_s=DAY_S)
    assert pace.at(10.0, spent_usd=1.0, left_usd=0.0, left_s=DAY_S) == pytest.approx(100.0)
    assert pace.at(300.0, spent_usd=1.0, left_usd=0.0, left_s=DAY_S) < 10.0
    assert pace.at(3000.0, spent_usd=1.0, left_usd=0.0, left_s=DAY_S) == 1.0


def test_a_new_period_is_not_taken_for_money_that_came_back() -> None:
    """Spending that starts from zero again is no negative rate."""
    pace = BudgetPace()
    pace.at(0.0, spent_usd=50.0, left_usd=1.0, left_s=10.0)
    assert pace.at(10.0, spent_usd=0.0, left_usd=51.0, left_s=DAY_S) == 1.0


@given(st.lists(st.tuples(st.floats(0.0, 1e4), st.floats(0.0, 1e6), st.floats(-1.0, 1e6), st.floats(-1.0, 1e7))))
def test_it_stays_between_one_and_a_hundred(steps: list[tuple[float, float, float, float]]) -> None:
    """Whatever is spent, left and over."""
    pace, now = BudgetPace(), 0.0
    for elapsed, spent, left_usd, left_s in steps:
        now += elapsed
        assert 1.0 <= pace.at(now, spent_usd=spent, left_usd=left_usd, left_s=left_s) <= 100.0


def test_of_two_budgets_the_tighter_one_counts() -> None:
    """A tenant within its month but not within its day is routed by the day; one without a budget by neither."""
    tenant = Tenant(id="t", limits=Limits(usd_per_day=1.0, usd_per_month=1e6))
    gate = TenantGate(tenant, replicas=1, wake=lambda: None)
    noon = 1_800_000_000.0
    assert gate.money_multiplier(0.0, noon) == 1.0
    ticket = gate.enter(10.0, 0.0, noon, away=True)
    ticket.settle(10.0, 0.5, noon)
    assert gate.money_multiplier(10.0, noon + 10.0) > 10.0
    assert TenantGate(Tenant(id="f"), replicas=1, wake=lambda: None).money_multiplier(0.0, noon) == 1.0
