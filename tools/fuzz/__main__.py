"""Fuzzes the decoders that read other people's bytes, and prints what was tried.

    python -m tools.fuzz                        ten minutes for the three framings, five for the families
    python -m tools.fuzz --seconds 60 sse       one target for a minute

Needs atheris (make fuzz). What was found to be new is kept in .cache/fuzz-corpus, so that the next run goes on from
there; bytes that break something are left in .cache/fuzz-crashes. Exit status 1 when there are any.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tools.fuzz.seeds import MAX_SEED_BYTES, streams
from tools.fuzz.targets import DECODERS, FAMILIES, TARGETS, Target

CORPUS = Path(".cache/fuzz-corpus")
CRASHES = Path(".cache/fuzz-crashes")
MEMORY_MB = 512
INPUT_S = 10
_GRACE_S = 120
_COVERAGE = re.compile(r"cov: (\d+) ft: (\d+)")
_STATISTIC = re.compile(r"stat::(\w+):\s+(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one target came to. `words` are the fuzzer's own, when it broke something."""

    name: str
    seeds: int
    executions: int
    edges: int
    features: int
    peak_mb: int
    status: int
    words: str


def fuzz(target: Target, *, seconds: int) -> Outcome:
    """Runs one target for that long, or until it breaks."""
    corpus = CORPUS / target.name
    corpus.mkdir(parents=True, exist_ok=True)
    CRASHES.mkdir(parents=True, exist_ok=True)
    seeds = streams(target.wires)
    for seed in seeds:
        data = b"\x00" + seed
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={2 * MAX_SEED_BYTES}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-timeout={INPUT_S}",
        f"-artifact_prefix={CRASHES / target.name}-",
        "-print_final_stats=1",
    ]
    command = [sys.executable, "-m", "tools.fuzz.run_one", target.name, str(corpus), *options]
    done = subprocess.run(  # noqa: S603 - our own interpreter and arguments
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=seconds + _GRACE_S
    )
    words = done.stdout.decode("utf-8", "replace")
    edges, features = _COVERAGE.findall(words)[-1] if _COVERAGE.search(words) else (0, 0)
    statistics = dict(_STATISTIC.findall(words))
    return Outcome(
        name=target.name,
        seeds=len(seeds),
        executions=int(statistics.get("number_of_executed_units", 0)),
        edges=int(edges),
        features=int(features),
        peak_mb=int(statistics.get("peak_rss_mb", 0)),
        status=done.returncode,
        words=words,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (default: all)")
    parser.add_argument(
        "--seconds", type=int, default=600, help="for the three framings together (default %(default)s)"
    )
    parser.add_argument(
        "--family-seconds", type=int, default=300, help="for the families together (default %(default)s)"
    )
    given = parser.parse_args()
    if unknown := set(given.targets) - TARGETS.keys():
        parser.error(f"unknown target: {', '.join(sorted(unknown))}; known: {', '.join(TARGETS)}")
    console = Console(stderr=True)
    outcomes: list[Outcome] = []
    for group, seconds in ((DECODERS, given.seconds), (FAMILIES, given.family_seconds)):
        chosen = [target for target in group if not given.targets or target.name in given.targets]
        for target in chosen:
            share = max(1, seconds // len(chosen))
            console.print(f"==> {target.name}: {share} s")
            outcomes.append(fuzz(target, seconds=share))
            if outcomes[-1].status:
                console.print(outcomes[-1].words[-4000:], markup=False, highlight=False)
    shown = Table("target", "seeds", "executions", "edges", "features", "peak memory", "crashes")
    for one in outcomes:
        crashes = "none" if one.status == 0 else f"status {one.status}; see {CRASHES}"
        numbers = (one.seeds, one.executions, one.edges, one.features)
        shown.add_row(one.name, *map(str, numbers), f"{one.peak_mb} MB", crashes)
    Console(width=None if sys.stdout.isatty() else 120).print(shown)
    return int(any(one.status for one in outcomes))


if __name__ == "__main__":
    raise SystemExit(main())
