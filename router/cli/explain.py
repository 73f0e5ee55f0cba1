"""`explain`: what `generate` would do with the same options, and why, without doing it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from router.cli.options import SECONDS
from router.cli.request import build_request, request_options
from router.cli.rpc import EXIT_FAILED, address_option, connected, inference_stub, json_option
from router.cli.show import dollars, enum_name, hardware, print_message, print_table, seconds
from router.v1 import common_pb2
from router.v1 import inference_pb2 as pb

PAGE = 120
WIDE = 400
Candidates = Sequence[common_pb2.CandidateReport]


@click.command()
@request_options
@click.option("--why-not", metavar="BACKEND", default="", help="What would have to change for it to be chosen.")
@click.option("--wide", is_flag=True, help="All in one table, however wide.")
@click.option("--timeout", **SECONDS, help="Deadline that the request would have. Default: none.")
@address_option
@json_option
def explain(*, address: str, as_json: bool, why_not: str, wide: bool, timeout: float | None, **options: Any) -> None:
    """Shows every candidate for PROMPT: its times, its cost, its objective term by term, and who was dropped and why.

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
        show_decision(response.decision, wide=wide)
        if response.why_not:
            show_why_not(why_not, response)
    if not response.decision.backend:
        raise SystemExit(EXIT_FAILED)


def show_decision(decision: common_pb2.Decision, *, wide: bool = False) -> None:
    """The decision as tables: times, money, the objective, and what was dropped."""
    chosen = f"Chosen: {decision.backend} ({decision.model})." if decision.backend else "Refused:"
    click.echo(f"{chosen} {decision.why}".rstrip())
    if decision.slo_infeasible:
        click.echo("No backend is likely enough to meet the SLO.")
    if decision.candidates:
        parts = [_times(decision.candidates), _money(decision.candidates), _objective(decision.candidates)]
        if wide:
            parts = [_Part("Candidates of class {workload}", [column for part in parts for column in part.columns])]
        names = [_Column("#", lambda n, _: str(n)), _Column("backend", lambda _, c: c.backend, right=False)]
        for part in parts:
            part.show([*names, *part.columns], decision, WIDE if wide else PAGE)
    if decision.drops:
        print_table(
            "Dropped",
            ["backend", "hardware", "reason", "detail"],
            [(drop.backend, hardware(drop.hardware), drop.reason, drop.detail) for drop in decision.drops],
            width=WIDE if wide else PAGE,
        )
    click.echo(
        f"Decided in {seconds(decision.decision_time_s)} on snapshot {decision.snapshot_version},"
        f" {decision.snapshot_age_s:.2f} s old."
    )


def show_why_not(backend: str, response: pb.ExplainResponse) -> None:
    """Why a backend is not the choice, and what would make it that, a line each."""
    click.echo(f"Why not {backend}: {response.why_not}")
    if response.why_not_first:
        click.echo("First, all of it:")
        for change in response.why_not_first:
            click.echo(f"  {change.what}")
    possible = [change for change in response.why_not_changes if change.possible]
    if possible:
        click.echo("Then any one of these would do:" if response.why_not_first else "Any one of these would do:")
    for change in possible:
        click.echo(f"  {change.kind:<10} {change.what}")
    for change in response.why_not_changes:
        if not change.possible:
            click.echo(f"  -          {change.what}")


class _Column:
    """A column; `value` gives its cell from the rank and the candidate."""

    def __init__(
        self, name: str, value: Callable[[int, common_pb2.CandidateReport], str], *, right: bool = True
    ) -> None:
        self.name = name
        self.value = value
        self.right = right


class _Part:
    """A table of candidates."""

    def __init__(self, title: str, columns: Sequence[_Column]) -> None:
        self.title = title
        self.columns = columns

    def show(self, columns: Sequence[_Column], decision: common_pb2.Decision, width: int) -> None:
        title = self.title.format(workload=decision.workload_class or "-")
        rows = [[column.value(n, c) for column in columns] for n, c in enumerate(decision.candidates, start=1)]
        right = ",".join(column.name for column in columns if column.right)
        print_table(title, [column.name for column in columns], rows, right=right, width=width)


def _times(candidates: Candidates) -> _Part:
    several = len({c.model for c in candidates}) > 1
    columns = [
        *([_Column("model", lambda _, c: c.model, right=False)] if several else []),
        _Column("TTFT", lambda _, c: seconds(c.prediction.ttft.mean)),
        _Column("TTFT p90", lambda _, c: seconds(c.prediction.ttft.p90)),
        _Column("TPOT", lambda _, c: seconds(c.prediction.tpot.mean)),
        _Column("TPOT p90", lambda _, c: seconds(c.prediction.tpot.p90)),
        _Column("P(TTFT)", lambda _, c: _likely(c.prediction.probability_ttft)),
        _Column("P(TPOT)", lambda _, c: _likely(c.prediction.probability_tpot)),
        _Column("P(e2e)", lambda _, c: f"{_likely(c.prediction.probability_e2e)}{'' if c.slo_feasible else ' !'}"),
        _Column("load", lambda _, c: f"{c.in_flight:.3g}"),
        _Column("from", lambda _, c: _source(c.prediction), right=False),
    ]
    return _Part("Candidates of class {workload}: times, and how likely each objective is met", columns)


def _money(candidates: Candidates) -> _Part:
    lines = list(dict.fromkeys(line.name for c in candidates for line in c.prediction.cost_lines))
    columns = [
        _Column("hardware", lambda _, c: hardware(c.hardware), right=False),
        _Column("cost", lambda _, c: dollars(c.prediction.cost_usd)),
        _Column("p90", lambda _, c: dollars(c.prediction.cost_p90_usd)),
        *(_Column(_words(name), lambda _, c, n=name: _line(c.prediction.cost_lines, n)) for name in lines),  # type: ignore[misc]
        _Column("marginal", lambda _, c: dollars(c.prediction.cost_marginal_usd)),
        _Column("amortised", lambda _, c: dollars(c.prediction.cost_amortised_usd)),
        _Column("energy", lambda _, c: f"{c.prediction.energy_j:.3g} J"),
        _Column("CO2", lambda _, c: f"{c.prediction.carbon_g:.2g} g"),
    ]
    return _Part("What it costs: the lines add up to the cost", columns)


def _objective(candidates: Candidates) -> _Part:
    used = {term.name for c in candidates for term in c.terms if term.usd}
    names = [name for name in dict.fromkeys(t.name for c in candidates for t in c.terms) if name in used]
    columns = [_Column(_words(name), lambda _, c, n=name: _line(c.terms, n)) for name in names]  # type: ignore[misc]
    columns.append(_Column("total", lambda _, c: dollars(c.objective_usd)))
    return _Part("Objective in dollars, the least first; terms that are nothing are left out", columns)


def _line(lines: Sequence[common_pb2.ObjectiveTerm], name: str) -> str:
    return dollars(sum(line.usd for line in lines if line.name == name))


def _likely(probability: float) -> str:
    return f"{probability:.2f}" if probability < 0.995 or probability == 1.0 else f"{probability:.4f}"


def _source(prediction: common_pb2.Prediction) -> str:
    name = enum_name(common_pb2.EstimateSource.Name(prediction.source), "ESTIMATE_SOURCE_")
    return f"{name} ({prediction.observations})" if prediction.observations else name


def _words(name: str) -> str:
    return name.replace("_", " ")
