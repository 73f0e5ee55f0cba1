"""What each candidate of a decision would cost, line by line, with its energy and emissions."""

from __future__ import annotations

from collections.abc import Sequence

from router.cli.show import dollars, print_table
from router.v1 import common_pb2


def show_costs(candidates: Sequence[common_pb2.CandidateReport]) -> None:
    """One table; lines of the cost that no candidate has are left out."""
    names = list(dict.fromkeys(line.name for c in candidates for line in c.prediction.cost_lines))
    columns = ["backend", "model", *names, "cost", "p90", "amortised", "energy", "CO2e"]
    print_table(
        "What each would cost; amortised: with its part of idle time, for reports only",
        columns,
        [_row(candidate, names) for candidate in candidates],
        right=",".join(columns[2:]),
    )


def _row(candidate: common_pb2.CandidateReport, names: Sequence[str]) -> list[str]:
    said = candidate.prediction
    lines = {line.name: line.usd for line in said.cost_lines}
    return [
        candidate.backend,
        candidate.model,
        *(dollars(lines[name]) if name in lines else "-" for name in names),
        dollars(said.cost_usd),
        dollars(said.cost_p90_usd),
        dollars(said.cost_amortised_usd),
        f"{said.energy_j:.3g} J" if said.energy_j else "-",
        f"{1e3 * said.carbon_g:.3g} mg" if said.carbon_g else "-",
    ]
