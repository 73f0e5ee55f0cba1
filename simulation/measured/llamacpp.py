"""llama.cpp in 2024, Llama 3 8B and 70B on 35 devices: one stream, tokens a second of decoding and of prefill.

Several devices are worked through one after the other, layer by layer, so that they add memory and no bandwidth: only
rows of one device are read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from router.domain.catalogue import Catalogue
from simulation.measured.accelerators import accelerator
from simulation.measured.folder import table
from simulation.measured.row import Measured

FILE: Final = "facts/llamacpp_llama3_2024.csv"
MODELS: Final = {"llama3-8b": "llama-3-8b", "llama3-70b": "llama-3-70b"}
# Of the published files: 4.92 GB for 8.03e9 weights.
Q4_K_M_BYTES: Final = 0.613
CONTEXT_TOKENS: Final = 512.0


def rows(data: Path, catalogue: Catalogue) -> list[Measured]:
    """Decoding of one stream, on every device that the catalogue knows; `ttft_s` is of 512 tokens where it is given."""
    found: list[Measured] = []
    prefill: dict[tuple[str, str], float] = {}
    lines = list(table(data, FILE))
    for _, row in lines:
        if row["phase"] != "generate":
            prefill[row["device"], row["model"]] = CONTEXT_TOKENS / float(row["tok_per_s"])
    for line, row in lines:
        known = accelerator(row["device"])
        if row["phase"] != "generate" or known is None or known[1] is not None or known[0] not in catalogue.hardware:
            continue
        model = row["model"].rpartition("-q4" if "-q4" in row["model"] else "-f16")[0]
        found.append(
            Measured(
                source=FILE,
                line=line,
                accelerator=known[0],
                count=1,
                model=MODELS[model],
                bytes_per_weight=Q4_K_M_BYTES if "-q4" in row["model"] else 2.0,
                batch=1.0,
                context_tokens=CONTEXT_TOKENS,
                tpot_s=1.0 / float(row["tok_per_s"]),
                ttft_s=prefill.get((row["device"], row["model"])),
                prompt_tokens=CONTEXT_TOKENS,
                engine="llama_cpp",
                name=row["model"],
            )
        )
    return found
