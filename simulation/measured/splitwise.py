"""Splitwise's profiles: Llama 2 70B and BLOOM 176B on A100 and H100, with a serving stack of 2023.

The power-capped H100 rows repeat the decode times of the others and scale their prefill; they are left out, and so are
repeats of one setting but for their medians. Rows whose prompt is faster at a batch of 64 than at one are a mix-up.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Final

from router.domain.catalogue import Catalogue
from simulation.measured.accelerators import accelerator
from simulation.measured.folder import table
from simulation.measured.models import Names
from simulation.measured.row import Measured

FILE: Final = "open/splitwise_perf_model.csv"


def rows(data: Path, catalogue: Catalogue) -> list[Measured]:
    """The median of each setting. TTFT is of the whole batch of prompts, which are prefilled together."""
    names = Names(catalogue)
    groups: dict[tuple[str, str, int, int, int, int], list[tuple[float, float, int]]] = defaultdict(list)
    for line, row in table(data, FILE):
        if row["hardware"].endswith("-pcap") or int(row["batch_size"]) >= 64:
            continue
        key = (
            row["model"],
            row["hardware"],
            int(row["tensor_parallel"]),
            int(row["batch_size"]),
            int(row["prompt_size"]),
            int(row["token_size"]),
        )
        groups[key].append((float(row["prompt_time"]), float(row["token_time"]), line))
    found: list[Measured] = []
    for (name, hardware, count, batch, prompt, output), times in groups.items():
        model, known = names.find(name), accelerator(hardware)
        if model is None or known is None:
            continue
        found.append(
            Measured(
                source=FILE,
                line=times[0][2],
                accelerator=known[0],
                count=count,
                model=model.id,
                bytes_per_weight=2.0,
                batch=float(batch),
                context_tokens=prompt + 0.5 * output,
                prompt_tokens=float(prompt),
                tpot_s=1e-3 * median(token for _, token, _ in times),
                ttft_s=1e-3 * median(first for first, _, _ in times),
                name=name,
            )
        )
    return found
