"""How good the online correction is on streams of real requests: one API after the other, asked by somebody else.

    python -m simulation.predictor_streams [DATA_DIR]

Each stream (a provider with a model) is predicted one request ahead from nothing but the other providers' medians: the
prior that a router has of an API. `figures` returns what the benchmark of routing prints.
"""

from __future__ import annotations

import csv
import math
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from router.domain.learned import Learned
from router.prediction import learning

DEFAULT: Final = Path(__file__).resolve().parents[2] / "shared" / "data"
FILE: Final = Path("open") / "llmperf_2023_individual.csv"
PRIOR_SD: Final = 0.5
FIRST: Final = 30
CONCURRENT: Final = 5
PROMPT_TOKENS: Final = 550.0
CONTEXT_TOKENS: Final = 625.0
# Objectives for the first token, from one that few APIs meet to one that nearly all do.
LIMITS_S: Final = (0.3, 0.5, 0.8, 1.2, 2.0)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line: what was reached, and what was to be reached (at least, and as a stretch), as text."""

    what: str
    value: float
    at_least: str
    stretch: str


@dataclass(slots=True)
class Scores:
    """Sums over requests."""

    ttft_error: list[float] = field(default_factory=list)
    tpot_error: list[float] = field(default_factory=list)
    ttft_covered: list[bool] = field(default_factory=list)
    tpot_covered: list[bool] = field(default_factory=list)
    brier: dict[float, list[float]] = field(default_factory=lambda: {limit: [] for limit in LIMITS_S})
    rivals: dict[str, dict[float, list[float]]] = field(default_factory=dict)


def streams(path: Path) -> dict[str, list[tuple[float, float]]]:
    """(TTFT, TPOT) in seconds of each request that was answered, by provider and model, in the order they were sent."""
    found: dict[str, list[tuple[float, float]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["error_code"] or not row["ttft_s"] or int(row["n_out"]) < 4:
                continue
            ttft, e2e = float(row["ttft_s"]), float(row["e2e_s"])
            tpot = (e2e - ttft) / (int(row["n_out"]) - 1)
            if ttft > 0.0 and tpot > 0.0:
                found.setdefault(f"{row['provider']}/{row['model']}", []).append((ttft, tpot))
    return {name: rows for name, rows in found.items() if len(rows) >= FIRST}


def judge(name: str, every: dict[str, list[tuple[float, float]]], scores: Scores, *, first: int) -> None:
    """Predicts the first requests of a stream, each before it is learnt from."""
    provider = name.split("/", maxsplit=1)[0]
    others = [rows for other, rows in every.items() if not other.startswith(f"{provider}/")]
    prior_ttft, prior_tpot = (
        math.exp(statistics.fmean(math.log(statistics.median(row[n] for row in rows)) for rows in others))
        for n in (0, 1)
    )
    learned = Learned(prior_sd_log=PRIOR_SD)
    ttft_x = learning.ttft_features(PROMPT_TOKENS, CONCURRENT - 1)
    tpot_x = learning.tpot_features(CONCURRENT - 1, CONTEXT_TOKENS)
    now, seen = 0.0, [0.0]
    del seen[0]
    for ttft, tpot in every[name][:first]:
        mean, sd = learned.ttft.mean(*ttft_x), math.sqrt(learned.ttft.variance(*ttft_x))
        z = math.log(ttft / prior_ttft) - mean
        scores.ttft_error.append(abs(math.exp(-z) - 1.0))
        scores.ttft_covered.append(0.05 <= learned.tail.within(z / sd) <= 0.95)
        for limit in LIMITS_S:
            p = learned.tail.within((math.log(limit / prior_ttft) - mean) / sd)
            scores.brier[limit].append((p - (ttft <= limit)) ** 2)
        for rival, guess in rivals(seen).items():
            table = scores.rivals.setdefault(rival, {limit: [] for limit in LIMITS_S})
            for limit, p in zip(LIMITS_S, guess, strict=True):
                table[limit].append((p - (ttft <= limit)) ** 2)
        mean, sd = learned.tpot.mean(*tpot_x), math.sqrt(learned.tpot.variance(*tpot_x))
        z = math.log(tpot / prior_tpot) - mean
        scores.tpot_error.append(abs(math.exp(-z) - 1.0))
        scores.tpot_covered.append(abs(z) <= learning.LATE_SD * sd)
        now += (ttft + 150.0 * tpot) / CONCURRENT
        learning.observe(
            learned,
            prior_ttft_s=prior_ttft,
            prior_tpot_s=prior_tpot,
            ttft_s=ttft,
            tpot_s=tpot,
            now=now,
            batch=CONCURRENT - 1,
            prompt_tokens=PROMPT_TOKENS,
            context_tokens=CONTEXT_TOKENS,
        )
        seen.append(ttft)


def rivals(seen: list[float]) -> dict[str, list[float]]:
    """P(TTFT <= limit) for each limit by models without a constant to choose: of what was seen, and nothing else."""
    n = len(seen)
    base = [(sum(t <= limit for t in seen) + 0.5) / (n + 1.0) for limit in LIMITS_S]
    normal = base
    if n >= 2:
        logs = [math.log(t) for t in seen]
        mean, sd = statistics.fmean(logs), max(1e-3, statistics.stdev(logs))
        normal = [0.5 * math.erfc((mean - math.log(limit)) / sd / math.sqrt(2.0)) for limit in LIMITS_S]
    last = base if not n else [float(seen[-1] <= limit) for limit in LIMITS_S]
    return {"running base rate": base, "running log-normal": normal, "last": last}


def report(data: Path, *, first: int) -> Scores:
    """All streams together."""
    every = streams(data / FILE)
    scores = Scores()
    for name in every:
        judge(name, every, scores, first=first)
    return scores


def figures(data: Path = DEFAULT) -> list[Figure]:
    """What was reached on the first requests of every stream; empty where the data is not there."""
    if not (data / FILE).exists():
        return []
    scores = report(data, first=FIRST)
    base = scores.rivals["running base rate"]
    ratios = [statistics.fmean(scores.brier[s]) / statistics.fmean(base[s]) for s in LIMITS_S]
    best = [min(statistics.fmean(table[s]) for table in scores.rivals.values()) for s in LIMITS_S]
    to_best = [statistics.fmean(scores.brier[s]) / b for s, b in zip(LIMITS_S, best, strict=True)]
    return [
        Figure("APIs, TTFT, MAPE", statistics.fmean(scores.ttft_error), "", ""),
        Figure("APIs, TTFT, median error", statistics.median(scores.ttft_error), "", ""),
        Figure("APIs, TPOT, MAPE", statistics.fmean(scores.tpot_error), "", ""),
        Figure("APIs, TPOT, median error", statistics.median(scores.tpot_error), "", ""),
        Figure("APIs, 90 % intervals of TTFT cover", statistics.fmean(scores.ttft_covered), "0.87-0.93", "0.89-0.91"),
        Figure("APIs, 90 % intervals of TPOT cover", statistics.fmean(scores.tpot_covered), "0.87-0.93", "0.89-0.91"),
        Figure("APIs, Brier of P(TTFT <= S) over the running base rate, worst S", max(ratios), "< 1", "< 1"),
        Figure("APIs, Brier over the best model without constants, worst S", max(to_best), "", "<= 1.1"),
    ]


def main(data: Path) -> int:
    """Prints the table."""
    found = figures(data)
    if not found:
        sys.stdout.write(f"{data / FILE} is not there\n")
        return 1
    for figure in found:
        sys.stdout.write(f"{figure.what:<68} {figure.value:8.3f}   {figure.at_least:>10} {figure.stretch:>10}\n")
    for first in (FIRST, 1000):
        scores = report(data, first=first)
        sys.stdout.write(f"\nBrier score of P(TTFT <= S), first {first} requests of each stream\n")
        for limit in LIMITS_S:
            line = "".join(f"   {name} {statistics.fmean(table[limit]):.4f}" for name, table in scores.rivals.items())
            sys.stdout.write(f"  S {limit:.1f} s: {statistics.fmean(scores.brier[limit]):.4f}{line}\n")
        cover = statistics.fmean(scores.ttft_covered), statistics.fmean(scores.tpot_covered)
        sys.stdout.write(f"  coverage of 90 %: TTFT {cover[0]:.3f}, TPOT {cover[1]:.3f}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT))
