"""How the fleet of config/ is emulated."""

from __future__ import annotations

from pathlib import Path

from router.prediction.physics import speed
from router.settings import load
from simulation.fleet import describe

SETTINGS = load(Path(__file__).parents[3] / "config", {})
BACKENDS = {backend.id: backend for backend in SETTINGS.seed.backends}


def test_the_truth_is_near_the_catalogue_but_is_not_it() -> None:
    """Each model's speed is off by a factor of its own that the seed decides, of about twenty per cent."""
    backend = BACKENDS["h100-vllm"]
    first, again = (describe(backend, SETTINGS.catalogue, seed=3) for _ in range(2))
    other = describe(backend, SETTINGS.catalogue, seed=4)
    factors = [model.tpot_error for spec in (first, other) for model in spec.engine.models.values()]
    assert len(set(factors)) == 4
    assert all(0.4 < factor < 2.5 for factor in factors)
    assert [m.tpot_error for m in first.engine.models.values()] == [m.tpot_error for m in again.engine.models.values()]


def test_a_backend_has_its_slots_and_a_memory_that_its_weights_have_left() -> None:
    """Slots, context windows and cache memory are the backend's, and a hosted one has no memory of its own."""
    spec = describe(BACKENDS["h100-vllm"], SETTINGS.catalogue)
    assert spec.engine.slots == BACKENDS["h100-vllm"].max_concurrency
    assert spec.context_tokens["llama-3.3-70b"] == 32768
    assert spec.engine.kv_bytes is not None
    assert 100e9 < spec.engine.kv_bytes < 150e9
    assert describe(BACKENDS["hosted-api"], SETTINGS.catalogue).engine.kv_bytes is None


def test_passing_a_gateway_is_latency_and_no_work() -> None:
    """A fixed time to the first token delays each request but does not occupy the chip."""
    backend = BACKENDS["groq-lpu"]
    hardware = SETTINGS.catalogue.hardware[backend.hardware]
    spec = describe(backend, SETTINGS.catalogue)
    served = backend.models[0]
    prior = speed(
        SETTINGS.catalogue.models[served.model],
        hardware,
        count=backend.hardware_count,
        bytes_per_weight=served.bytes_per_weight or 2,
    )
    on_chip = spec.engine.models[served.name_upstream].speed
    assert on_chip.prefill_s(100) < prior.prefill_s(100) - 0.9 * hardware.fixed_ttft_s
    assert spec.engine.latency_s > backend.network_rtt_s


def test_every_answer_is_labelled() -> None:
    """Each emulated backend calls itself emulated."""
    emulated = [backend for backend in BACKENDS.values() if backend.emulated]
    assert len(emulated) >= 7
    assert all("(emulated)" in describe(backend, SETTINGS.catalogue).label for backend in emulated)
