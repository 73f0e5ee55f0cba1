"""docs/prior.md: the model, its constants, how far it is off and on what, made from the tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np

from simulation.fit.figures import FITTED_ON, NEVER_SEEN, families, of_tables, predictor_rows, worst
from simulation.fit.judge import Tables, across, after, by_architecture, by_family, by_model, left_out, points
from simulation.fit.terms import DECODE, EXPECTED, PREFILL, prefill_terms, terms
from simulation.fit.throughput import order
from simulation.measured import llamacpp
from simulation.validate.streams import Point, Score

HEAD: Final = """# The prior of latency

How fast a model runs on an accelerator is predicted before the first request, from `config/hardware.yaml` and
`config/models.yaml` alone, and corrected by what is observed (`router/prediction/learning.py`). This page is made by
`python -m simulation.fit --write` from public measurements of others, none of which are in this repository.

## The model

One decode step of `b` sequences that hold `ctx` tokens each, on `G` accelerators that hold one replica:

    fixed     L * layer + L * collective [G >= 8] + L * cast [8 bits] + L_experts * expert_layer * (1 - 1/G) [spread]
    weights   (weight_traffic * dense bytes + (expert_traffic + cast_expert_traffic [8 bits, spread])
               * expert bytes * (1 - (1 - k/E)^b)) / (G * bandwidth)
    sequence  b * (sequence + arithmetic * 2 * active / (G * FLOP/s) + state_traffic * 2 * state / (G * bandwidth))
    cache     b * kv_traffic * cache of a token and layer
              * (full layers * ctx + windowed layers * min(ctx, window)) / (G * bandwidth)

Times per layer and per sequence are multiplied by the accelerator's `kernel_overhead` and that of the engine; bandwidth
and FLOP/s by its efficiencies, FLOP/s at 8 and 4 bits by its speed-ups. "Spread" is expert parallelism. With `d` draft
tokens, each right with probability `a`, a step yields 1 + a + ... + a^d tokens and does the arithmetic and touches the
experts of `d + 1`. A prefill of `n` tokens is a time per layer, arithmetic (with attention, which grows with n^2) and
an exchange per token.

A decision does none of this: `router/prediction/physics.py` makes a few coefficients when a backend is registered.
"""
WHY: Final = """
Every constant is positive, the sum of soft absolute errors of ln(predicted / measured) is least, and each is drawn
weakly to what physics expects of it, so that one that few points speak of stays sensible. Left out of the fit: several
replicas behind one address, batches above 260, and runs that are more than twice as slow as others of the same model at
the same batch in the same table (five models of one task on B200).
"""
LIMITS: Final = """
## What it does not know

- Version and options of an engine: the same model on the same accelerators moved by up to 30 % within two months.
- Prompts that are prefilled between steps: their time is in the constant per sequence as far as the tables had them.
- Interconnects: eight devices meet as in one board with NVLink. Cards on PCIe are slower in tensor parallelism.
- Accelerators that few measured: their efficiencies in `hardware.yaml` say what they rest on, `prior_sd_log` how much
  to believe them. A model that only its name tells of is guessed and marked so.
