"""Results as a table, as JSON and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.table import Table

from simulation.virtual.extra import need
from simulation.virtual.policies import KNOWING, REFERENCE, ROUTER
from simulation.virtual.sweep import BOUND, Results, mean, mean_bound, numbers, share_of_gap

HEAD = ("policy", "load", "attained", "interactive", "$/Mtok", "$/1000", "gap", "J/token", "TTFT p50", "p99", "us")


def table(results: Results, policies: Sequence[str], loads: Sequence[float]) -> Table:
    """A line for each policy and load, over the seeds. `$/1000`: the objective of a thousand requests."""
    out = Table(box=box.SIMPLE_HEAD)
    for name in HEAD:
        out.add_column(name, justify="left" if name == "policy" else "right")
    for load in loads:
        for policy in policies:
            out.add_row(*line(results, policy, load), style="bold" if policy == ROUTER else None)
        out.add_section()
    return out


def line(results: Results, policy: str, load: float) -> tuple[str, ...]:
    """The cells of one policy at one load."""
    if policy == BOUND:
        least = mean_bound(results, load)
        assert least is not None  # noqa: S101 - it is among the policies that were run
        return (
            "bound (clairvoyant)", f"{load:g}x", f"{100.0 * least.attainment:.2f} %", "", "",
            f"{1e3 * least.objective_usd:.4f}", "100 %", "", "", "", "",
        )  # fmt: skip
    gap = share_of_gap(results, policy, REFERENCE, load)
    return (
        policy,
        f"{load:g}x",
        f"{100.0 * mean(results, policy, load, 'attainment'):.2f} %",
        f"{100.0 * mean(results, policy, load, 'interactive_attainment'):.2f} %",
        f"{mean(results, policy, load, 'usd_per_mtok'):.3f}",
        f"{1e3 * mean(results, policy, load, 'objective_usd'):.4f}",
        "" if gap is None else f"{100.0 * gap:.0f} %",
        f"{mean(results, policy, load, 'joules_per_token'):.2f}",
        f"{mean(results, policy, load, 'ttft_p50_s'):.2f} s",
        f"{mean(results, policy, load, 'ttft_p99_s'):.2f} s",
        f"{mean(results, policy, load, 'decision_us'):.0f}",
    )


def facts(results: Results) -> list[dict[str, object]]:
    """Every run."""
    return [
        {
            "policy": policy,
            "load": load,
            "seed": seed,
            **(numbers(result.figures) if result.figures is not None else {}),
            **(asdict(result.bound) if result.bound is not None else {}),
            **({"brier": result.brier} if result.brier[3] else {}),
        }
        for (policy, load, seed), result in sorted(results.items())
    ]


def plot(results: Results, policies: Sequence[str], loads: Sequence[float], path: Path, *, title: str) -> None:
    """Attainment by load, and money against attainment at the greatest load; a PNG.

    Raises:
        Missing: matplotlib is not installed.
    """
    need("matplotlib").use("Agg")
    plt = need("matplotlib.pyplot")
    shown = [name for name in policies if name not in {BOUND, KNOWING}]
    figure, (left, right) = plt.subplots(1, 2, figsize=(12.5, 5.2), constrained_layout=True)
    colours = plt.get_cmap("tab20")
    for n, name in enumerate(shown):
        ours = name == ROUTER
        style = {"color": "black" if ours else colours(n % 20), "zorder": 5 if ours else 2}
        attained = [100.0 * mean(results, name, load, "attainment") for load in loads]
        left.plot(loads, attained, marker="o", label=name, linewidth=2.5 if ours else 1.2, markersize=4, **style)
        paid = [1e3 * mean(results, name, load, "objective_usd") for load in loads]
        right.plot(loads, paid, marker="o", linewidth=2.5 if ours else 1.2, markersize=4, **style)
    bounds = [mean_bound(results, load) for load in loads]
    if all(bounds):
        least = [b for b in bounds if b is not None]
        # What it meets at that is no bound of what can be met: it gives up what is not worth its price.
        dotted = {"linestyle": ":", "color": "black", "label": "bound (clairvoyant)"}
        right.plot(loads, [1e3 * b.objective_usd for b in least], **dotted)
    left.set(xlabel="load, times the trace", ylabel="requests that met their objectives, %", ylim=(40, 101))
    right.set(
        xlabel="load, times the trace", ylabel="dollars and missed objectives, $ per 1,000 requests", yscale="log"
    )
    for axes in (left, right):
        axes.grid(visible=True, alpha=0.3)
    (names, labels), (more, words) = left.get_legend_handles_labels(), right.get_legend_handles_labels()
    figure.legend([*names, *more], [*labels, *words], loc="outside right center", fontsize=8)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=110)
    plt.close(figure)
