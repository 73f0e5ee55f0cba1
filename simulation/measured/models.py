"""What people call models, and which one of models.yaml that is."""

from __future__ import annotations

import re
from typing import Final

from router.domain.catalogue import Catalogue
from router.domain.guessing import bytes_per_weight, guessed, parameters
from router.domain.hardware import Hardware, Model

# Names that hold no more than initials: "DSR1 FP8".
SHORT: Final = (
    (r"^dsr1|r10528", "deepseek-r1"),
    (r"^dsv?32", "deepseek-v3.2"),
    (r"^dsv?31", "deepseek-v3.1"),
    (r"^dsv?3", "deepseek-v3"),
    (r"^gptoss($|fp4|mxfp4)", "gpt-oss-120b"),
    (r"^mixtral($|instruct|fp8)", "mixtral-8x7b"),
    (r"^llama8b", "llama-3.1-8b"),
    (r"^llama70b", "llama-3.3-70b"),
    (r"^llama405b", "llama-3.1-405b"),
    (r"^qwen35($|fp|bf|nvfp)", "qwen3.5-397b-a17b"),
    (r"maverick", "llama-4-maverick"),
    (r"scout", "llama-4-scout"),
    (r"^mistrallarge", "mistral-large-2"),
    (r"^commandrplus", "command-r-plus-104b"),
    (r"^commanda", "command-a-111b"),
    (r"^commandr", "command-r-35b"),
)
# What their makers publish, where the name does not say it.
NATIVE_BYTES: Final = {
    "deepseek-r1": 1.0,
    "deepseek-v3": 1.0,
    "deepseek-v3.1": 1.0,
    "deepseek-v3.2": 1.0,
    "kimi-k2": 1.0,
    "kimi-k2.5": 0.56,
    "minimax-m2": 1.0,
    "gpt-oss-20b": 0.53,
    "gpt-oss-120b": 0.53,
}
# A name that says a size which differs by more than this is of another model of the family.
SAME_SIZE: Final = 0.2
# Of a device's memory, what weights may take.
FOR_WEIGHTS: Final = 0.95


def plain(name: str) -> str:
    """A name as it is compared: lower case letters and digits of what follows its organisation."""
    return re.sub(r"[^a-z0-9]", "", name.rsplit("/", 1)[-1].lower())


class Names:
    """Finds models by any of their names; what the catalogue lacks is guessed from the name, and marked so."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._models = catalogue.models
        known = {plain(name): name for name, model in catalogue.models.items() if model.parameters}
        # Many leave out what is active: "qwen3-next-80b".
        known |= {plain(re.sub(r"-a\d+b$", "", name)): name for name in known.values()} | known
        # The longest first: "qwen3-coder-30b-a3b" is not "qwen3-30b-a3b".
        self._known = sorted(known.items(), key=lambda pair: -len(pair[0]))

    def find(self, name: str) -> Model | None:
        """The model that a name stands for, or None when it says not even a size."""
        words, short = plain(name), name.rsplit("/", 1)[-1].replace("_", "-").replace(" ", "-")
        for pattern, model_id in SHORT:
            if re.search(pattern, words) and model_id in self._models:
                return self._models[model_id]
        short = re.sub(r"(?<=[a-zA-Z]{2})(?=\d+(\.\d+)?[bBtT](?![a-zA-Z]))", "-", short)  # "llama70b"
        said = parameters(short)
        for known, model_id in self._known:
            model = self._models[model_id]
            if known not in words:
                continue
            if said is None or abs(said[0] - model.parameters) <= SAME_SIZE * model.parameters:
                return model
        return guessed(short)


def weight_bytes(name: str, model: Model, hardware: Hardware, count: int, precision: str = "") -> float:
    """Bytes of a weight: as said beside the model, else in its name, else as its maker serves it, else 16 bits.

    Where nobody said it and that does not fit the memory, it is taken to be half of it.
    """
    said = bytes_per_weight(precision) if precision else None
    if said is None:
        said = bytes_per_weight(name)
    if said is not None:
        return said
    likely = NATIVE_BYTES.get(model.id, 2.0)
    room = FOR_WEIGHTS * hardware.memory_bytes * count
    while room and likely * model.parameters > room and likely > 0.5:
        likely *= 0.5
    return likely
