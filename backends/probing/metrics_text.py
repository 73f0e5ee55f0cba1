"""Load from an engine's Prometheus text, by exact names.

A name that is not there is None, "the engine does not say", never zero: an idle engine and one that renamed its gauge
must not look alike. Each signal has its names newest first, because engines rename gauges between versions. A name may
come with labels that a sample must have, `name{kind="waiting"}`, where one gauge counts several things.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class GaugeNames:
    """What an engine calls its load, newest name first."""

    running: tuple[str, ...]
    waiting: tuple[str, ...]
    kv_cache_usage: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLoad:
    running: int | None = None
    waiting: int | None = None
    kv_cache_usage: float | None = None


def read_load(text: str, names: GaugeNames) -> EngineLoad:
    """Requests are summed over the engines of a data-parallel server; the cache's use, a fraction, is their mean."""
    wanted = {*names.running, *names.waiting, *names.kv_cache_usage}
    series: dict[str, list[float]] = {}
    for name, value in _samples(text, wanted):
        series.setdefault(name, []).append(value)
    running = _newest(series, names.running)
    waiting = _newest(series, names.waiting)
    cache = _newest(series, names.kv_cache_usage)
    return EngineLoad(
        running=None if running is None else round(sum(running)),
        waiting=None if waiting is None else round(sum(waiting)),
        kv_cache_usage=None if cache is None else min(1.0, max(0.0, sum(cache) / len(cache))),
    )


def _newest(series: dict[str, list[float]], names: tuple[str, ...]) -> list[float] | None:
    return next((series[name] for name in names if name in series), None)


def _samples(text: str, wanted: set[str]) -> Iterator[tuple[str, float]]:
    selectors = _by_gauge(wanted)
    for line in text.splitlines():
        name = re.split(r"[{\s]", line, maxsplit=1)[0]
        if name not in selectors:
            continue
        rest = line[len(name) :]
        labels, brace, tail = rest.rpartition("}")
        if not brace:
            labels, tail = "", rest
        found = _LABEL.findall(labels)
        if _is_shadow(found):
            continue
        try:
            value = float(tail.split()[0])
        except (IndexError, ValueError):
            continue
        if math.isfinite(value):
            for selector, asked_for in selectors[name]:
                if asked_for <= set(found):
                    yield selector, value


def _by_gauge(wanted: set[str]) -> dict[str, list[tuple[str, set[tuple[str, str]]]]]:
    """The names as they were asked for and the labels in them, by the name of the gauge alone."""
    found: dict[str, list[tuple[str, set[tuple[str, str]]]]] = {}
    for selector in wanted:
        name, _, labels = selector.partition("{")
        found.setdefault(name, []).append((selector, set(_LABEL.findall(labels))))
    return found


def _is_shadow(labels: list[tuple[str, str]]) -> bool:
    """Tensor- and pipeline-parallel ranks hold parts of the same requests; only the first of them counts."""
    return any(name in ("tp_rank", "pp_rank") and value != "0" for name, value in labels)
