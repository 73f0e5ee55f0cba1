"""LLMPerf's requests to hosted APIs, December 2023: 550 tokens in, 150 out, five at a time.

What that project calls inter-token latency is the whole time over the tokens; TPOT here is from the first token on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from simulation.measured.folder import table
from simulation.measured.row import Measured

FILE: Final = "open/llmperf_2023_individual.csv"
CONCURRENT: Final = 5.0


def rows(data: Path) -> list[Measured]:
    """Requests that were answered with two tokens or more, by provider in `task`."""
    found: list[Measured] = []
    for line, row in table(data, FILE):
        if row["error_code"] or not row["ttft_s"] or not row["e2e_s"]:
            continue
        tokens, first, whole = int(row["n_out"]), float(row["ttft_s"]), float(row["e2e_s"])
        if tokens < 2 or whole <= first:
            continue
        found.append(
            Measured(
                source=FILE,
                line=line,
                accelerator="hosted",
                count=1,
                model=row["model"],
                bytes_per_weight=2.0,
                batch=CONCURRENT,
                context_tokens=float(row["n_in"]) + 0.5 * tokens,
                prompt_tokens=float(row["n_in"]),
                tpot_s=(whole - first) / (tokens - 1),
                ttft_s=first,
                task=row["provider"],
                name=f"{row['provider']} {row['model']}",
            )
        )
    return found