"""


def lines(tables: Tables, data: Path, constants: dict[str, float]) -> Iterator[str]:
    """The page, line by line."""
    yield HEAD
    yield "## What is asked of it\n"
    yield from _table(("", "reached", "at least", "stretch"), predictor_rows(data))
    yield "\n## How far it is off\n"
    yield (
        f"Fitted to {of_tables(tables)} (ML.ENERGY v3, vLLM). Reported on the {len(tables.published)} points that "
        "DECISION 2.1 reports on, where not said otherwise. `obs` are observations per stream, in random orders.\n"
    )
    yield from _table(
        ("left out", *COLUMNS, "obs"),
        _errors(tables, constants),
    )
    found = left_out(tables, tables.decode, by_architecture)
    yield "\nAll points, each architecture left out, with nothing observed:\n"
    yield from _table(("kind", *COLUMNS), [(kind, *_cells(score)) for kind, score in families(found)])
    yield "\nWhere it is furthest off:\n"
    yield from _table(("stream", *COLUMNS), [(kind, *_cells(score)) for kind, score in worst(found)])
    yield "\n## The constants\n"
    yield from _table(
        ("constant", "fitted", "expected", "meaning"),
        [(name, f"{constants[name]:.3g}", f"{e.median:.3g}", e.meaning) for name, e in EXPECTED.items()],
    )
    yield WHY
    yield "## Devices\n"
    devices = llamacpp.rows(data, tables.catalogue)
    by_prior = points(tables, devices, terms(devices, tables.catalogue) @ _vector(constants, DECODE))
    yield (
        f"llama.cpp on {len({row.accelerator for row in devices})} devices, one stream, with the efficiencies of "
        f"`hardware.yaml`, most of which come from these very points: {after(by_prior, 0).mean_error:.1%} mean error.\n"
    )
    yield "## Whole systems\n"
    yield (
        "MLPerf v5.1, which no constant was fitted to (efficiencies of AMD's accelerators in `hardware.yaml` rest in "
        "part on it): tokens a second of a device under each scenario's limit of TPOT, at the largest batch that "
        "memory and limit allow. `tau` is Kendall's, 1 where every two accelerators are in the right order. Engines "
        "there are tuned for months, so that most are faster than predicted.\n"
    )
    yield from _table(
        ("model", "scenario", "accelerators", "tau", "predicted / measured"),
        [(m, scenario, str(n), f"{t:.2f}", f"{r:.2f}") for m, scenario, n, t, r in order(data, tables.catalogue)],
    )
    yield "\n## First tokens\n"
    yield _first_tokens(tables, constants)
    yield LIMITS


COLUMNS: Final = ("points", "mean error", "p90", "predicted / measured", "sd of ln", "50 % holds", "90 % holds")


def _errors(tables: Tables, constants: dict[str, float]) -> Iterator[tuple[str, ...]]:
    chosen = tables.published
    inside = points(tables, chosen, terms(chosen, tables.catalogue) @ _vector(constants, DECODE))
    yield ("nothing", *_cells(after(inside, 0)), "0")
    for what, found in (
        ("each model", left_out(tables, chosen, by_model)),
        ("each architecture", left_out(tables, chosen, by_architecture)),
        ("each family", left_out(tables, chosen, by_family)),
        ("each architecture, all points", left_out(tables, tables.decode, by_architecture)),
        ("B200, by H100 only", across(tables, chosen, from_=FITTED_ON, to=NEVER_SEEN)),
        ("H100, by B200 only", across(tables, chosen, from_=NEVER_SEEN, to=FITTED_ON)),
    ):
        yield from _observed(what, found)


def _observed(what: str, found: list[Point]) -> Iterator[tuple[str, ...]]:
    for seen in (0, 1, 4):
        yield (what, *_cells(after(found, seen)), str(seen))


def _cells(score: Score) -> tuple[str, ...]:
    return (
        str(score.n),
        f"{score.mean_error:.1%}",
        f"{score.p90:.0%}",
        f"{score.median_ratio:.2f}",
        f"{score.sd_log:.2f}",
        f"{score.cover50:.0%}",
        f"{score.cover90:.1%}",
    )


def _first_tokens(tables: Tables, constants: dict[str, float]) -> str:
    predicted = prefill_terms(tables.prefill, tables.catalogue) @ _vector(constants, PREFILL)
    measured = np.array([row.ttft_s for row in tables.prefill])
    error = float(np.mean(np.abs(predicted / measured - 1.0)))
    return (
        f"{len(tables.prefill)} settings of Splitwise (Llama 2 70B and BLOOM 176B, A100 and H100, 2 to 8 devices, "
        f"prompts of 128 to 8,192 tokens, up to four at once): {error:.1%} mean error. That stack is of 2023, so that "
        "newer ones tend to be faster."
    )


def _vector(constants: dict[str, float], names: tuple[str, ...]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([constants[name] for name in names])


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
