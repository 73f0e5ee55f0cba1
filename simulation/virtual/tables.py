"""The measurements that the simulator's truth is made of, read from a folder of other people's data."""

from __future__ import annotations

import csv
import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ML_ENERGY = "facts/mlenergy_v3_llm.csv"
SPLITWISE = "open/splitwise_perf_model.csv"
LLMPERF = "open/llmperf_2023_individual.csv"
TASK = "lm-arena-chat"
A100_W = 400.0
# What splitwise measured decoding with, and the least repeated prompt size that all batches have.
PROMPT = 512


class TablesError(ValueError):
    """A table is missing or has not the columns that it should; names the file."""


@dataclass(frozen=True, slots=True)
class Point:
    """One decoding measurement: seconds per token of each of `batch` sequences, and watts of all accelerators."""

    batch: float
    tpot_s: float
    watts: float


@dataclass(frozen=True, slots=True)
class Call:
    """One timed call of a hosted API, without queueing of ours."""

    ttft_s: float
    tpot_s: float


@dataclass(frozen=True, slots=True)
class Tables:
    """Decoding by (accelerator, count, model), prefill seconds by the same, timed calls by (provider, model).

    `decode` points rise with batch; `prefill` maps prompt tokens to seconds.
    """

    decode: Mapping[tuple[str, int, str], tuple[Point, ...]]
    prefill: Mapping[tuple[str, int, str], tuple[tuple[float, float], ...]]
    calls: Mapping[tuple[str, str], tuple[Call, ...]]


def load(folder: Path) -> Tables:
    """The tables of a folder that is laid out as ../shared/data.

    Raises:
        TablesError: a file is missing or malformed.
    """
    decode: dict[tuple[str, int, str], tuple[Point, ...]] = {}
    for key, points in _ml_energy(folder / ML_ENERGY).items():
        decode[key] = tuple(sorted(points, key=lambda point: point.batch))
    prefill, a100 = _splitwise(folder / SPLITWISE)
    decode.update(a100)
    return Tables(decode=decode, prefill=prefill, calls=_llmperf(folder / LLMPERF))


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise TablesError(f"{path}: {error.strerror or error}") from None


def _ml_energy(path: Path) -> dict[tuple[str, int, str], list[Point]]:
    found: dict[tuple[str, int, str], list[Point]] = defaultdict(list)
    try:
        for row in _read(path):
            if row["task"] == TASK and row["weight_precision"] == "bfloat16":
                key = (row["gpu_model"], int(row["num_gpus"]), row["model_id"].rpartition("/")[2])
                found[key].append(
                    Point(
                        batch=float(row["avg_batch_size"]),
                        tpot_s=float(row["median_itl_ms"]) / 1000.0,
                        watts=float(row["avg_power_watts"]),
                    )
                )
    except (KeyError, ValueError) as error:
        raise TablesError(f"{path}: not the columns of ML.ENERGY: {error}") from None
    return found


def _splitwise(
    path: Path,
) -> tuple[dict[tuple[str, int, str], tuple[tuple[float, float], ...]], dict[tuple[str, int, str], tuple[Point, ...]]]:
    """Prefill of A100 and H100 at batch 1, and decoding on A100, which ML.ENERGY has not."""
    prompts: dict[tuple[str, int, str], dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    steps: dict[tuple[str, int, str], dict[float, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    try:
        for row in _read(path):
            chip = {"a100-80gb": "A100", "h100-80gb": "H100"}.get(row["hardware"])
            if chip is None:
                continue
            key = (chip, int(row["tensor_parallel"]), row["model"])
            batch, prompt = int(row["batch_size"]), float(row["prompt_size"])
            if batch == 1:
                prompts[key][prompt].append(float(row["prompt_time"]) / 1000.0)
            if chip == "A100" and prompt == PROMPT:
                watts = float(row["average_power"]) * A100_W * key[1]
                steps[key][float(batch)].append((float(row["token_time"]) / 1000.0, watts))
    except (KeyError, ValueError) as error:
        raise TablesError(f"{path}: not the columns of splitwise's perf_model: {error}") from None
    prefill = {
        key: _rising([(size, statistics.median(times)) for size, times in sorted(sizes.items())])
        for key, sizes in prompts.items()
    }
    decode = {
        key: tuple(
            Point(batch, statistics.median(t for t, _ in seen), statistics.median(w for _, w in seen))
            for batch, seen in sorted(batches.items())
        )
        for key, batches in steps.items()
    }
    return prefill, decode


def _rising(points: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """More tokens never take less time: the jitter of short prompts is smoothed from the right."""
    least = points[-1][1]
    kept: list[tuple[float, float]] = []
    for size, time in reversed(points):
        least = min(least, time)
        kept.append((size, least))
    return tuple(reversed(kept))


def _llmperf(path: Path) -> dict[tuple[str, str], tuple[Call, ...]]:
    found: dict[tuple[str, str], list[Call]] = defaultdict(list)
    try:
        for row in _read(path):
            if row["error_code"] or not row["ttft_s"] or float(row["n_out"]) < 20.0:
                continue
            ttft, e2e, tokens = float(row["ttft_s"]), float(row["e2e_s"]), float(row["n_out"])
            found[row["provider"], row["model"]].append(Call(ttft, (e2e - ttft) / (tokens - 1.0)))
    except (KeyError, ValueError) as error:
        raise TablesError(f"{path}: not the columns of LLMPerf: {error}") from None
    return {key: tuple(calls) for key, calls in found.items()}
