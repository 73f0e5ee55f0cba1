"""What the router says about itself beside OpenAI's fields: the `router` object of an answer.

What cannot be estimated is an infinity here and null in the JSON, which is how msgspec writes it.
"""

from __future__ import annotations

from router.domain.decision import Candidate, Decision, Drop
from router.domain.outcome import Outcome

Json = dict[str, object]


def outcome_report(outcome: Outcome, candidate: Candidate, decision: Decision | None, *, explain: bool) -> Json:
    """Who answered, on what, at which price and speed; with `explain` also who else could have."""
    report: Json = {
        "request_id": outcome.request_id,
        "decision_id": decision.id if decision is not None else outcome.request_id,
        "backend": candidate.backend,
        "model": candidate.model,
        "upstream_model": candidate.upstream_model,
        "hardware": str(candidate.hardware),
        "emulated": candidate.hardware.emulated,
        "region": candidate.region,
        "cost_usd": outcome.cost_usd,
        "energy_j": outcome.energy_j,
        "ttft_s": outcome.ttft_s,
        "tpot_s": outcome.tpot_s,
        "e2e_s": outcome.e2e_s,
        "routing_s": outcome.routing_s,
        "attempts": [
            {"backend": attempt.backend, "result": attempt.result, "duration_s": attempt.duration_s}
            for attempt in outcome.attempts
        ],
    }
    if outcome.stop_sequence:
        report["stop_sequence"] = outcome.stop_sequence
    if outcome.usage.estimated:
        report["usage_estimated"] = True
    if explain and decision is not None:
        report["decision"] = decision_report(decision)
    return report


def decision_report(decision: Decision) -> Json:
    """The whole decision: each candidate's numbers, and why the others were dropped."""
    return {
        "id": decision.id,
        "why": decision.why,
        "workload_class": decision.workload_class,
        "slo_infeasible": decision.slo_infeasible,
        "snapshot_version": decision.snapshot_version,
        "snapshot_age_s": decision.snapshot_age_s,
        "decision_time_s": decision.decision_time_s,
        "candidates": [_candidate(candidate) for candidate in decision.ranked],
        "drops": [_drop(drop) for drop in decision.drops],
    }


def _candidate(candidate: Candidate) -> Json:
    prediction = candidate.prediction
    return {
        "backend": candidate.backend,
        "model": candidate.model,
        "hardware": str(candidate.hardware),
        "emulated": candidate.hardware.emulated,
        "region": candidate.region,
        "privacy": candidate.privacy.name.lower(),
        "objective_usd": candidate.objective_usd,
        "terms_usd": dict(candidate.terms),
        "slo_feasible": candidate.slo_feasible,
        "in_flight": candidate.in_flight,
        "predicted": {
            "ttft_s": prediction.ttft_s,
            "ttft_p90_s": prediction.ttft_p90_s,
            "tpot_s": prediction.tpot_s,
            "tpot_p90_s": prediction.tpot_p90_s,
            "e2e_s": prediction.e2e_s,
            "e2e_p90_s": prediction.e2e_p90_s,
            "cached_tokens": prediction.cached_tokens,
            "p_ttft": prediction.p_ttft,
            "p_tpot": prediction.p_tpot,
            "p_e2e": prediction.p_e2e,
            "input_tokens": prediction.input_tokens,
            "output_tokens": prediction.output_tokens,
            "cost_usd": prediction.cost_usd,
            "cost_p90_usd": prediction.cost_p90_usd,
            "cost_marginal_usd": prediction.cost_marginal_usd,
            "cost_amortised_usd": prediction.cost_amortised_usd,
            "cost_lines_usd": dict(prediction.cost_lines),
            "energy_j": prediction.energy_j,
            "carbon_g": prediction.carbon_g,
            "source": prediction.source.value,
            "observations": prediction.observations,
        },
    }


def _drop(drop: Drop) -> Json:
    return {
        "backend": drop.backend,
        "hardware": str(drop.hardware),
        "reason": drop.reason.value,
        "detail": drop.detail,
    }
