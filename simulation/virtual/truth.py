"""What backends really do in the simulation: speeds and limits from measured tables, never from the router's prior.

Where nobody has measured a backend, the nearest measured one is scaled by the two data sheets; `note` says so, and
shows it wherever results are shown.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend, ServedModel
from router.domain.hardware import Hardware, Model
from simulation.virtual.tables import Call, Point, Tables

# Catalogue ids -> names in the tables.
CHIPS = {"a100-sxm-80": "A100", "h100-sxm-80": "H100", "b200-sxm-180": "B200"}
MODELS = {
    "llama-3.1-8b": "Llama-3.1-8B-Instruct",
    "llama-3.1-70b": "Llama-3.1-70B-Instruct",
    "llama-3.3-70b": "Llama-3.3-70B-Instruct",
    "llama-3.1-405b": "Llama-3.1-405B-Instruct-FP8",
}
SPLITWISE_MODEL = "llama2-70b"
SPLITWISE_PARAMETERS = 69.0e9
# LLMPerf's sets by the size of the model; the 2023 models stand in for those of today.
CALLED = ((3.0e10, "llama-2-70b-chat"), (1.0e10, "llama-2-13b-chat"), (0.0, "llama-2-7b-chat"))
# Profile of the wire, or of a backend's id where the profile says nothing -> provider in LLMPerf.
PROVIDERS = ("groq", "together", "fireworks", "bedrock", "anyscale", "perplexity", "replicate", "lepton")
# Of stacks other than the one that was measured: MI300X was found to be 1.8 times slower than scaling says.
OTHER_STACK = 1.5
# Of a fresh prompt token's share of the KV space: what is left of 90 % of memory beside the weights.
USABLE_MEMORY = 0.9
HOST_AND_BUILDING = 1.4 * 1.2


class NoTruth(ValueError):
    """Nothing measured comes near a backend; names it."""


@dataclass(frozen=True, slots=True)
class EngineTruth:
    """A replica of our own: one prompt at a time, then decoding with everybody else.

    `tpot_s[b]` and `watts[b]` hold for b sequences; `prefill` maps prompt tokens to seconds; `kv_tokens` fit at once.
    """

    id: str
    tpot_s: tuple[float, ...]
    watts: tuple[float, ...]
    prefill: tuple[tuple[float, float], ...]
    max_batch: int
    kv_tokens: float
    rtt_s: float
    note: str

    def prefill_s(self, tokens: float) -> float:
        """Seconds for so many fresh prompt tokens; beyond the table its last slope goes on."""
        points = self.prefill
        place = bisect_left(points, (tokens, 0.0))
        if place == 0:
            return points[0][1]
        low, high = points[min(place, len(points) - 1) - 1], points[min(place, len(points) - 1)]
        return low[1] + (high[1] - low[1]) * (tokens - low[0]) / (high[0] - low[0])

    @property
    def prefill_watts(self) -> float:
        return self.watts[-1]


@dataclass(frozen=True, slots=True)
class HostedTruth:
    """Somebody else's service: times are drawn from measured calls; limits are per minute, None is none."""

    id: str
    calls: tuple[Call, ...]
    requests_per_minute: float | None
    tokens_per_minute: float | None
    max_concurrency: int
    note: str


Truth = EngineTruth | HostedTruth


def truth_of(backend: Backend, served: ServedModel, catalogue: Catalogue, tables: Tables) -> Truth:
    """What `backend` really does with a model.

    Raises:
        NoTruth: nothing measured is near enough to say.
    """
    model = catalogue.models.get(served.model)
    hardware = catalogue.hardware.get(backend.hardware)
    if model is None or model.parameters <= 0.0:
        raise NoTruth(f"backends.{backend.id}.models: nothing is measured of '{served.model}'")
    provider = _provider(backend)
    if provider is not None or hardware is None or hardware.flops_per_s <= 0.0:
        return _hosted(backend, model, provider or "together", tables, known=provider is not None)
    return _engine(backend, served, model, hardware, catalogue, tables)


def _provider(backend: Backend) -> str | None:
    for name in PROVIDERS:
        if name in {backend.profile, backend.wire} or backend.id.startswith(name):
            return name
    return None


def _hosted(backend: Backend, model: Model, provider: str, tables: Tables, *, known: bool) -> HostedTruth:
    size = next(name for least, name in CALLED if model.parameters >= least)
    calls = tables.calls.get((provider, size)) or tables.calls.get((provider, CALLED[0][1]))
    if not calls:
        raise NoTruth(f"backends.{backend.id}: LLMPerf has no calls of {provider}")
    return HostedTruth(
        id=backend.id,
        calls=calls,
        requests_per_minute=backend.requests_per_minute,
        tokens_per_minute=backend.tokens_per_minute,
        max_concurrency=backend.max_concurrency,
        note=f"measured: LLMPerf, {provider} {size}" if known else f"guess: as {provider} {size} in LLMPerf",
    )


