"""ML.ENERGY leaderboard v3: vLLM on H100 and B200, the median time between tokens at a steady batch.

`avg_batch_size` is of the whole server. Median ITL over steps, so that prefills in between weigh little. The table says
nothing of prompts: their length is estimated by task.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from router.domain.catalogue import Catalogue
from simulation.measured.accelerators import accelerator
from simulation.measured.folder import table
from simulation.measured.models import Names
from simulation.measured.row import Measured

FILE: Final = "facts/mlenergy_v3_llm.csv"
# Estimated: chat turns and multiple-choice questions are short, code with what stands around the gap is longer.
PROMPT_TOKENS: Final = {"lm-arena-chat": 250.0, "gpqa": 250.0, "sourcegraph-fim": 700.0}
BYTES: Final = {"bfloat16": 2.0, "fp8": 1.0, "mxfp4": 0.53}
# Two measurements of one model on the same accelerators at the same batch that differ by more: the slower one is off.
CONTRADICTION: Final = 2.0


def rows(data: Path, catalogue: Catalogue) -> list[Measured]:
    """Every row of the table whose model the catalogue knows."""
    names = Names(catalogue)
    found: list[Measured] = []
    for line, row in table(data, FILE):
        model = names.find(row["model_id"])
        known = accelerator(row["gpu_model"])
        if model is None or model.guessed or known is None:
            continue
        prompt = PROMPT_TOKENS[row["task"]]
        found.append(
            Measured(
                source=FILE,
                line=line,
                accelerator=known[0],
                count=int(row["num_gpus"]),
                model=model.id,
                bytes_per_weight=BYTES[row["weight_precision"]],
                batch=float(row["avg_batch_size"]),
                context_tokens=prompt + 0.5 * float(row["avg_output_len"]),
                prompt_tokens=prompt,
                tpot_s=1e-3 * float(row["median_itl_ms"]),
                expert_parallel=int(row["expert_parallel"]) > 1,
                data_parallel=int(row["data_parallel"]),
                engine="vllm",
                task=row["task"],
                name=row["model_id"].rsplit("/", 1)[-1],
            )
        )
    return found


def usual(rows: list[Measured], *, batch: float = 260.0) -> list[Measured]:
    """What a prior is fitted to: batches that are served, one replica, nothing that the same table contradicts.

    Five models of the gpqa task on B200 are two to seven times slower there than in every other task at the same batch:
    some fault of those runs, whatever it was.
    """
    single = [row for row in rows if row.batch <= batch and row.data_parallel == 1]
    fastest: dict[tuple[object, ...], float] = {}
    for row in single:
        fastest[_same(row)] = min(row.tpot_s, fastest.get(_same(row), row.tpot_s))
    off = {
        (row.name, row.task, row.accelerator, row.count)
        for row in single
        if row.tpot_s > CONTRADICTION * fastest[_same(row)]
    }
    return [row for row in single if (row.name, row.task, row.accelerator, row.count) not in off]


def published(rows: list[Measured]) -> list[Measured]:
    """The 230 points that DECISION 2.1 reports on: chat, attention in every layer, batches of up to 260."""
    return [
        row
        for row in rows
        if row.task == "lm-arena-chat" and row.batch <= 260.0 and not row.model.startswith("nemotron")
    ]


def _same(row: Measured) -> tuple[object, ...]:
    # Coder and chat versions of one architecture run the same arithmetic.
    return (row.model.replace("-coder", ""), row.accelerator, row.count, row.bytes_per_weight, round(row.batch / 8.0))
