"""Where each workload class goes on the shipped fleet, why, and what moves it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.dispatch.decider import Decider
from router.domain.decision import DropReason
from router.errors import NoEndpoint
from tests.unit.dispatch.deciding import Site, asked, shipped

MODEL = "llama-3.1-8b"
FAST = {"lpu", "wafer"}
DRAWS = range(20)


def kind(site: Site, backend: str) -> str:
    """What the backend's hardware is."""
    return site.fleet.catalogue.hardware[site.backends[backend].hardware].kind


def dearer(site: Site, backend: str, factor: float) -> None:
    """Every charge of a backend, and its electricity, times a factor."""
    for key, price in site.prices.items():
        if key[0] == backend:
            site.prices[key] = replace(
                price.scaled(factor), electricity_usd_per_kwh=price.electricity_usd_per_kwh * factor
            )
    site.apply()


@pytest.mark.parametrize("model", [MODEL, "llama-3.3-70b", "auto"])
def test_realtime_goes_to_an_lpu_or_a_wafer_for_speed(model: str) -> None:
    """Whatever the draw among near-ties, and the sentence gives speed as the reason."""
    for seed in DRAWS:
        site = shipped(seed=seed)
        chosen, why = site.choose(model=model, workload_class="realtime")
        assert kind(site, chosen) in FAST
        assert "for speed: " in why


def test_batch_goes_to_inferentia_for_its_price() -> None:
    """The cheapest that serves the model, though others are faster, and the sentence says both."""
    for seed in DRAWS:
        site = shipped(seed=seed)
        site.decider = without_exploring(site)
        chosen, why = site.choose(model=MODEL, workload_class="batch")
        assert site.backends[chosen].hardware == "inferentia2"
        assert "for price: " in why
        assert "would be faster" in why


@pytest.mark.parametrize("model", [MODEL, "llama-3.3-70b", "auto"])
def test_interactive_goes_to_a_gpu_and_says_what_speaks_against_faster_and_cheaper(model: str) -> None:
    """Neither the fastest nor the cheapest; each is named with what it loses by. Of 70B no other is much cheaper."""
    for seed in DRAWS:
        site = shipped(seed=seed)
        site.decider = without_exploring(site)
        chosen, why = site.choose(model=model, workload_class="interactive")
        assert kind(site, chosen) == "gpu"
        assert "would be faster" in why
        assert model == "llama-3.3-70b" or "would be cheaper" in why


def test_private_stays_on_the_device_for_privacy() -> None:
    """Of a name for several models the one on the device serves, and the sentence says that nothing else may."""
    chosen, why = shipped().choose(model="auto", workload_class="private")
    assert chosen == "device-llamacpp"
    assert why.startswith("for privacy: the only one left that guarantees on_device")


def test_private_is_never_traded_for_price_or_load() -> None:
    """A device that is busy and dear is still the only place; a model that it lacks is refused."""
    site = shipped()
    site.busy("device-llamacpp", 50)
    dearer(site, "device-llamacpp", 1000.0)
    assert site.choose(model="auto", workload_class="private")[0] == "device-llamacpp"
    plan = site.decider.plan(asked(model=MODEL, workload_class="private"))
    with pytest.raises(NoEndpoint) as caught:
        site.decider.require(plan)
    assert {drop.reason for drop in caught.value.drops} >= {DropReason.PRIVACY}


def test_agentic_goes_to_a_model_that_is_good_enough() -> None:
    """Code needs a model beyond the small ones; other tasks of the loop may be served by those as well."""
    site = shipped()
    site.decider = without_exploring(site)
    plan = site.decider.plan(asked(model="auto", workload_class="agentic", task="code"))
    assert {f.row.model for f in plan.ranking.ordered} == {"llama-3.3-70b"}
    plan = site.decider.plan(asked(model="auto", workload_class="agentic", task="chat"))
    assert {f.row.model for f in plan.ranking.ordered} == {MODEL, "llama-3.3-70b"}


@pytest.mark.parametrize(
    ("workload", "usual"),
    [
        ("realtime", ("groq-lpu", "cerebras-wse3")),
        ("batch", ("inferentia2-neuron",)),
        ("interactive", ("h100-vllm", "mi300x-vllm")),
    ],
)
def test_a_price_moves_a_class_and_is_named(workload: str, usual: tuple[str, ...]) -> None:
    """A hundredfold price of where a class goes sends it elsewhere, and the sentence says what it would cost there."""
    site = shipped()
    site.decider = without_exploring(site)
    for backend in usual:
        dearer(site, backend, 300.0)
    chosen, why = site.choose(model=MODEL, workload_class=workload)
    assert chosen
    assert chosen not in usual
    assert "price" in why or "for price" in why or "cheaper" in why


@pytest.mark.parametrize(
    ("workload", "usual"),
    [
        ("realtime", ("groq-lpu", "cerebras-wse3")),
        ("batch", ("inferentia2-neuron",)),
        ("interactive", ("h100-vllm", "mi300x-vllm")),
    ],
)
def test_load_moves_a_class_and_is_named(workload: str, usual: tuple[str, ...]) -> None:
    """A queue where a class goes sends it elsewhere, and the sentence says who has no free slot."""
    site = shipped()
    site.decider = without_exploring(site)
    for backend in usual:
        site.busy(backend, 4 * site.backends[backend].max_concurrency)
    chosen, why = site.choose(model=MODEL, workload_class=workload)
    assert chosen
    assert chosen not in usual
    assert "load: no free slot on" in why
    assert all(backend in why for backend in usual)


def without_exploring(site: Site) -> Decider:
    """The same decider, whose draws never explore."""
    return Decider(fleet=site.fleet, lengths=site.lengths, clock=site.clock, uniform=lambda: 0.5, age=lambda: 0.0)
