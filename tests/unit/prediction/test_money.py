"""What a request costs: tiers, spot, idle time, slowing others, carbon, and that no price makes nonsense of it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.price_tiers import PriceTier
from router.domain.pricing import Price
from router.prediction.money import bill, preemption_odds, tokens_usd
from router.prediction.predictor import forecast
from router.prediction.sharing import slowed_s, step_slope_s
from router.scheduling.cost_lines import cost_lines
from tests.unit.prediction.rows import MIXTRAL, make_row, make_shape

LISTED = Price(
    backend="a",
    input_usd_per_mtok=1.25,
    cached_input_usd_per_mtok=0.125,
    output_usd_per_mtok=10.0,
    request_usd=0.01,
    tiers=(
        PriceTier(above_tokens=200_000, input_usd_per_mtok=2.5, output_usd_per_mtok=15.0),
        PriceTier(service="flex", factor=0.5),
        PriceTier(service="priority", input_usd_per_mtok=2.5, cached_input_usd_per_mtok=0.25, output_usd_per_mtok=20.0),
    ),
)
SPOT = Price(backend="a", usd_per_hour=3.0, elastic_fraction=0.4, preemptions_per_hour=2.0)
USD = st.floats(0.0, 1e3)
MAYBE = st.none() | USD
TOKENS = st.floats(0.0, 1e6)


@pytest.mark.parametrize(
    ("prompt", "service", "usd"),
    [
        (200_000, "", 200_000 * 1.25e-6 + 1000 * 10e-6),
        (200_001, "", 200_001 * 2.5e-6 + 1000 * 15e-6),
        (1000, "flex", 1000 * 0.625e-6 + 1000 * 5e-6),
        (300_000, "flex", 300_000 * 1.25e-6 + 1000 * 7.5e-6),
        (1000, "priority", 1000 * 2.5e-6 + 1000 * 20e-6),
        (1000, "never heard of", 1000 * 1.25e-6 + 1000 * 10e-6),
    ],
)
def test_a_tier_holds_for_the_whole_request(prompt: int, service: str, usd: float) -> None:
    """Beyond a length every token has the other price; a service that has none is charged as the standard one."""
    row = make_row(LISTED)

    assert tokens_usd(row, service, fresh=prompt, cached=0, written=0, output=1000) == pytest.approx(usd + 0.01)
    assert forecast(row, make_shape(prompt, service_tier=service), 1000.0).cost_usd == pytest.approx(usd + 0.01)


def test_cached_tokens_count_for_the_length_and_keep_their_proportion() -> None:
    """A tier with an input price but none of cached input charges that at the same share of input as before."""
    row = make_row(LISTED)

    usd = tokens_usd(row, "", fresh=1000.0, cached=250_000.0, written=0.0, output=0.0)

    assert usd == pytest.approx(1000 * 2.5e-6 + 250_000 * 0.25e-6 + 0.01)


def test_a_batch_request_has_the_row_for_batches_or_else_the_discount() -> None:
    """The discount holds at every length, and gives way to a row of that name."""
    shape = make_shape(300_000.0, batch=True)
    discount = make_row(replace(LISTED, batch_discount=0.5))
    listed = make_row(
        replace(LISTED, batch_discount=0.5, tiers=(*LISTED.tiers, PriceTier(service="batch", factor=0.9)))
    )

    standard = 300_000 * 2.5e-6 + 100 * 15e-6

    assert forecast(discount, shape, 100.0).cost_usd == pytest.approx(0.5 * standard + 0.01)
    assert forecast(listed, shape, 100.0).cost_usd == pytest.approx(0.9 * standard + 0.01)


def test_a_bill_goes_by_the_length_that_was_counted() -> None:
    """What was thought shorter than the threshold, and was not, is billed as the vendor bills it."""
    thought = forecast(make_row(LISTED), make_shape(190_000.0), 100.0)

    counted = bill(thought, prompt=210_000, cached=0, written=0, output=100, tpot_s=0.01)

    assert counted.cost_usd == pytest.approx(210_000 * 2.5e-6 + 100 * 15e-6 + 0.01)


@given(hazard=st.floats(0.0, 50.0), restart=USD, output=st.floats(1.0, 5000.0))
def test_spot_adds_the_odds_of_doing_it_again(hazard: float, restart: float, output: float) -> None:
    """C + pi / (1 - pi) * C_restart, pi = 1 - exp(-h E[T]); a restart costs the request again and what is listed."""
    price = Price(backend="a", usd_per_hour=3.0)
    plain = forecast(make_row(price), make_shape(), output)
    spot = forecast(make_row(replace(price, preemptions_per_hour=hazard, restart_usd=restart)), make_shape(), output)

    pi = 1.0 - math.exp(-hazard / 3600.0 * plain.e2e_s)

    assert spot.cost_usd == pytest.approx(plain.cost_usd + pi / (1.0 - pi) * (plain.cost_usd + restart), rel=1e-6)
    assert dict(cost_lines(spot)).get("preemption", 0.0) == pytest.approx(spot.cost_usd - plain.cost_usd, abs=1e-12)


def test_no_hazard_is_without_bounds() -> None:
    """A capacity that is taken away every millisecond is dear, not infinite or an error."""
    row = make_row(Price(backend="a", usd_per_hour=3.0, preemptions_per_hour=3.6e6))

    assert math.isfinite(preemption_odds(row, 1e9))


@given(batch=st.integers(1, 32), prompts=st.floats(0.0, 5000.0), busy=st.floats(0.06, 1.0))
def test_amortised_costs_add_up_to_the_rent(batch: int, prompts: float, busy: float) -> None:
    """What all pay of a replica that is busy `busy` of the time is its rent: no more, no less."""
    row = make_row(Price(backend="a", usd_per_hour=3.6), max_concurrency=32)
    row.live.in_flight = batch - 1
    row.live.utilisation = busy

    one = forecast(row, make_shape(prompts), 300.0)

    # `batch` such requests take the replica for their prefills one after another and their steps together.
    work_s = row.speed.prefill_s(prompts) - row.speed.prefill_base_s
    together_s = batch * one.prefill_pace * work_s + 300.0 * one.tpot_s
    assert batch * one.cost_amortised_usd == pytest.approx(3.6 / 3600.0 * together_s / busy)


def test_an_idle_backend_is_not_charged_for_all_of_its_past() -> None:
    """The floor of utilisation is a twentieth."""
    row = make_row(Price(backend="a", usd_per_hour=3.6))
    row.live.utilisation = 0.05
    at_floor = forecast(row, make_shape(), 100.0).cost_amortised_usd
    row.live.utilisation = 0.0

    assert forecast(row, make_shape(), 100.0).cost_amortised_usd == at_floor


@pytest.mark.parametrize("elastic", [0.0, 0.3, 1.0])
def test_routing_counts_the_elastic_share_of_rent_and_electricity_for_the_rest(elastic: float) -> None:
    """Paid hardware costs its electricity only; what is rented by the second its rent; utilisation changes neither."""
    price = Price(backend="a", usd_per_hour=3.6, elastic_fraction=elastic, electricity_usd_per_kwh=0.1)
    row = make_row(price)

    found = forecast(row, make_shape(), 100.0)
    row.live.utilisation = 0.05
    idle = forecast(row, make_shape(), 100.0)

    electricity = found.energy_j / 3.6e6 * 0.1
    assert found.cost_marginal_usd == pytest.approx(electricity)
    assert found.cost_usd == pytest.approx(elastic * found.rent_usd + (1.0 - elastic) * electricity)
    assert idle.cost_usd == found.cost_usd
    assert idle.cost_amortised_usd > found.cost_amortised_usd


@pytest.mark.parametrize("model", [None, MIXTRAL], ids=["dense", "mixture of experts"])
@pytest.mark.parametrize("batch", [1.0, 4.0, 20.0])
def test_the_slope_of_a_step_is_that_of_the_prior(model: object, batch: float) -> None:
    """Beta is d tau / db: the prior's own steps, a hair apart, say the same."""
    row = make_row(model=MIXTRAL) if model is not None else make_row()
    hair = 1e-4

    slope = (row.speed.tpot_s(batch + hair, 900.0) - row.speed.tpot_s(batch, 900.0)) / hair

    assert step_slope_s(row, batch, 900.0) == pytest.approx(slope, rel=1e-3)


