"""The frame's promises, as properties over random fleets."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from router.domain.fleet import Capability, Parameter, PrivacyLevel
from router.domain.request import Placement, RequestProfile, Slo
from router.domain.rows import CAPABILITY_BIT, EVERYTHING, PARAMETER_BIT, Row, capability_mask, parameter_mask
from router.scheduling import filters, picker
from router.scheduling.filters import region_matches
from tests.unit.scheduling.fleets import rank, row


def scores(rows: list[Row]) -> dict[str, float]:
    return {f.row.id: f.objective_usd for f in rank(rows).ordered}


Fact = tuple[float, float, int]
bandwidths = st.floats(1e11, 2e13)
prices = st.floats(0.01, 50.0)
facts = st.tuples(bandwidths, prices, st.integers(0, 40))


@given(st.lists(facts, min_size=2, max_size=8), facts)
def test_an_irrelevant_backend_changes_no_score(fleet: list[Fact], other: Fact) -> None:
    """No term is normalised over the candidates: one more backend leaves every other score as it was."""
    rows = [row(f"b{n}", bandwidth=b, usd=u, busy=k) for n, (b, u, k) in enumerate(fleet)]
    before = scores(rows)
    after = scores([*rows, row("other", bandwidth=other[0], usd=other[1], busy=other[2])])
    assert all(after[name] == usd for name, usd in before.items())


@given(facts, st.floats(1.0, 4.0), st.floats(0.1, 1.0))
def test_a_faster_or_cheaper_copy_is_never_ranked_below(fact: Fact, faster: float, cheaper: float) -> None:
    """What is at least as good in everything never scores worse."""
    bandwidth, usd, busy = fact
    plain = row("plain", bandwidth=bandwidth, usd=usd, busy=busy)
    better = row("better", bandwidth=bandwidth * faster, usd=usd * cheaper, busy=busy)
    found = scores([plain, better])
    assert found["better"] <= found["plain"] * (1.0 + 1e-9)


sets_of_capabilities = st.frozensets(st.sampled_from(Capability))
sets_of_parameters = st.frozensets(st.sampled_from(Parameter))


def test_no_bit_means_two_things() -> None:
    """Every capability and every parameter has a bit of its own, and together they are all there is."""
    bits = [*CAPABILITY_BIT.values(), *PARAMETER_BIT.values()]
    assert len(set(bits)) == len(Capability) + len(Parameter)
    assert sum(bits) == EVERYTHING


@given(
    st.lists(st.tuples(sets_of_capabilities, sets_of_capabilities, sets_of_parameters), min_size=1, max_size=6),
    sets_of_capabilities,
    sets_of_parameters,
)
def test_what_a_family_does_not_take_is_never_sent_there(
    fleet: list[tuple[frozenset[Capability], frozenset[Capability], frozenset[Parameter]]],
    needs: frozenset[Capability],
    parameters: frozenset[Parameter],
) -> None:
    """Kept is exactly who declares and can do what is needed and takes what is set; the others are told what lacks."""
    rows = [
        row(f"b{n}", capabilities=declared, family=capability_mask(able) | parameter_mask(taken))
        for n, (declared, able, taken) in enumerate(fleet)
    ]
    profile = RequestProfile(request_id="r", model="m", needs=needs, parameters=parameters)
    ranking = rank(rows, profile)
    fits = {
        f"b{n}" for n, (declared, able, taken) in enumerate(fleet) if needs <= declared & able and parameters <= taken
    }
    assert {forecast.row.id for forecast in ranking.ordered} == fits
    for dropped, code, _ in ranking.dropped:
        _, able, taken = fleet[int(dropped.id[1:])]
        assert code == filters.CAPABILITY
        words = filters.detail(code, dropped, ranking.constraints, 0.0, None)
        assert all(p.value in words for p in parameters - taken)
        assert all(c.value in words for c in needs - able)


@given(
    st.lists(
        st.tuples(st.sampled_from(PrivacyLevel), st.sampled_from(["eu-1", "eu-2", "us-1", ""]), st.booleans()),
        max_size=8,
    ),
    st.sampled_from(PrivacyLevel),
    st.sampled_from([(), ("eu-*",), ("us-1",), ("eu-1", "us-1")]),
)
def test_no_candidate_or_fallback_passes_a_hard_constraint(
    fleet: list[tuple[PrivacyLevel, str, bool]], asked: PrivacyLevel, regions: tuple[str, ...]
) -> None:
    """Everything that could ever be tried satisfies privacy, region and capability."""
    tools = frozenset({Capability.TOOLS})
    rows = [
        row(f"b{n}", privacy=privacy, region=region, capabilities=tools if able else frozenset())
        for n, (privacy, region, able) in enumerate(fleet)
    ]
    profile = RequestProfile(
        request_id="r", model="m", needs=tools, placement=Placement(privacy=asked, regions=regions)
    )
    ranking = rank(rows, profile)
    for f in ranking.ordered:
        assert f.row.privacy >= asked
        assert f.row.capabilities
        assert not regions or region_matches(f.row.region, regions)
    assert len(ranking.ordered) + len(ranking.dropped) == len(rows)


@given(st.lists(facts, min_size=1, max_size=8), st.integers(0, 1000))
def test_equal_inputs_give_equal_decisions_for_a_seed(fleet: list[Fact], seed: int) -> None:
    """A decision is a function of request, rows, time and random numbers."""
    rows = [row(f"b{n}", bandwidth=b, usd=u, busy=k) for n, (b, u, k) in enumerate(fleet)]
    first = [f.row.id for f in rank(rows, seed=seed).ordered]
    assert first == [f.row.id for f in rank(rows, seed=seed).ordered]


@given(st.lists(facts, min_size=1, max_size=8), st.sampled_from([0.0001, 0.05, 2.0]))
def test_what_meets_the_slo_comes_before_what_does_not(fleet: list[Fact], ttft_s: float) -> None:
    """The choice is feasible whenever anything is, and so are the fallbacks before the infeasible ones."""
    rows = [row(f"b{n}", bandwidth=b, usd=u, busy=k) for n, (b, u, k) in enumerate(fleet)]
    profile = RequestProfile(
        request_id="r", model="m", input_tokens=100.0, max_output_tokens=200, slo=Slo(ttft_s=ttft_s)
    )
    ranking = rank(rows, profile)
    flags = [f.feasible for f in ranking.ordered]
    if any(flags):
        assert flags == sorted(flags, reverse=True)
    assert ranking.slo_infeasible == (not any(flags))


def test_a_session_stays_with_one_of_the_near_ties() -> None:
    """Equal backends share sessions, and each session always gets the same one."""
    rows = [row(f"b{n}") for n in range(4)]
    chosen = {}
    for n in range(200):
        profile = RequestProfile(request_id="r", model="m", input_tokens=100.0, session_key=f"s{n}")
        picks = {rank(rows, profile, seed=seed).ordered[0].row.id for seed in range(3)}
        assert len(picks) == 1
        chosen[n] = picks.pop()
    counts = [sum(c == f"b{n}" for c in chosen.values()) for n in range(4)]
    assert min(counts) > 25


def test_near_ties_are_shared_and_clear_winners_are_not() -> None:
    """Two equal backends each get about half; one that is ten times dearer gets nothing."""
    rows = [row("a"), row("b"), row("dear", usd=100.0)]
    chosen = [rank(rows, seed=seed).ordered[0].row.id for seed in range(400)]
    assert 150 < chosen.count("a") < 250
    assert "dear" not in chosen


def test_load_moves_traffic_away() -> None:
    """A backend whose slots are all taken loses to an idle one that is dearer."""
    rows = [row("busy", usd=0.1, busy=200), row("idle", usd=0.4)]
    assert rank(rows).ordered[0].row.id == "idle"


def test_an_unknown_price_never_passes_a_cost_cap() -> None:
    """Unknown is not zero."""
    unknown = row("a")
    unknown.price_known = False
    profile = RequestProfile(request_id="r", model="m", max_cost_usd=1.0)
    assert not rank([unknown], profile).ordered
    assert rank([unknown], replace(profile, max_cost_usd=None)).ordered


@given(st.lists(facts, min_size=1, max_size=60), st.sampled_from([0.0001, 0.02, 2.0]))
def test_the_fallbacks_that_may_be_tried_are_in_order(fleet: list[Fact], ttft_s: float) -> None:
    """Behind the choice stand the best others, feasible ones first, each once; nobody is lost."""
    rows = [row(f"b{n}", bandwidth=b, usd=u, busy=k) for n, (b, u, k) in enumerate(fleet)]
    profile = RequestProfile(request_id="r", model="m", input_tokens=100.0, slo=Slo(ttft_s=ttft_s))
    ordered = rank(rows, profile).ordered
    assert sorted(f.row.id for f in ordered) == sorted(r.id for r in rows)
    head = [f.rank_usd for f in ordered[1 : 1 + picker.SORTED]]
    assert head == sorted(f.rank_usd for f in ordered[1:])[: picker.SORTED]


def test_an_unknown_price_counts_as_a_dear_one_whoever_else_is_there() -> None:
    """A backend without a price does not draw the traffic for being free, and its cost is its own."""
    unpriced = row("unpriced")
    unpriced.price_known = False
    unpriced.input_usd = unpriced.output_usd = 0.0
    ordered = rank([unpriced, row("cheap", usd=0.1), row("dear", usd=20.0)]).ordered
    costs = {f.row.id: f.cost_usd for f in ordered}
    assert costs["unpriced"] > costs["dear"] > costs["cheap"]
    assert ordered[0].row.id == "cheap"
    assert rank([unpriced, row("cheap", usd=0.1)]).ordered[1].cost_usd == costs["unpriced"]


def test_when_nobody_can_the_nearest_is_chosen() -> None:
    """An objective far out of reach still goes to the backend that misses it by least, not to the cheapest."""
    rows = [row("slow", bandwidth=2e11, usd=0.01), row("fast", bandwidth=2e13, usd=5.0)]
    profile = RequestProfile(request_id="r", model="m", input_tokens=100.0, slo=Slo(ttft_s=1e-3))
    ranking = rank(rows, profile)
    assert ranking.slo_infeasible
    assert ranking.ordered[0].row.id == "fast"
