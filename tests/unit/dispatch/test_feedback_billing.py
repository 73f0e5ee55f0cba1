"""What an attempt is billed: what was really used, by the same rules as its forecast."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.contract import Chunk, Usage
from backends.scripted import ScriptedBackend
from router.clock import FakeClock
from router.dispatch.feedback import Attempt, Feedback
from router.dispatch.fleet import Fleet
from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend, ServedModel
from router.domain.hardware import Hardware, Model
from router.domain.policies import Policies
from router.domain.pricing import Price, book_of
from router.domain.rows import Shape
from router.domain.snapshot import FleetSnapshot
from router.prediction import predictor
from router.prediction.output_length import OutputLength
from router.telemetry.metrics import Metrics

CATALOGUE = Catalogue(
    hardware={"chip": Hardware(id="chip", name="Chip", kind="hosted", fixed_ttft_s=0.05, fixed_tpot_s=0.01)},
    models={"m": Model(id="m", context_tokens=8192)},
)
LISTED = {"input_usd_per_mtok": 4.0, "output_usd_per_mtok": 10.0}
CACHE = {"cached_input_usd_per_mtok": 1.0, "cache_write_usd_per_mtok": 5.0}


def begin(price: dict[str, float], *, batch: bool = False, cached: float = 0.0) -> Attempt:
    """An attempt with 1,000 tokens in, of which `cached` are expected to be cached, and 100 expected out."""
    clock = FakeClock()
    fleet = Fleet(catalogue=CATALOGUE, build_adapter=ScriptedBackend, clock=clock, policies=Policies())
    backend = Backend(id="a", wire="scripted", address="http://a", models=(ServedModel(model="m"),), hardware="chip")
    book = book_of(Price(backend="a", **price))  # type: ignore[arg-type]  # a test's own keywords
    fleet.apply(FleetSnapshot(version=1, backends={"a": backend}, prices={("a", ""): book}))
    row = fleet.row("a", "m")
    assert row is not None
    shape = Shape(
        input_tokens=1000.0,
        cached_tokens=cached,
        max_output_tokens=100.0,
        expected_output_tokens=100.0,
        ttft_slo_s=math.inf,
        tpot_slo_s=math.inf,
        e2e_slo_s=math.inf,
        probability=0.9,
        batch=batch,
        quality_task="*",
    )
    feedback = Feedback(fleet=fleet, lengths=OutputLength(), metrics=Metrics(), clock=clock)
    attempt = feedback.begin(predictor.forecast(row, shape, 100.0))
    assert attempt is not None
    return attempt


def billed(attempt: Attempt, **usage: int) -> float:
    attempt.take(Chunk(text="x", events=1))
    attempt.take(Chunk(usage=Usage(**usage)))  # type: ignore[arg-type]  # a test's own keywords
    return attempt.close("OK").cost_usd


def test_each_kind_of_token_has_its_price() -> None:
    """Fresh input, cached input, written cache and output are billed at their own prices, and the request at its."""
    attempt = begin(LISTED | CACHE | {"request_usd": 0.01})

    usd = billed(attempt, input=1000, cached_input=300, cache_write_input=200, output=50)

    assert usd == pytest.approx((500 * 4.0 + 300 * 1.0 + 200 * 5.0 + 50 * 10.0) * 1e-6 + 0.01)


@pytest.mark.parametrize(("usage", "usd"), [({"cached_input": 1000}, 0.0045), ({"cache_write_input": 1000}, 0.0045)])
def test_without_a_price_of_its_own_cache_costs_as_input(usage: dict[str, int], usd: float) -> None:
    """Reading and writing a cache cost what input costs where the price list says nothing of them."""
    assert billed(begin(LISTED), input=1000, output=50, **usage) == pytest.approx(usd)


def test_a_batch_request_is_billed_at_its_discount() -> None:
    """The batch discount is of tokens of every kind, not of what a request costs by itself."""
    price = LISTED | {"cache_write_usd_per_mtok": 6.0, "batch_discount": 0.5, "request_usd": 0.01}
    usage = {"input": 1000, "cache_write_input": 500, "output": 50}

    online, batch = billed(begin(price), **usage), billed(begin(price, batch=True), **usage)

    assert online == pytest.approx(0.0055 + 0.01)
    assert batch == pytest.approx(0.00275 + 0.01)


def test_rent_knows_no_batch_discount() -> None:
    """Owned hardware costs its time, whoever asks for a batch."""
    price = {"usd_per_hour": 3.6, "batch_discount": 0.5}
    usage = {"input": 1000, "output": 50}

    assert billed(begin(price, batch=True), **usage) == billed(begin(price), **usage) > 0.0


@given(
    written=st.integers(0, 5000),
    cached=st.integers(0, 5000),
    fed=st.integers(1, 5000),
    output=st.integers(1, 5000),
    batch=st.booleans(),
)
def test_no_count_of_a_backend_makes_a_bill_absurd(
    *, written: int, cached: int, fed: int, output: int, batch: bool
) -> None:
    """Whatever a backend counts, also parts greater than their whole, a bill is neither negative nor above list."""
    attempt = begin(LISTED | CACHE, batch=batch)

    usd = billed(attempt, input=fed, cached_input=cached, cache_write_input=written, output=output)

    assert 0.0 <= usd <= (max(fed, cached) * 5.0 + output * 10.0) * 1e-6 + 1e-12


@pytest.mark.parametrize("batch", [False, True])
def test_a_bill_of_what_was_expected_is_the_forecast(*, batch: bool) -> None:
    """When an attempt uses what was predicted, it costs what was predicted: routing and billing are one rule."""
    attempt = begin(LISTED | CACHE | {"batch_discount": 0.3, "request_usd": 0.02}, batch=batch, cached=400.0)

    usd = billed(attempt, input=1000, cached_input=400, output=100)

    assert usd == pytest.approx(attempt.forecast.cost_usd)


def test_rent_of_what_was_expected_is_the_forecast() -> None:
    """The same for what is paid by the hour."""
    attempt = begin({"usd_per_hour": 3.6})

    assert billed(attempt, input=1000, output=100) == pytest.approx(attempt.forecast.cost_usd)


@pytest.mark.parametrize("price", [LISTED | {"request_usd": 0.01}, {"usd_per_hour": 3.6}])
def test_an_attempt_that_never_began_costs_nothing(price: dict[str, float]) -> None:
    """Refused before the first token: no tokens, no rent, no charge for the request."""
    outcome = begin(price).close("OVERLOADED")

    assert (outcome.cost_usd, outcome.energy_j, outcome.usage.input) == (0.0, 0.0, 0)


def test_what_was_cancelled_half_way_is_billed_as_far_as_it_came() -> None:
    """A caller who leaves pays for the prompt and the tokens that were seen, as an estimate."""
    attempt = begin(LISTED)
    attempt.take(Chunk(text="x", events=7))

    outcome = attempt.close("CANCELLED")

    assert outcome.usage.estimated
    assert outcome.cost_usd == pytest.approx((1000 * 4.0 + 7 * 10.0) * 1e-6)


def test_a_bill_is_made_once() -> None:
    """Closing again changes nothing and is not counted again."""
    attempt = begin(LISTED)
    first = billed(attempt, input=1000, output=50)

    assert attempt.close("CANCELLED").cost_usd == first
    assert attempt._feedback._metrics.registry.get_sample_value("router_cost_usd_total", {"backend": "a"}) == first


def test_an_outcome_tells_what_idle_time_and_emissions_came_to() -> None:
    """Amortised dollars are of the rent and of how busy the backend was; a hosted price has none but itself."""
    owned, hosted = begin({"usd_per_hour": 3.6}), begin(LISTED)
    owned.row.live.utilisation = 0.25
    for attempt in (owned, hosted):
        billed(attempt, input=1000, output=50)
    paid, listed = owned.outcome, hosted.outcome

    assert paid is not None
    assert listed is not None
    assert paid.cost_amortised_usd == pytest.approx(paid.cost_usd / 0.25)
    assert listed.cost_amortised_usd == listed.cost_usd
    assert paid.carbon_g == pytest.approx(paid.energy_j * owned.row.grid.g_per_joule)
