"""Load from an engine's own JSON, by exact names; like a missing gauge, a missing field is unknown and never zero."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import msgspec

from backends.probing.metrics_text import EngineLoad


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonLoad:
    """Where a list of objects, one per data-parallel rank, says the load, and what the fields are called there."""

    path: str
    rows: str
    running: str
    waiting: str
    kv_cache_usage: str


def read_json_load(body: bytes, names: JsonLoad) -> EngineLoad:
    """Requests are summed over the ranks; the cache's use, a fraction, is their mean."""
    try:
        rows = msgspec.json.decode(body, type=dict[str, Any]).get(names.rows)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return EngineLoad()
    if not isinstance(rows, list):
        return EngineLoad()
    running, waiting, cache = (
        [row[name] for row in rows if isinstance(row, dict) and _is_number(row.get(name))]
        for name in (names.running, names.waiting, names.kv_cache_usage)
    )
    return EngineLoad(
        running=round(sum(running)) if running else None,
        waiting=round(sum(waiting)) if waiting else None,
        kv_cache_usage=min(1.0, max(0.0, sum(cache) / len(cache))) if cache else None,
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
