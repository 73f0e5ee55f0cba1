"""What a decision costs and what is kept of each backend, by `bench.decision`."""

from __future__ import annotations

from bench.decision import decision_rows
from bench.routing.line import Bench, Line, Verdict


def deciding(bench: Bench) -> list[Line]:
    """Whole decisions on a compiled copy of the sources, and the state of one backend in a large fleet."""
    bench.say("decisions over fleets of four sizes, on a compiled copy")
    return [
        Line(
            what,
            f"{value:,.1f}",
            f"{at_least:,.0f}",
            f"{stretch:,.0f}",
            Verdict.STRETCH if value <= stretch else Verdict.REACHED if value <= at_least else Verdict.MISSED,
        )
        for what, value, at_least, stretch in decision_rows(quick=bench.quick)
    ]