def test_slowing_others_is_longer_steps_and_a_prefill_in_between() -> None:
    """D = b beta o + b 0.5 t_pf in user-seconds; nobody is slowed where nobody is, nor by what waits for a slot."""
    row = make_row(max_concurrency=16)
    beta = row.speed.slope_s(1000.0 + 0.5 * 200.0)
    prefill = row.speed.prefill_s(1000.0) - row.speed.prefill_base_s

    def slowed(batch: float) -> float:
        return slowed_s(row, context_tokens=1100.0, fresh=1000.0, output_tokens=200.0, batch=batch)

    assert slowed(0.0) == 0.0
    assert slowed(7.0) == pytest.approx(7.0 * (beta * 200.0 + 0.5 * prefill))
    assert slowed(64.0) == slowed(16.0)
    row.live.in_flight = 7
    assert forecast(row, make_shape(), 200.0).slowed_s == pytest.approx(slowed(7.0))


def test_carbon_is_the_energy_at_the_wall_times_the_grid() -> None:
    """A kilowatt-hour at 430 g emits 430 g; the hour can turn it without a new row."""
    row = make_row(Price(backend="a", usd_per_hour=1.0), g_per_kwh=430.0)

    found = forecast(row, make_shape(), 100.0)
    row.grid.set(215.0)

    assert found.carbon_g == pytest.approx(found.energy_j / 3.6e6 * 430.0)
    assert forecast(row, make_shape(), 100.0).carbon_g == pytest.approx(found.carbon_g / 2.0)


