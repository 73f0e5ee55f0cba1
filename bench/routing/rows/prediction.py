"""The predictor's figures, which the fit and the streams of real APIs report."""

from __future__ import annotations

import re

from bench.routing.line import Bench, Line, Verdict
from simulation.fit.figures import predictor_rows
from simulation.predictor_streams import figures

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def prediction(bench: Bench) -> list[Line]:
    """TPOT on measurements of engines that were left out; P(TTFT in time) on calls of hosted APIs."""
    bench.say("the predictor on measurements that it has not seen")
    lines = [
        Line(what, reached, at_least, stretch, verdict(reached, at_least, stretch))
        for what, reached, at_least, stretch in predictor_rows(bench.data)
    ]
    for figure in figures(bench.data):
        told = f"{figure.value:.3f}"
        lines.append(
            Line(
                figure.what,
                told,
                figure.at_least,
                figure.stretch,
                verdict(told, figure.at_least, figure.stretch),
            )
        )
    return lines


def verdict(reached: str, at_least: str, stretch: str) -> Verdict:
    """Less is better, or within "a-b"; nothing is asked where nothing is written."""
    if not at_least and not stretch:
        return Verdict.NOTED
    value = float(NUMBER.findall(reached)[0])
    if stretch and _within(value, stretch):
        return Verdict.STRETCH
    if not at_least:
        return Verdict.NOTED
    return Verdict.REACHED if _within(value, at_least) else Verdict.MISSED


def _within(value: float, bound: str) -> bool:
    limits = [abs(float(number)) for number in NUMBER.findall(bound)]
    if len(limits) == 2:
        return limits[0] <= value <= limits[1]
    return value < limits[0] if bound.startswith("<") and "=" not in bound else value <= limits[0]
