"""The sentence that says why names the kind of reason, and what keeps the request from the fastest and the cheapest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.domain.fleet import PrivacyLevel
from router.domain.policies import WorkloadClass
from router.domain.request import Placement, Slo
from router.scheduling.reasons import why
from tests.unit.scheduling.fleets import WORKLOAD, ask, rank, row

HASTY = replace(WORKLOAD, usd_per_s=1.0)


@pytest.mark.parametrize(
    ("workload", "reason"),
    [
        (WORKLOAD, "for price: "),
        (HASTY, "for speed: "),
        (replace(WORKLOAD, usd_per_slowed_s=1.0), "for load: "),
        (replace(WORKLOAD, usd_per_quality=1.0), "for quality: "),
    ],
)
def test_the_reason_is_the_term_that_won(workload: WorkloadClass, reason: str) -> None:
    """What most of the difference to the next best is made of."""
    good = row("good", usd=0.5, bandwidth=6e12, task_quality=0.9)
    other = row("other", usd=5.0, busy=8, task_quality=0.5)
    other.live.worth_usd_per_s = 8 * workload.usd_per_slowed_s
    told = why(rank([good, other], workload=workload))
    assert reason in told


def test_the_fastest_and_the_cheapest_are_named_with_what_they_lose_by() -> None:
    """A person sees at once what the other ends of the trade would have been."""
    rows = [
        row("middle", usd=1.0, bandwidth=3e12),
        row("fast", usd=50.0, bandwidth=2e13),
        row("cheap", usd=0.01, bandwidth=1e11),
    ]
    told = why(rank(rows))
    assert "fast would be faster (" in told
    assert "loses $" in told
    assert "cheap would be cheaper (" in told
    assert "but meets the SLO (pace) with" in told


def test_privacy_is_named_when_it_leaves_one() -> None:
    """And how many it keeps out."""
    rows = [row("here", privacy=PrivacyLevel.ON_DEVICE), row("a"), row("b")]
    told = why(rank(rows, ask(placement=Placement(privacy=PrivacyLevel.ON_DEVICE))))
    assert told == "for privacy: the only one left that guarantees on_device, 2 others do not"


@pytest.mark.parametrize(
    ("slo", "words"),
    [
        (Slo(e2e_s=0.01), "the end-to-end one was given up"),
        (Slo(tpot_s=1e-5), "those of end to end and of each token were given up"),
        (Slo(ttft_s=1e-5), "not even for the first token"),
    ],
)
def test_what_was_given_up_is_said(slo: Slo, words: str) -> None:
    """Nothing is feasible: the sentence says which objectives hold no more, and how likely all are met."""
    told = why(rank([row("a"), row("b")], ask(slo=slo)))
    assert words in told
    assert "this one meets all with" in told


def test_near_ties_are_said_to_be_drawn() -> None:
    """And the next that is no tie is compared with."""
    told = why(rank([row("a"), row("b"), row("dear", usd=9.0)]))
    assert "a near-tie with " in told
    assert "better than dear" in told


def test_a_backend_without_a_free_slot_is_named() -> None:
    """Load that sends a request elsewhere can be seen."""
    told = why(rank([row("full", busy=90), row("free", usd=2.0)]))
    assert "load: no free slot on full (90 in flight, 32 slots)" in told


def test_money_that_counts_more_is_said() -> None:
    """The multiplier of a tenant's budget is in the sentence."""
    assert "money counts 3.0-fold" in why(rank([row("a"), row("b", usd=3.0)], money=3.0))
