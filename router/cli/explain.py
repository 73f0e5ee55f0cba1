"""`explain`: what `generate` would do with the same options, and why, without doing it."""

from __future__ import annotations

from typing import Any

import click

from router.cli.cost_table import show_costs
from router.cli.options import SECONDS
from router.cli.request import build_request, request_options
from router.cli.rpc import EXIT_FAILED, address_option, connected, inference_stub, json_option
from router.cli.show import dollars, enum_name, hardware, print_message, print_table, seconds
from router.v1 import common_pb2
from router.v1 import inference_pb2 as pb


@click.command()
@request_options
@click.option("--why-not", metavar="BACKEND", default="", help="What would have to change for it to be chosen.")
@click.option("--timeout", **SECONDS, help="Deadline that the request would have. Default: none.")
@address_option
@json_option
def explain(*, address: str, as_json: bool, why_not: str, timeout: float | None, **options: Any) -> None:
    """Shows every candidate for PROMPT with its objective term by term, and who was dropped and why.

    Exit code 1 when nothing could serve the request.
    """
    request = build_request(options)
    with connected(address, as_json=as_json) as channel:
        response = inference_stub(channel).Explain(
            pb.ExplainRequest(request=request, why_not_backend=why_not), timeout=timeout
        )
    if as_json:
        print_message(response)
    else:
        show_decision(response.decision)
        if response.why_not:
            click.echo(f"Why not {why_not}: {response.why_not}")
    if not response.decision.backend:
        raise SystemExit(EXIT_FAILED)


def show_decision(decision: common_pb2.Decision) -> None:
    """The decision as two tables."""
    chosen = f"Chosen: {decision.backend} ({decision.model})." if decision.backend else "Refused:"
    click.echo(f"{chosen} {decision.why}".rstrip())
    if decision.slo_infeasible:
        click.echo("No backend is likely enough to meet the SLO.")
    names = list(dict.fromkeys(term.name for candidate in decision.candidates for term in candidate.terms))
    cached = ["cached"] if any(c.prediction.cached_tokens for c in decision.candidates) else []
    if decision.candidates:
        print_table(
            f"Candidates, class {decision.workload_class or '-'}; terms in dollars, least total first choice",
            ["#", "backend", "hardware", "model", *cached, "TTFT", "TPOT", "p(SLO)", *names, "total"],
            [_row(n, candidate, cached, names) for n, candidate in enumerate(decision.candidates, start=1)],
            right=",".join(["#", *cached, "TTFT", "TPOT", "p(SLO)", *names, "total"]),
        )
    if decision.candidates:
        show_costs(decision.candidates)
    if decision.drops:
        print_table(
            "Dropped",
            ["backend", "hardware", "reason", "detail"],
            [(drop.backend, hardware(drop.hardware), drop.reason, drop.detail) for drop in decision.drops],
        )
    sources = {
        enum_name(common_pb2.EstimateSource.Name(c.prediction.source), "ESTIMATE_SOURCE_") for c in decision.candidates
    }
    click.echo(
        f"Decided in {seconds(decision.decision_time_s)} on snapshot {decision.snapshot_version},"
        f" {decision.snapshot_age_s:.2f} s old; estimates: {', '.join(sorted(sources)) or '-'}."
    )


def _row(rank: int, candidate: common_pb2.CandidateReport, cached: list[str], names: list[str]) -> list[str]:
    prediction = candidate.prediction
    probability = prediction.probability_ttft * prediction.probability_tpot * prediction.probability_e2e
    terms = {term.name: term.usd for term in candidate.terms}
    return [
        str(rank),
        candidate.backend,
        hardware(candidate.hardware),
        candidate.model,
        *(f"{prediction.cached_tokens:.0f} tok" for _ in cached),
        seconds(prediction.ttft.mean),
        seconds(prediction.tpot.mean),
        f"{probability:.2f}{'' if candidate.slo_feasible else ' !'}",
        *(dollars(terms.get(name, 0.0)) for name in names),
        dollars(candidate.objective_usd),
    ]
