"""What is simulated: a fleet as the router is told of it, the truth about it, the requests, and what happens."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend
from router.domain.policies import Policies, WorkloadClass
from router.domain.pricing import Price
from router.domain.request import Slo
from router.settings import load as load_settings
from simulation.virtual.events import Event
from simulation.virtual.tables import Tables
from simulation.virtual.traces import Ask
from simulation.virtual.truth import NoTruth, Truth, truth_of

FILES = ("hardware.yaml", "models.yaml", "policies.yaml", "prices.yaml", "fleet.yaml")
# What somebody waits for, and what nobody does: classes of policies.yaml.
INTERACTIVE = "interactive"
BATCH = "batch"
# Seconds until a batch answer is of no use any more; its class has no objective of its own.
BATCH_DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class Site:
    """A fleet that serves one model: what the router is told, and the truth behind each backend by id."""

    model: str
    catalogue: Catalogue
    policies: Policies
    backends: tuple[Backend, ...]
    prices: Mapping[str, Price]
    truths: Mapping[str, Truth]

    def workload(self, ask: Ask) -> WorkloadClass:
        return self.policies.classes[INTERACTIVE if ask.interactive else BATCH]

    def slo(self, ask: Ask) -> Slo:
        """The objectives of a request: its class's, and for batch a deadline."""
        slo = self.workload(ask).slo
        return slo if ask.interactive else replace(slo, e2e_s=BATCH_DEADLINE_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One run but for the policy. `state_age_s` is how often replicas hear of each other and of engines.

    `late_s` is how old that is when it arrives. `prefix_cache`: engines keep prompts' beginnings.
    """

    site: Site
    asks: tuple[Ask, ...]
    seed: int = 0
    replicas: int = 1
    state_age_s: float = 0.0
    late_s: float = 0.0
    events: tuple[Event, ...] = field(default=())
    prefix_cache: bool = True
    model_error_sd: float = 0.2
    prefill_noise_sd: float = 0.1
    decode_noise_sd: float = 0.03


def site(
    fleet: Path, *, model: str | None, tables: Tables, config: Path, only: tuple[str, ...] = ()
) -> tuple[Site, list[str]]:
    """The fleet of a fleet.yaml (or of a folder that holds one) for one model, and why others were left out.

    Files that do not lie beside it are taken from `config`.

    Raises:
        ConfigError, NoTruth: something in the files is wrong, or nothing of the fleet can be simulated.
    """
    folder = fleet if fleet.is_dir() else fleet.parent
    if not (fleet / "fleet.yaml" if fleet.is_dir() else fleet).is_file():
        # Of the other files the usual ones do; of this one they would be another fleet than was asked for.
        raise NoTruth(f"{fleet}: no such file, or no fleet.yaml in it")
    with tempfile.TemporaryDirectory(prefix="simulate-") as name:
        for file in FILES:
            source = fleet if file == "fleet.yaml" and not fleet.is_dir() else folder / file
            chosen = source if source.exists() else config / file
            if chosen.exists():
                (Path(name) / file).write_text(chosen.read_text(encoding="utf-8"), encoding="utf-8")
        settings = load_settings(Path(name), {})
    wanted = model or _most_served(settings.seed.backends)
    prices = {price.backend: price for price in settings.seed.prices if price.model in {"", wanted}}
    names = settings.catalogue.resolve(wanted) or (wanted,)
    backends: list[Backend] = []
    truths: dict[str, Truth] = {}
    left_out: list[str] = []
    for backend in settings.seed.backends:
        served = next((s for s in backend.models if s.model in names), None)
        if served is None or (only and backend.id not in only):
            continue
        try:
            truths[backend.id] = truth_of(backend, served, settings.catalogue, tables)
        except NoTruth as error:
            left_out.append(str(error))
            continue
        backends.append(replace(backend, models=(served,), credential=None))
    if not backends:
        there = sorted({each.model for backend in settings.seed.backends for each in backend.models})
        raise NoTruth("; ".join(left_out) or f"no backend of {fleet} serves '{wanted}'; they serve: {', '.join(there)}")
    missing = {INTERACTIVE, BATCH} - settings.policies.classes.keys()
    if missing:
        raise NoTruth(f"policies.yaml: classes: no class is called '{min(missing)}'")
    return (
        Site(
            model=wanted,
            catalogue=settings.catalogue,
            policies=settings.policies,
            backends=tuple(backends),
            prices=prices,
            truths=truths,
        ),
        left_out,
    )


def _most_served(backends: tuple[Backend, ...]) -> str:
    """The model that most backends serve; of equals the last by name."""
    counts: dict[str, int] = {}
    for backend in backends:
        for served in backend.models:
            counts[served.model] = counts.get(served.model, 0) + 1
    if not counts:
        raise NoTruth("fleet.yaml: backends: none")
    return max(counts, key=lambda model: (counts[model], model))


def half_bandwidth(told: Site) -> Site:
    """The same fleet, but the router is told half of every accelerator's bandwidth and arithmetic."""
    hardware = {
        name: replace(
            entry,
            memory_bandwidth_bytes_per_s=0.5 * entry.memory_bandwidth_bytes_per_s,
            flops_per_s=0.5 * entry.flops_per_s,
        )
        for name, entry in told.catalogue.hardware.items()
    }
    return replace(told, catalogue=replace(told.catalogue, hardware=hardware))
