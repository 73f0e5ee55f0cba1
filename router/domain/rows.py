"""The decision's working values: one `Row` per (backend, model), prepared when a snapshot is made.

These are plain classes with typed attributes, not dataclasses: a decision touches every row that could serve, and
this form compiles to native code unchanged. `Live` and `Learned` are the only mutable state; each has one owner in
`dispatch`, and a row keeps pointing at the same two objects across snapshots.
"""

from __future__ import annotations

import math
from typing import Final

from router.domain.fleet import Backend, Capability, Health, HealthState, Parameter
from router.domain.hardware import Hardware, Model
from router.domain.pricing import Price

CAPABILITY_BIT: Final[dict[Capability, int]] = {capability: 1 << n for n, capability in enumerate(Capability)}
# Above the capabilities, so that one comparison holds a request against both.
PARAMETER_BIT: Final[dict[Parameter, int]] = {
    parameter: 1 << (len(CAPABILITY_BIT) + n) for n, parameter in enumerate(Parameter)
}
EVERYTHING: Final = (1 << (len(CAPABILITY_BIT) + len(PARAMETER_BIT))) - 1
NEVER: Final = -1.0e18


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


class Speed:
    """The prior of one (model, accelerator, count) as coefficients, so that a decision only multiplies and adds.

    TPOT(b, ctx) = fixed + weights * touched(b) + b * (sequence + context * ctx), prefill(n) = base + token * n, in
    seconds. `touched` is the share of the weights that a batch of b reads: 1 for a dense model.
    """

    def __init__(
        self,
        *,
        fixed_s: float,
        weights_s: float,
        sequence_s: float,
        context_s: float,
        expert_share: float,
        expert_miss: float,
        prefill_base_s: float,
        prefill_token_s: float,
    ) -> None:
        self.fixed_s = fixed_s
        self.weights_s = weights_s
        self.sequence_s = sequence_s
        self.context_s = context_s
        self.expert_share = expert_share
        self.expert_miss = expert_miss
        self.prefill_base_s = prefill_base_s
        self.prefill_token_s = prefill_token_s

    def tpot_s(self, batch: float, context_tokens: float) -> float:
        """Seconds per output token with `batch` sequences decoding at `context_tokens` each."""
        touched = 1.0
        if self.expert_share > 0.0:
            touched = 1.0 - self.expert_share * self.expert_miss ** max(1.0, batch)
        return self.fixed_s + self.weights_s * touched + batch * (self.sequence_s + self.context_s * context_tokens)

    def prefill_s(self, tokens: float) -> float:
        """Seconds to prefill `tokens` prompt tokens on an idle replica."""
        return self.prefill_base_s + self.prefill_token_s * tokens

    @property
    def prefill_tokens_per_s(self) -> float:
        return 1.0 / self.prefill_token_s if self.prefill_token_s > 0.0 else 1.0e12


class Live:
    """The load and health of one backend as this replica sees it. Times are on the router's monotonic clock.

    What other replicas have in flight there is `others` as they said it last, and since then each of the `peers` (live
    replicas but this one) is taken to have done as this one did: `in_flight` less `in_flight_heard`, which is what this
    one had when the others were heard. With `others` and `in_flight_heard` at 0 that comes to "each as much as I".

    `requests_left` and `tokens_left` are what its vendor said is left of a limit, less what was sent since then; each
    counts until its `*_left_until`. They are apart from `limit_requests` and `limit_tokens`, which are the limits that
    its configuration sets: the tighter of the two decides. `tokens_left_of` says whose tokens they are: "all", or those
    of prompts ("input") or answers ("output") alone.

    `running` and `waiting` are what the engine said at `scraped_at`, negative when it does not say. `elsewhere` is how
    much that was beyond what all routers had in flight there at that moment; below zero when the engine had not seen
    everything yet.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self.in_flight_heard = 0
        self.others = 0.0
        self.peers = 0.0
        self.elsewhere = 0.0
        self.prefill_tokens = 0.0
        self.running = -1.0
        self.waiting = -1.0
        self.kv_cache_usage = -1.0
        self.scraped_at = NEVER
        self.utilisation = 0.5
        self.open_until = NEVER
        self.half_open = False
        self.limited_until = NEVER
        self.limit_requests = -1.0
        self.limit_tokens = -1.0
        self.requests_left = 0.0
        self.requests_left_until = NEVER
        self.tokens_left = 0.0
        self.tokens_left_until = NEVER
        self.tokens_left_of = "all"
        self.failure_rate = 0.02
        self.warming = False
        self.ejected = False
        self.ejected_reason = ""
        self.unusable_reason = ""

    def routed(self) -> float:
        """Sequences that all routers are believed to have in flight there now."""
        own = self.in_flight
        others = self.others + self.peers * (own - self.in_flight_heard)
        return own + others if others > 0.0 else float(own)

    def batch(self) -> float:
        """Sequences that the backend is believed to work on now, waiting ones and those of other callers included."""
        own = self.in_flight
        others = self.others + self.peers * (own - self.in_flight_heard)
        beyond = others + self.elsewhere if others > 0.0 else self.elsewhere
        return own + beyond if beyond > 0.0 else float(own)

    def scraped(self, *, running: float, waiting: float, kv_cache_usage: float, routed: float, at: float) -> None:
        """Takes what the engine said at a time at which all routers had `routed` sequences in flight there."""
        self.running = running
        self.waiting = waiting
        self.kv_cache_usage = kv_cache_usage
        self.scraped_at = at
        self.elsewhere = running + max(0.0, waiting) - routed if running >= 0.0 else 0.0

    def forget_scrape(self) -> None:
        """The engine no longer says."""
        self.scraped(running=-1.0, waiting=-1.0, kv_cache_usage=-1.0, routed=0.0, at=NEVER)


class Learned:
    """How far a (backend, model) is from its prior: a normal belief about the logarithm of observed over predicted.

    `*_noise` is the variance of one observation, `*_var` of the belief itself. What a forecast needs of them is kept:
    `*_factor` (mean of observed over prior), `*_spread` (squared coefficient of variation) and `*_sd` (of the
    logarithm), made anew by `refresh`: a decision reads a belief far more often than an answer changes it.
    """

    def __init__(self, *, prior_sd_log: float) -> None:
        self.prior_var = prior_sd_log * prior_sd_log
        self.ttft_mean = 0.0
        self.ttft_var = self.prior_var
        self.ttft_noise = 0.0625
        self.tpot_mean = 0.0
        self.tpot_var = self.prior_var
        self.tpot_noise = 0.0025
        self.observations = 0
        self.updated_at = NEVER
        self.ttft_factor = 1.0
        self.ttft_spread = 0.0
        self.ttft_sd = 1.0
        self.tpot_factor = 1.0
        self.tpot_spread = 0.0
        self.tpot_sd = 1.0
        self.refresh()

    def refresh(self) -> None:
        """Brings the kept figures up to date."""
        ttft, tpot = self.ttft_var + self.ttft_noise, self.tpot_var + self.tpot_noise
        self.ttft_factor = math.exp(self.ttft_mean + 0.5 * ttft)
        self.ttft_spread = math.exp(ttft) - 1.0
        self.ttft_sd = math.sqrt(ttft)
        self.tpot_factor = math.exp(self.tpot_mean + 0.5 * tpot)
        self.tpot_spread = math.exp(tpot) - 1.0
        self.tpot_sd = math.sqrt(tpot)


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
