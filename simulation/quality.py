"""How much quality a table by task buys: the router's belief and objective over prompts that two models have answered.

    python -m simulation.quality FILE.csv

The file says of each prompt its task and whether the weak and the strong model answered it rightly (columns `dataset`,
`subject`, `mixtral_8x7b_correct`, `gpt4_1106_correct`). Prompts come in random order; each goes to the model with the
lesser price plus value of a point of quality times what is missing of it, by the belief at that moment; one in fifty
goes to the other one, and what the answer was worth moves the belief. Raising the value of quality draws the curve from
all weak to all strong.

PGR is the share of the gap between the two models that is closed, APGR its mean over all shares of strong calls (0.5 is
a coin), CPT(x) the share of strong calls that closes x of the gap.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from router.domain.quality import Quality

# Dollars a million tokens of the two, both ways alike, and tokens of a call: only their difference in dollars matters.
WEAK_USD, STRONG_USD = 0.7e-6 * 500, 40e-6 * 500
EXPLORED = 0.02
# Both start from one figure each, as models.yaml has it: nothing is known of tasks.
WEAK_START, STRONG_START = 0.71, 0.86
CURVE = 41


@dataclass(frozen=True, slots=True)
class Prompt:
    """A task, and whether each model answers rightly."""

    task: str
    weak: bool
    strong: bool


@dataclass(frozen=True, slots=True)
class Point:
    """A way to route: the share of strong calls and the share of right answers."""

    strong_share: float
    quality: float


def read(path: Path) -> list[Prompt]:
    """The prompts of a file."""
    with path.open(encoding="utf-8", newline="") as lines:
        return [
            Prompt(
                task=row["subject"] or row["dataset"],
                weak=_true(row["mixtral_8x7b_correct"]),
                strong=_true(row["gpt4_1106_correct"]),
            )
            for row in csv.DictReader(lines)
        ]


def _true(text: str) -> bool:
    return text.strip().lower() in {"1", "true", "1.0"}


def route(prompts: Sequence[Prompt], usd_per_quality: float, rng: random.Random) -> Point:
    """Serves the prompts in this order by what is believed at each moment."""
    weak, strong = Quality((("*", WEAK_START),)), Quality((("*", STRONG_START),))
    calls = right = 0
    for prompt in prompts:
        saved = STRONG_USD - WEAK_USD
        gained = usd_per_quality * (strong.of(prompt.task) - weak.of(prompt.task))
        to_strong = gained > saved
        if rng.random() < EXPLORED:
            to_strong = not to_strong
        good = prompt.strong if to_strong else prompt.weak
        (strong if to_strong else weak).observe(prompt.task, float(good))
        calls += to_strong
        right += good
    return Point(calls / len(prompts), right / len(prompts))


def curve(prompts: Sequence[Prompt], seed: int) -> list[Point]:
    """From all weak to all strong, by the share of strong calls."""
    rng = random.Random(seed)
    order = rng.sample(list(prompts), len(prompts))
    even = (STRONG_USD - WEAK_USD) / (STRONG_START - WEAK_START)
    values = [even * 2.0 ** ((n - CURVE // 2) / 5.0) for n in range(CURVE)]
    ends = [
        Point(0.0, sum(p.weak for p in prompts) / len(prompts)),
        Point(1.0, sum(p.strong for p in prompts) / len(prompts)),
    ]
    found = [*ends, *(route(order, value, rng) for value in values)]
    return sorted(found, key=lambda point: (point.strong_share, point.quality))


def quality_at(points: Sequence[Point], share: float) -> float:
    """The quality at a share of strong calls, between the two points around it."""
    for low, high in itertools.pairwise(points):
        if low.strong_share <= share <= high.strong_share:
            width = high.strong_share - low.strong_share
            part = (share - low.strong_share) / width if width else 0.0
            return low.quality + part * (high.quality - low.quality)
    return points[-1].quality


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a curve comes to; see the top of this module."""

    apgr: float
    cpt_50: float
    cpt_80: float


def judge(points: Sequence[Point]) -> Verdict:
    """APGR and the two call-performance thresholds of a curve."""
    worst, best = points[0].quality, points[-1].quality
    shares = [n / 200.0 for n in range(201)]
    pgr = [(quality_at(points, share) - worst) / (best - worst) for share in shares]

    def needed(part: float) -> float:
        return next(share for share, closed in zip(shares, pgr, strict=True) if closed >= part)

    apgr = sum((a + b) / 2.0 for a, b in itertools.pairwise(pgr)) / (len(pgr) - 1)
    return Verdict(apgr, needed(0.5), needed(0.8))


def oracle(prompts: Sequence[Prompt]) -> Point:
    """Who knows every answer: strong only where it is right and the weak one is not."""
    return Point(
        sum(p.strong and not p.weak for p in prompts) / len(prompts),
        sum(p.strong or p.weak for p in prompts) / len(prompts),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Quality by a table of model and task, on prompts with known answers.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args(arguments)
    prompts = read(chosen.file)
    verdicts = [judge(curve(prompts, seed)) for seed in range(chosen.seeds)]
    apgr, cpt_50, cpt_80 = (
        sum(getattr(v, name) for v in verdicts) / len(verdicts) for name in ("apgr", "cpt_50", "cpt_80")
    )
    weak, strong = (sum(getattr(p, name) for p in prompts) / len(prompts) for name in ("weak", "strong"))
    best = oracle(prompts)
    sys.stdout.write(
        f"{len(prompts)} prompts, {len({p.task for p in prompts})} tasks; right: weak {weak:.3f}, strong {strong:.3f}, "
        f"oracle {best.quality:.3f} with {best.strong_share:.3f} strong calls\n"
        f"table by task, learnt while serving: APGR {apgr:.3f} (a coin 0.500), "
        f"CPT(50 %) {cpt_50:.3f}, CPT(80 %) {cpt_80:.3f} of calls to the strong model\n"
    )


if __name__ == "__main__":
    main()
