"""MLPerf Inference v5.1: tokens a second of whole systems under limits of latency; no TPOT, so a type of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from router.domain.catalogue import Catalogue
from router.domain.guessing import bytes_per_weight
from simulation.measured.accelerators import accelerator
from simulation.measured.folder import table
from simulation.measured.models import Names

FILE: Final = "facts/mlperf_inference_v5.1_llm.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Tokens a second of one device in a system of `count`; `scenario` is Offline, Server or Interactive."""

    line: int
    accelerator: str
    count: int
    model: str
    scenario: str
    bytes_per_weight: float
    tokens_per_s: float


def rows(data: Path, catalogue: Catalogue) -> list[Throughput]:
    """The systems of one kind of accelerator that say how their weights are stored."""
    names = Names(catalogue)
    found: list[Throughput] = []
    for line, row in table(data, FILE):
        weights = bytes_per_weight(row["weights"])
        model = names.find(row["model"])
        known = accelerator(row["accelerator"]) if row["accelerator"] and "(x" not in row["accelerator"] else None
        if weights is None or model is None or known is None or known[0] not in catalogue.hardware:
            continue
        count = int(row["n_acc_per_node"]) * int(row["nodes"])
        if row["units"] != "Tokens/s" or not count:
            continue
        found.append(
            Throughput(
                line=line,
                accelerator=known[0],
                count=count,
                model=model.id,
                scenario=row["scenario"],
                bytes_per_weight=weights,
                tokens_per_s=float(row["result"]) / count,
            )
        )
    return found
