"""The decision's working values: one `Row` per (backend, model), prepared when a snapshot is made.

These are plain classes with typed attributes, not dataclasses: a decision touches every row that could serve, and
this form compiles to native code unchanged. `Live` and `Learned` are the only mutable state; each has one owner in
`dispatch`, and a row keeps pointing at the same two objects across snapshots.
"""

from __future__ import annotations

from typing import Final

from router.domain.fleet import Backend, Capability, Health, HealthState, Parameter
from router.domain.hardware import Hardware, Model
from router.domain.learned import Learned
from router.domain.live import Live
from router.domain.pricing import Price
from router.domain.speed import Speed

CAPABILITY_BIT: Final[dict[Capability, int]] = {capability: 1 << n for n, capability in enumerate(Capability)}
# Above the capabilities, so that one comparison holds a request against both.
PARAMETER_BIT: Final[dict[Parameter, int]] = {
    parameter: 1 << (len(CAPABILITY_BIT) + n) for n, parameter in enumerate(Parameter)
}
EVERYTHING: Final = (1 << (len(CAPABILITY_BIT) + len(PARAMETER_BIT))) - 1


def capability_mask(capabilities: frozenset[Capability]) -> int:
    """A bit per capability."""
    mask = 0
    for capability in capabilities:
        mask |= CAPABILITY_BIT[capability]
    return mask


def parameter_mask(parameters: frozenset[Parameter]) -> int:
    """A bit per parameter."""
    mask = 0
    for parameter in parameters:
        mask |= PARAMETER_BIT[parameter]
    return mask


ANY_PARAMETER: Final = parameter_mask(frozenset(Parameter))


class Row:
    """One backend with one of its models: everything about it that a decision reads.

    `family` is what its family can be asked for. Of capabilities the backend must declare what it has of them (a server
    may have been started without); of parameters it has all that its family takes.
    """

    def __init__(
        self,
        *,
        backend: Backend,
        model: str,
        upstream_model: str,
        context_tokens: int,
        catalogue_model: Model | None,
        hardware: Hardware,
        speed: Speed,
        price: Price | None,
        health: Health,
        usable: bool,
        live: Live,
        learned: Learned,
        family: int = EVERYTHING,
    ) -> None:
        self.backend = backend
        self.id = backend.id
        self.model = model
        self.upstream_model = upstream_model
        self.catalogue_model = catalogue_model
        self.hardware = hardware
        self.speed = speed
        self.price = price
        self.live = live
        self.learned = learned
        self.context_tokens = context_tokens
        self.privacy = int(backend.privacy)
        self.region = backend.region
        self.capabilities = (capability_mask(backend.capabilities) | ANY_PARAMETER) & family
        self.max_concurrency = float(max(1, backend.max_concurrency))
        self.network_rtt_s = backend.network_rtt_s
        self.drained = backend.drained
        self.ejected = health.state is HealthState.EJECTED
        self.warming = health.state is HealthState.WARMING
        self.suspect = health.state is HealthState.SUSPECT
        self.usable = usable
        self.price_known = price is not None and price.known
        self.per_hour = price is not None and price.usd_per_hour is not None
        self.usd_per_s = (price.usd_per_hour or 0.0) / 3600.0 if price is not None else 0.0
        self.elastic = price.elastic_fraction if price is not None else 1.0
        self.usd_per_joule = price.electricity_usd_per_kwh / 3.6e6 if price is not None else 0.0
        self.input_usd = ((price.input_usd_per_mtok or 0.0) if price is not None else 0.0) * 1e-6
        self.cached_usd = self.input_usd
        if price is not None and price.cached_input_usd_per_mtok is not None:
            self.cached_usd = price.cached_input_usd_per_mtok * 1e-6
        self.cache_write_usd = self.input_usd
        if price is not None and price.cache_write_usd_per_mtok is not None:
            self.cache_write_usd = price.cache_write_usd_per_mtok * 1e-6
        self.output_usd = ((price.output_usd_per_mtok or 0.0) if price is not None else 0.0) * 1e-6
        self.request_usd = (price.request_usd or 0.0) if price is not None else 0.0
        self.batch_discount = price.batch_discount if price is not None else 0.0
        self.watts = hardware.tdp_w * backend.hardware_count


class Shape:
    """One request in the numbers that predicting and scoring need; an SLO that was not asked for is infinite."""

    def __init__(
        self,
        *,
        input_tokens: float,
        cached_tokens: float,
        max_output_tokens: float,
        expected_output_tokens: float,
        ttft_slo_s: float,
        tpot_slo_s: float,
        e2e_slo_s: float,
        probability: float,
        batch: bool,
        quality_task: str,
    ) -> None:
        self.input_tokens = input_tokens
        self.cached_tokens = cached_tokens
        self.max_output_tokens = max_output_tokens
        self.expected_output_tokens = expected_output_tokens
        self.ttft_slo_s = ttft_slo_s
        self.tpot_slo_s = tpot_slo_s
        self.e2e_slo_s = e2e_slo_s
        self.probability = probability
        self.batch = batch
        self.quality_task = quality_task


class Forecast:
    """What one row is expected to do with one request, and its score; the raw form of a `Candidate`.

    `*_sd` and `*_var` are of the logarithm; times are means in seconds, money is dollars, energy joules. `rank_usd` is
    the objective, with a surcharge beyond any price where another tier comes first.
    """

    def __init__(self, row: Row) -> None:
        self.row = row
        self.batch = 0.0
        self.input_tokens = 0.0
        self.output_tokens = 0.0
        self.ttft_s = 0.0
        self.ttft_sd = 0.0
        self.tpot_s = 0.0
        self.tpot_sd = 0.0
        self.e2e_s = 0.0
        self.e2e_var = 0.0
        self.p_ttft = 1.0
        self.p_tpot = 1.0
        self.p_e2e = 1.0
        self.price_factor = 1.0
        self.cost_usd = 0.0
        self.cost_p90_usd = 0.0
        self.cost_marginal_usd = 0.0
        self.cost_amortised_usd = 0.0
        self.energy_j = 0.0
        self.slowed_s = 0.0
        self.feasible = True
        self.rank_usd = 0.0
        self.money_usd = 0.0
        self.latency_usd = 0.0
        self.first_token_usd = 0.0
        self.slo_usd = 0.0
        self.error_usd = 0.0
        self.energy_usd = 0.0
        self.quality_usd = 0.0
        self.slowed_usd = 0.0
        self.objective_usd = 0.0
