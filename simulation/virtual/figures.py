"""What a run comes to: attainment, goodput, money, energy, times and fairness, the same for every policy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from simulation.virtual.scenario import Site
from simulation.virtual.world import Record

GOOD_SHARE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """`objective_usd` is money and missed objectives, per request (DECISION 3.3); shares are 0 to 1.

    `fairness` is Jain's index of the time to the first token over hundredths of the requests in the order of arrival.
    """

    requests: int
    served: int
    attainment: float
    interactive_attainment: float
    usd_per_mtok: float
    joules_per_token: float
    objective_usd: float
    ttft_p50_s: float
    ttft_p99_s: float
    tpot_p50_s: float
    goodput_per_s: float
    retries: float
    fairness: float
    decision_us: float
    shares: dict[str, float]


def figures(site: Site, records: Sequence[Record]) -> Figures:
    """Everything that is said of one run. A request that nobody served missed its objective, and cost nothing."""
    count = len(records)
    served = [r for r in records if r.backend]
    interactive = [r for r in records if r.ask.interactive]
    tokens = sum(r.ask.input_tokens + r.ask.output_tokens for r in served)
    output = sum(r.ask.output_tokens for r in served)
    span = max(1e-9, records[-1].ask.at_s - records[0].ask.at_s)
    ttfts = sorted(r.ttft_s for r in served)
    shares = {b.id: sum(1 for r in served if r.backend == b.id) / count for b in site.backends}
    met = sum(r.met for r in records)
    return Figures(
        requests=count,
        served=len(served),
        attainment=met / count,
        interactive_attainment=sum(r.met for r in interactive) / max(1, len(interactive)),
        usd_per_mtok=1e6 * sum(r.usd for r in served) / max(1, tokens),
        joules_per_token=sum(r.joules for r in served) / max(1, output),
        objective_usd=objective_usd(site, records) / count,
        ttft_p50_s=quantile(ttfts, 0.5),
        ttft_p99_s=quantile(ttfts, 0.99),
        tpot_p50_s=quantile(sorted(r.tpot_s for r in served), 0.5),
        goodput_per_s=met / span,
        retries=sum(max(0, r.attempts - 1) for r in records) / count,
        fairness=jain(served),
        decision_us=1e6 * sum(r.decision_s for r in records) / count,
        shares=shares,
    )


def miss_usd(site: Site, record: Record) -> float:
    """What missing the objectives of a request costs."""
    return site.workload(record.ask).usd_per_slo_miss


def objective_usd(site: Site, records: Iterable[Record]) -> float:
    """Dollars of all: money, and what each missed objective is worth."""
    return sum(r.usd + (0.0 if r.met else miss_usd(site, r)) for r in records)


def quantile(values: Sequence[float], share: float) -> float:
    """Of sorted values; not a number of none."""
    if not values:
        return math.nan
    return values[min(len(values) - 1, int(share * len(values)))]


def jain(records: Sequence[Record]) -> float:
    """Jain's index of the mean time to the first token of a hundred equal groups by turns: 1 is equal."""
    groups = [records[n::100] for n in range(100) if records[n::100]]
    means = [sum(r.ttft_s for r in group) / len(group) for group in groups]
    squares = sum(m * m for m in means)
    return (sum(means) ** 2) / (len(means) * squares) if squares > 0.0 else 1.0


def brier(records: Iterable[Record]) -> tuple[float, float, float, int]:
    """Brier scores of P(first token in time): the policy's, of the running base rate, of it by backend; and how many.

    The base rate is that of the outcomes known when a request was sent; before the first one it is a half.
    """
    seen = [r for r in records if r.p_ttft >= 0.0 and r.backend and r.ask.interactive]
    known = sorted(seen, key=lambda r: r.ask.at_s + r.ttft_s)
    ours = base = by_backend = 0.0
    met = total = place = 0
    each: dict[str, list[int]] = {}
    for record in sorted(seen, key=lambda r: r.sent_s):
        while place < len(known) and known[place].ask.at_s + known[place].ttft_s <= record.sent_s:
            done = known[place]
            met, total, place = met + done.ttft_met, total + 1, place + 1
            counts = each.setdefault(done.backend, [0, 0])
            counts[0] += done.ttft_met
            counts[1] += 1
        truth = float(record.ttft_met)
        there = each.get(record.backend, [0, 0])
        ours += (record.p_ttft - truth) ** 2
        base += ((met / total if total else 0.5) - truth) ** 2
        by_backend += ((there[0] / there[1] if there[1] else 0.5) - truth) ** 2
    count = max(1, len(seen))
    return ours / count, base / count, by_backend / count, len(seen)
