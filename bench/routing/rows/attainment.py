"""Objectives met by the router and by every baseline, at every load; and what that came to in dollars."""

from __future__ import annotations

import statistics

from bench.routing.line import Bench, Line, Verdict, at_most, judged
from bench.routing.runs import conversation, site, trace
from simulation.virtual.policies import BASELINES, REFERENCE, ROUTER
from simulation.virtual.scenario import Scenario
from simulation.virtual.sweep import Results, jobs, mean, mean_bound, share_of_gap
from simulation.virtual.truth import EngineTruth
from simulation.virtual.world import draws


def attainment(bench: Bench) -> list[Line]:
    """Above every baseline at every load; as much as one where nobody misses any."""
    results = conversation(bench)
    lines: list[Line] = []
    for load in bench.loads:
        ours = mean(results, ROUTER, load, "attainment")
        best = max(BASELINES, key=lambda name: mean(results, name, load, "attainment"))
        theirs = mean(results, best, load, "attainment")
        stretch = ours >= 0.99 if load == 5.0 else None
        verdict = Verdict.MISSED if ours < theirs else Verdict.REACHED if not stretch else Verdict.STRETCH
        lines.append(
            Line(
                f"objectives met at {load:g}x",
                f"{100.0 * ours:.2f} % at ${1e3 * mean(results, ROUTER, load, 'objective_usd'):.3f} per 1,000",
                f"{100.0 * theirs:.2f} % ({best}, ${1e3 * mean(results, best, load, 'objective_usd'):.3f})",
                "99 %" if load == 5.0 else "",
                verdict,
            )
        )
    return lines


def gap(bench: Bench) -> list[Line]:
    """The share of the way from power-of-two to the bound, below and above saturation of our own engines."""
    results = conversation(bench)
    lines: list[Line] = []
    for load in bench.loads:
        share = share_of_gap(results, ROUTER, REFERENCE, load)
        least = mean_bound(results, load)
        if share is None or least is None:
            continue
        offered = saturation(bench, load)
        above = offered > 1.0
        limit, stretch = (0.60, 0.80) if above else (0.85, 0.95)
        lines.append(
            Line(
                f"share of the gap at {load:g}x, {'above' if above else 'below'} saturation ({offered:.2f})",
                f"{100.0 * share:.1f} %, bound ${1e3 * least.objective_usd:.3f}",
                f"{100.0 * limit:.0f} %",
                f"{100.0 * stretch:.0f} %",
                judged(share, at_least=limit, stretch=stretch),
            )
        )
    return lines


def saturation(bench: Bench, load: float) -> float:
    """Prefill work that arrives, over what our own engines could do in that time; the mean of the seeds."""
    there = site(bench)
    base = Scenario(site=there, asks=())
    shares: list[float] = []
    for job in jobs(base, trace(bench), policies=(ROUTER,), loads=(load,), seeds=bench.seeds, requests=bench.requests):
        asks = job.scenario.asks
        error = draws(Scenario(site=there, asks=(), seed=job.scenario.seed)).error
        span = asks[-1].at_s - asks[0].at_s
        rate = 0.0
        for truth in there.truths.values():
            if isinstance(truth, EngineTruth):
                work = sum(truth.prefill_s(ask.input_tokens) for ask in asks) * error[truth.id][0]
                rate += len(asks) / work
        shares.append(len(asks) / span / rate)
    return statistics.fmean(shares)


def brier(bench: Bench) -> list[Line]:
    """Brier score of P(first token in time) against the running base rate, for what the router chose."""
    results = conversation(bench)
    lines: list[Line] = []
    for load in bench.loads:
        ours, base, by_backend = _briers(results, load)
        lines.append(
            Line(
                f"Brier score of P(TTFT in time) at {load:g}x",
                f"{ours:.5f}",
                f"< {base:.5f}, running base rate",
                f"by backend {by_backend:.5f}",
                at_most(ours, at_least=base, stretch=min(base, by_backend)),
            )
        )
    return lines


def _briers(results: Results, load: float) -> tuple[float, float, float]:
    found = [done.brier for (name, at, _), done in results.items() if name == ROUTER and at == load]
    total = sum(one[3] for one in found)
    ours, base, by_backend = (sum(one[n] * one[3] for one in found) / max(1, total) for n in range(3))
    return ours, base, by_backend