def _engine(
    backend: Backend, served: ServedModel, model: Model, hardware: Hardware, catalogue: Catalogue, tables: Tables
) -> EngineTruth:
    count, notes = backend.hardware_count, []
    chip, name = CHIPS.get(hardware.id, ""), MODELS.get(model.id, "")
    points, factor, power = tables.decode.get((chip, count, name)), 1.0, 1.0
    if points:
        notes.append(f"decoding measured: ML.ENERGY {chip} x{count}")
    elif (points := tables.decode.get((chip, count, SPLITWISE_MODEL))) and 6e10 < model.parameters < 8e10:
        notes.append(f"decoding measured: splitwise {chip} x{count}, Llama-2-70B")
    else:
        base_chip, base_count, points = _nearest(model, name, tables, backend)
        base = catalogue.hardware[next(key for key, value in CHIPS.items() if value == base_chip)]
        factor = base_count * base.memory_bandwidth_bytes_per_s / (count * hardware.memory_bandwidth_bytes_per_s)
        power = count * hardware.tdp_w / (base_count * base.tdp_w)
        if not hardware.name.startswith("NVIDIA"):
            factor *= OTHER_STACK
        notes.append(f"decoding guessed: {base_chip} x{base_count} scaled by bandwidth, times {factor:.2f}")
    prefill, note = _prefill(model, hardware, count, catalogue, tables)
    free = USABLE_MEMORY * hardware.memory_bytes * count - (served.bytes_per_weight or 2.0) * model.parameters
    return EngineTruth(
        id=backend.id,
        tpot_s=tuple(_at(points, b, lambda p: p.tpot_s) * factor for b in range(backend.max_concurrency + 1)),
        watts=tuple(_at(points, b, lambda p: p.watts) * power for b in range(backend.max_concurrency + 1)),
        prefill=prefill,
        max_batch=backend.max_concurrency,
        kv_tokens=max(free, 1e9) / max(1.0, model.kv_bytes_per_token),
        rtt_s=backend.network_rtt_s,
        note="; ".join([*notes, note]),
    )


def _nearest(model: Model, name: str, tables: Tables, backend: Backend) -> tuple[str, int, tuple[Point, ...]]:
    """The measured H100 of the same model with the most sequences, or any other of it."""
    same = [(key[0], key[1], points) for key, points in tables.decode.items() if name and key[2] == name]
    if not same:
        raise NoTruth(
            f"backends.{backend.id}.models: nothing is measured of '{model.id}'; try one of {', '.join(MODELS)}"
        )
    return max(same, key=lambda found: (found[0] == "H100", len(found[2])))


def _prefill(
    model: Model, hardware: Hardware, count: int, catalogue: Catalogue, tables: Tables
) -> tuple[tuple[tuple[float, float], ...], str]:
    """Prefill by prompt tokens: measured of Llama-2-70B; otherwise scaled by arithmetic, and by the model's size."""
    size = (model.active_parameters or model.parameters) / SPLITWISE_PARAMETERS
    chip = CHIPS.get(hardware.id, "")
    measured = tables.prefill.get((chip, count, SPLITWISE_MODEL))
    if measured and 0.9 < size < 1.1:
        return measured, f"prefill measured: splitwise {chip} x{count}"
    base = catalogue.hardware["h100-sxm-80"]
    points = tables.prefill["H100", 4, SPLITWISE_MODEL]
    factor = size * 4.0 * base.flops_per_s / (count * hardware.flops_per_s)
    if not hardware.name.startswith("NVIDIA"):
        factor *= OTHER_STACK
    return tuple((n, s * factor) for n, s in points), f"prefill scaled by FLOP/s from H100 x4, times {factor:.2f}"


def _at(points: tuple[Point, ...], batch: int, what: Callable[[Point], float]) -> float:
    """A figure at a batch: between measured ones on a line, below the first one and beyond the last one on theirs."""
    at = max(1.0, float(batch))
    if len(points) == 1:
        return what(points[0])
    place = min(max(1, bisect_left([p.batch for p in points], at)), len(points) - 1)
    low, high = points[place - 1], points[place]
    value = what(low) + (what(high) - what(low)) * (at - low.batch) / (high.batch - low.batch)
    return max(value, 0.5 * min(what(low), what(high)))
