"""Prometheus text as vLLM writes it, as far as a router reads it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from simulation.engine import Sequence

TTFT_BOUNDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0)
ITL_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
E2E_BOUNDS = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0)


class Histogram:
    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def lines(self, name: str, labels: str) -> list[str]:
        out, total = [], 0
        for bound, count in zip((*self._bounds, "+Inf"), self._counts, strict=True):
            total += count
            out.append(f'{name}_bucket{{{labels},le="{bound}"}} {total}')
        return [*out, f"{name}_sum{{{labels}}} {self._sum:.6f}", f"{name}_count{{{labels}}} {total}"]


@dataclass(slots=True)
class ModelMetrics:
    """The counters of one model."""

    ttft: Histogram = field(default_factory=lambda: Histogram(TTFT_BOUNDS))
    itl: Histogram = field(default_factory=lambda: Histogram(ITL_BOUNDS))
    e2e: Histogram = field(default_factory=lambda: Histogram(E2E_BOUNDS))
    queue: Histogram = field(default_factory=lambda: Histogram(E2E_BOUNDS))
    prompt_tokens: int = 0
    generation_tokens: int = 0
    rejections: int = 0
    finished: Counter[str] = field(default_factory=Counter)

    def record(self, sequence: Sequence, reason: str) -> None:
        """Counts a request that ended; one that was cancelled counts the tokens it got."""
        self.finished[reason] += 1
        self.generation_tokens += sequence.generated
        if sequence.admitted_at is not None:
            self.queue.observe(sequence.admitted_at - sequence.submitted_at)
        if sequence.first_token_at is None:
            return
        self.prompt_tokens += sequence.prompt_tokens
        self.ttft.observe(sequence.first_token_at - sequence.submitted_at)
        if sequence.finished_at is not None:
            self.e2e.observe(sequence.finished_at - sequence.submitted_at)
            if sequence.generated > 1:
                steps = sequence.generated - 1
                self.itl.observe((sequence.finished_at - sequence.first_token_at) / steps, steps)


def render(models: dict[str, ModelMetrics], load: dict[str, tuple[int, int]], kv_usage: float) -> bytes:
    """The whole page; `load` is running and waiting by model."""
    labels = {name: f'engine="0",model_name="{name}"' for name in models}
    out: list[str] = []

    def values(name: str, kind: str, value: Callable[[str, ModelMetrics], float]) -> None:
        out.append(f"# TYPE vllm:{name} {kind}")
        out.extend(f"vllm:{name}{{{labels[model]}}} {float(value(model, m))}" for model, m in models.items())

    def histograms(name: str, histogram: Callable[[ModelMetrics], Histogram]) -> None:
        out.append(f"# TYPE vllm:{name} histogram")
        for model, metrics in models.items():
            out.extend(histogram(metrics).lines(f"vllm:{name}", labels[model]))

    values("num_requests_running", "gauge", lambda model, _: load[model][0])
    values("num_requests_waiting", "gauge", lambda model, _: load[model][1])
    values("kv_cache_usage_perc", "gauge", lambda _, __: kv_usage)
    values("prompt_tokens_total", "counter", lambda _, m: m.prompt_tokens)
    values("generation_tokens_total", "counter", lambda _, m: m.generation_tokens)
    values("admission_rejections_total", "counter", lambda _, m: m.rejections)
    out.append("# TYPE vllm:request_success_total counter")
    out.extend(
        f'vllm:request_success_total{{{labels[model]},finished_reason="{reason}"}} {float(count)}'
        for model, metrics in models.items()
        for reason, count in metrics.finished.items()
    )
    histograms("time_to_first_token_seconds", lambda m: m.ttft)
    histograms("inter_token_latency_seconds", lambda m: m.itl)
    histograms("e2e_request_latency_seconds", lambda m: m.e2e)
    histograms("request_queue_time_seconds", lambda m: m.queue)
    return ("\n".join(out) + "\n").encode()
