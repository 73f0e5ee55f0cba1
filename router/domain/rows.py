"""The decision's working values: one `Row` per (backend, model), prepared when a snapshot is made.

These are plain classes with typed attributes, not dataclasses: a decision touches every row that could serve, and
this form compiles to native code unchanged. `Live` and `Learned` are the only mutable state; each has one owner in
`dispatch`, and a row keeps pointing at the same two objects across snapshots.
"""

from __future__ import annotations

import math
from typing import Final

from router.domain.fleet import Backend, Capability, Health, HealthState, Parameter
from router.domain.grid import Grid
from router.domain.hardware import Hardware, Model
from router.domain.learned import Learned
from router.domain.length import Length
from router.domain.live import Live
from router.domain.price_tiers import BATCH
from router.domain.pricing import Price
from router.domain.quality import Quality
from router.domain.rates import JOULES_PER_KWH, SECONDS_PER_HOUR, Rate, rates_of
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


# Joules at a building's meter for one joule of an accelerator, where nothing is known of the place (DECISION 2.4).
AT_THE_WALL: Final = (1.0 + 0.4) * 1.2
ANY_PARAMETER: Final = parameter_mask(frozenset(Parameter))
NOWHERE: Final[dict[str, float]] = {}
UNKNOWN_LENGTH: Final = Length(0.0)


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
        quality: Quality | None = None,
        at_the_wall: float = AT_THE_WALL,
        grid: Grid | None = None,
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
        known = catalogue_model.quality if catalogue_model is not None else ()
        self.quality = quality if quality is not None else Quality(known)
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
        self.usd_per_s = (price.usd_per_hour or 0.0) / SECONDS_PER_HOUR if price is not None else 0.0
        self.elastic = price.elastic_fraction if price is not None else 1.0
        self.usd_per_joule = price.electricity_usd_per_kwh / JOULES_PER_KWH if price is not None else 0.0
        self.rates: dict[str, list[Rate]] = rates_of(price)
        # The one row that most prices have, so that the common case looks nothing up.
        self.has_context_tiers = len(self.rates[""]) > 1
        base = self.rates[""][-1]
        self.input_usd = base.input_usd
        self.cached_usd = base.cached_usd
        self.cache_write_usd = base.cache_write_usd
        self.output_usd = base.output_usd
        self.request_usd = (price.request_usd or 0.0) if price is not None else 0.0
        self.preemptions_per_s = price.preemptions_per_hour / SECONDS_PER_HOUR if price is not None else 0.0
        self.restart_usd = price.restart_usd if price is not None else 0.0
        self.at_the_wall = at_the_wall
        self.grid = grid or Grid()
        self.watts = hardware.tdp_w * backend.hardware_count

    def rate(self, service: str, prompt_tokens: float) -> Rate:
        """What tokens cost in a service for a prompt of this length; the standard rate where it has no such service."""
        table = self.rates.get(service)
        if table is None:
            table = self.rates[""]
        for rate in table:
            if prompt_tokens > rate.above_tokens:
                return rate
        return table[-1]


class Shape:
    """One request in the numbers that predicting and scoring need; an SLO that was not asked for is infinite.

    `*_probability` is how likely each objective has to be met, `probability` where nothing is said of one apart.
    `headroom`: what is expected beyond this share of an objective is tight; infinite where nothing is said.
    `money_multiplier` is what a dollar counts for a tenant who spends faster than its budget lasts. `explore`: this
    request may be sent to a backend of which too little is known. `now` is on the router's monotonic clock,
    `state_age_s` the age of the shared state. `cached_on` holds the cached prompt tokens by backend where they are
    known, `cached_tokens` stands for the others; `seed` is what keeps requests that are alike on one of equal backends;
    `tenant` and `workload` say whose answers this one may be like.
    """

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
        service_tier: str = "",
        ttft_probability: float = -1.0,
        tpot_probability: float = -1.0,
        e2e_probability: float = -1.0,
        headroom: float = math.inf,
        money_multiplier: float = 1.0,
        explore: bool = False,
        now: float = 0.0,
        state_age_s: float = 0.0,
        cached_on: dict[str, float] = NOWHERE,
        tenant: str = "",
        workload: str = "",
        seed: str = "",
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
        # Of the prices that a backend has, the one that this request is to be charged by.
        self.service = service_tier or (BATCH if batch else "")
        self.ttft_probability = ttft_probability if ttft_probability >= 0.0 else probability
        self.tpot_probability = tpot_probability if tpot_probability >= 0.0 else probability
        self.e2e_probability = e2e_probability if e2e_probability >= 0.0 else probability
        self.headroom = headroom
        self.money_multiplier = money_multiplier
        self.explore = explore
        self.now = now
        self.state_age_s = state_age_s
        self.cached_on = cached_on
        self.tenant = tenant
        self.workload = workload
        self.seed = seed


class Forecast:
    """What one row is expected to do with one request, and its score; the raw form of a `Candidate`.

    `*_sd` and `*_var` are of the logarithm; times are means in seconds, money is dollars, energy joules, carbon grams.
    `prior_*` are what the prior alone says, `prompt_tokens` those to prefill before the first token, others' included.
    `fresh_tokens` are those of the prompt that no cache holds; `prefill_pace` is how much longer a prompt takes than
    the prior says. `rank_usd` is the objective, with a surcharge beyond any price where another tier comes first:
    `tier` 0 meets every objective likely enough, 1 all but the end-to-end one, 2 the first token's, 3 and above none.
    `crowded`: behind its equals, see `objective.crowded`.
    """

    def __init__(self, row: Row) -> None:
        self.row = row
        self.batch = 0.0
        self.length = UNKNOWN_LENGTH
        self.prior_ttft_s = 0.0
        self.prior_tpot_s = 0.0
        self.prompt_tokens = 0.0
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
        self.service = ""
        self.fresh_tokens = 0.0
        self.prefill_pace = 1.0
        self.cost_usd = 0.0
        self.cost_p90_usd = 0.0
        self.cost_marginal_usd = 0.0
        self.cost_amortised_usd = 0.0
        self.rent_usd = 0.0
        self.preemption_usd = 0.0
        self.energy_j = 0.0
        self.carbon_g = 0.0
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
        self.worth_usd_per_s = 0.0
        self.carbon_usd = 0.0
        self.explore_usd = 0.0
        self.tier = 0
        self.crowded = False
        self.objective_usd = 0.0