def test_a_slower_prompt_takes_more_rent_and_energy() -> None:
    """A prefill pace that was learnt is in money and energy, as a decoding pace is."""
    row = make_row(Price(backend="a", usd_per_hour=1.0))
    one = forecast(row, make_shape(10_000.0), 10.0)
    bills = []
    for pace in (1.0, 2.0):
        one.prefill_pace = pace
        bills.append(bill(one, prompt=10_000, cached=0, written=0, output=10, tpot_s=one.tpot_s))

    assert bills[1].cost_usd > 1.5 * bills[0].cost_usd
    assert bills[1].energy_j > 1.5 * bills[0].energy_j


@given(
    fed=USD, cached=MAYBE, written=MAYBE, made=USD, fee=MAYBE,
    tiers=st.lists(
        st.builds(
            PriceTier,
            service=st.sampled_from(["", "flex"]),
            above_tokens=st.sampled_from([10, 1000, 100_000]),
            factor=st.floats(0.0, 10.0),
            input_usd_per_mtok=MAYBE,
            cached_input_usd_per_mtok=MAYBE,
            output_usd_per_mtok=MAYBE,
        ),
        max_size=4,
        unique_by=lambda tier: tier.key,
    ),
    service=st.sampled_from(["", "flex", "batch"]),
    prompt=TOKENS, share=st.floats(0.0, 1.0), output=TOKENS, more=st.floats(0.0, 1e5),
)  # fmt: skip
def test_costs_are_never_negative_and_grow_with_the_answer(
    *, fed: float, cached: float | None, written: float | None, made: float, fee: float | None,
    tiers: list[PriceTier], service: str, prompt: float, share: float, output: float, more: float,
) -> None:  # fmt: skip
    """Whatever a price lists, a longer answer is no cheaper, and nothing earns money."""
    price = Price(
        backend="a", input_usd_per_mtok=fed, cached_input_usd_per_mtok=cached, cache_write_usd_per_mtok=written,
        output_usd_per_mtok=made, request_usd=fee, batch_discount=0.5, tiers=tuple(tiers),
    )  # fmt: skip
    row = make_row(price)

    def usd(output: float) -> float:
        return tokens_usd(row, service, fresh=prompt * (1 - share), cached=prompt * share, written=0, output=output)

    assert 0.0 <= usd(output) <= usd(output + more) * (1.0 + 1e-12)


@given(fed=USD, made=USD, dearer=st.floats(1.0, 100.0), prompt=TOKENS, output=TOKENS)
def test_a_dearer_price_never_makes_a_request_cheaper(
    fed: float, made: float, dearer: float, prompt: float, output: float
) -> None:
    """Each price by itself raises what a request costs, and leaves it where nothing of that kind is used."""
    price = Price(backend="a", input_usd_per_mtok=fed, output_usd_per_mtok=made)

    def usd(**amounts: float) -> float:
        row = make_row(replace(price, **amounts))  # type: ignore[arg-type]  # amounts of a price
        return tokens_usd(row, "", fresh=prompt, cached=0.0, written=0.0, output=output)

    assert usd(input_usd_per_mtok=fed * dearer) >= usd()
    assert usd(output_usd_per_mtok=made * dearer) >= usd()
    assert usd(request_usd=dearer) >= usd()


@given(
    fed=st.floats(0.001, 1e3), cached=st.none() | st.floats(0.0, 1.0), own=st.none() | st.floats(0.0, 1e3),
    factor=st.floats(0.0, 10.0), service=st.sampled_from(["", "flex"]), prompt=TOKENS,
)  # fmt: skip
def test_what_is_cached_is_never_dearer_than_what_is_fresh(
    *, fed: float, cached: float | None, own: float | None, factor: float, service: str, prompt: float
) -> None:
    """Unless the price says so itself: no tier turns a cheaper cache into a dearer one."""
    price = Price(
        backend="a",
        input_usd_per_mtok=fed,
        cached_input_usd_per_mtok=None if cached is None else fed * cached,
        output_usd_per_mtok=1.0,
        tiers=(PriceTier(service=service, above_tokens=500, factor=factor, input_usd_per_mtok=own),),
    )
    row = make_row(price)

    fresh = tokens_usd(row, service, fresh=prompt, cached=0.0, written=0.0, output=0.0)
    read = tokens_usd(row, service, fresh=0.0, cached=prompt, written=0.0, output=0.0)

    assert read <= fresh * (1.0 + 1e-9)


@given(
    price=st.sampled_from([LISTED, SPOT]),
    service=st.sampled_from(["", "flex", "batch"]),
    prompt=st.floats(1.0, 4e5),
    share=st.floats(0.0, 1.0),
)  # fmt: skip
def test_the_lines_of_a_cost_add_up_to_it(price: Price, service: str, prompt: float, share: float) -> None:
    """What `explain` shows of a cost is all of it."""
    shape = make_shape(prompt, cached_tokens=prompt * share, service_tier=service)
    found = forecast(make_row(price), shape, 300.0)

    assert sum(usd for _, usd in cost_lines(found)) == pytest.approx(found.cost_usd)
