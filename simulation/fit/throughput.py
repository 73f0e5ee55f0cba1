"""Whole systems under limits of latency (MLPerf): does the prior put them in the right order?

Tokens a second of a device at the largest batch that memory and the limit of TPOT allow, with prompts of the others in
between, on as many devices per replica as do best. MLPerf's engines are tuned for months; the order is what is judged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Final

from router.domain.catalogue import Catalogue
from router.prediction.physics import speed
from simulation.measured.mlperf import Throughput, rows

# Limits of TPOT in seconds by scenario (MLPerf v5.1), and (prompt, answer) in tokens, by model.
LIMITS: Final[dict[str, dict[str, float]]] = {
    "llama-2-70b": {"Server": 0.2, "Interactive": 0.04},
    "llama-3.1-405b": {"Server": 0.175, "Interactive": 0.08},
    "llama-3.1-8b": {"Server": 0.1, "Interactive": 0.03},
    "mixtral-8x7b": {"Server": 0.2},
    "deepseek-r1": {"Server": 0.08},
}
LENGTHS: Final = {
    "llama-2-70b": (294.0, 294.0),
    "llama-3.1-405b": (9400.0, 680.0),
    "llama-3.1-8b": (780.0, 73.0),
    "mixtral-8x7b": (370.0, 145.0),
    "deepseek-r1": (800.0, 3900.0),
}
BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096)
USABLE_MEMORY: Final = 0.9


def predicted(row: Throughput, catalogue: Catalogue) -> float:
    """Tokens a second of one device, 0 where nothing meets the limit."""
    model, hardware = catalogue.models[row.model], catalogue.hardware[row.accelerator]
    limit = LIMITS[row.model].get(row.scenario, 10.0)
    prompt, answer = LENGTHS[row.model]
    context = prompt + 0.5 * answer
    best = 0.0
    for count in (1, 2, 4, 8):
        room = USABLE_MEMORY * hardware.memory_bytes * count - row.bytes_per_weight * model.parameters
        pace = speed(model, hardware, count=count, bytes_per_weight=row.bytes_per_weight, bytes_per_kv=1.0)
        for batch in BATCHES:
            if batch * 0.5 * model.kv_bytes_per_token * (prompt + answer) > room:
                break
            tpot = pace.answer_tpot_s(batch, context, prompt, answer)
            if tpot <= limit:
                best = max(best, batch / tpot / count)
    return best


def order(data: Path, catalogue: Catalogue) -> list[tuple[str, str, int, float, float]]:
    """(Model, scenario, accelerators, Kendall's tau, median of predicted over measured), each accelerator once."""
    groups: dict[tuple[str, str], dict[tuple[str, float], list[Throughput]]] = defaultdict(lambda: defaultdict(list))
    for row in rows(data, catalogue):
        if row.model in LIMITS and catalogue.hardware[row.accelerator].kind == "gpu" and row.bytes_per_weight <= 1.0:
            groups[row.model, row.scenario][row.accelerator, row.bytes_per_weight].append(row)
    found = []
    for (model, scenario), systems in sorted(groups.items()):
        pairs = [(predicted(same[0], catalogue), median(row.tokens_per_s for row in same)) for same in systems.values()]
        if len(pairs) > 2:
            found.append((model, scenario, len(pairs), tau(pairs), median(said / seen for said, seen in pairs)))
    return found


def tau(pairs: Sequence[tuple[float, float]]) -> float:
    """Kendall's tau: the share of pairs in the right order less the share in the wrong one."""
    right = [(a[0] - b[0]) * (a[1] - b[1]) for a, b in combinations(pairs, 2)]
    return sum((product > 0) - (product < 0) for product in right) / len(right)
