"""Puts a ranking into the form that people and programs read.

Made for the chosen backend and its fallbacks with every request; for all candidates and drops only when somebody asks,
because a decision over many backends would otherwise spend most of its time on words.
"""

from __future__ import annotations

import math
from dataclasses import replace

from router.domain.decision import Candidate, Decision, Drop, EstimateSource, Prediction, label
from router.domain.rows import Forecast
from router.scheduling import filters
from router.scheduling.cost_lines import cost_lines
from router.scheduling.objective import terms
from router.scheduling.reasons import why
from router.scheduling.scheduler import Ranking

P90 = 1.2816
LEARNED_AFTER = 20


def quantile_90(mean: float, sd_log: float) -> float:
    """The 90 % quantile of a log-normal with this mean."""
    return mean * math.exp(P90 * sd_log - 0.5 * sd_log * sd_log)


def candidate(forecast: Forecast) -> Candidate:
    """A forecast in the form that callers read."""
    row = forecast.row
    observations = row.learned.observations
    source = EstimateSource.PRIOR
    if observations:
        source = EstimateSource.LEARNED if observations >= LEARNED_AFTER else EstimateSource.MIXED
    e2e_sd = math.sqrt(forecast.e2e_var)
    return Candidate(
        backend=row.id,
        model=row.model,
        upstream_model=row.upstream_model,
        hardware=label(row.backend, row.hardware),
        region=row.region,
        privacy=row.backend.privacy,
        prediction=Prediction(
            ttft_s=forecast.ttft_s,
            ttft_sd_log=forecast.ttft_sd,
            ttft_p90_s=quantile_90(forecast.ttft_s, forecast.ttft_sd),
            tpot_s=forecast.tpot_s,
            tpot_sd_log=forecast.tpot_sd,
            tpot_p90_s=quantile_90(forecast.tpot_s, forecast.tpot_sd),
            e2e_s=forecast.e2e_s,
            e2e_sd_log=e2e_sd,
            e2e_p90_s=quantile_90(forecast.e2e_s, e2e_sd),
            input_tokens=forecast.input_tokens,
            output_tokens=forecast.output_tokens,
            cost_usd=forecast.cost_usd,
            cost_p90_usd=forecast.cost_p90_usd,
            cost_marginal_usd=forecast.cost_marginal_usd,
            cost_amortised_usd=forecast.cost_amortised_usd,
            energy_j=forecast.energy_j,
            carbon_g=forecast.carbon_g,
            cached_tokens=max(0.0, forecast.input_tokens - forecast.fresh_tokens),
            cost_lines=cost_lines(forecast),
            p_ttft=forecast.p_ttft,
            p_tpot=forecast.p_tpot,
            p_e2e=forecast.p_e2e,
            source=source,
            observations=observations,
        ),
        objective_usd=forecast.objective_usd,
        terms=terms(forecast),
        slo_feasible=forecast.feasible,
        in_flight=forecast.batch,
    )


def _rank(forecast: Forecast) -> float:
    return forecast.rank_usd


def drops(ranking: Ranking) -> tuple[Drop, ...]:
    """Every row that was not considered, with the reason in words."""
    return tuple(
        Drop(
            backend=row.id,
            reason=filters.REASONS[code],
            detail=f"{row.model}: {filters.detail(code, row, ranking.constraints, ranking.now, forecast)}",
            hardware=label(row.backend, row.hardware),
        )
        for row, code, forecast in ranking.dropped
    )


def report(
    ranking: Ranking,
    base: Decision,
    *,
    unserved: tuple[Drop, ...],
) -> Decision:
    """`base` made whole: every candidate, every drop, and the reason in words."""
    return replace(
        base,
        ranked=tuple(candidate(f) for f in [*ranking.ordered[:1], *sorted(ranking.ordered[1:], key=_rank)]),
        drops=drops(ranking) + unserved,
        why=why(ranking),
    )
