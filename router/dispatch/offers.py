"""What a backend can be asked for, as the bits that rows hold: its family's, less what model and server lack."""

from __future__ import annotations

from router.domain.fleet import Backend, Capability, Parameter
from router.domain.hardware import Model
from router.domain.rows import capability_mask, parameter_mask
from router.domain.wires import WITHOUT, Wires

# What a model of the catalogue must read for a capability to mean anything.
READS = {Capability.VISION: "image", Capability.AUDIO: "audio"}


def unread(model: Model | None) -> int:
    """The capabilities that a model lacks because of what it does not read, whoever serves it."""
    if model is None:
        return 0
    return capability_mask(frozenset(need for need, kind in READS.items() if kind not in model.modalities))


def refused(backend: Backend) -> int:
    """What this server refuses although its family does not."""
    if not backend.options:
        return 0
    names = set(dict(backend.options).get(WITHOUT, "").split(","))
    return capability_mask(frozenset(c for c in Capability if c in names)) | parameter_mask(
        frozenset(p for p in Parameter if p in names)
    )


def families(wires: Wires) -> dict[tuple[str, str], int]:
    """What each family can be asked for, as rows hold it; by wire and profile."""
    return {
        (wire, profile): capability_mask(family.capabilities) | parameter_mask(family.parameters)
        for wire, facts in wires.items()
        for profile, family in facts.profiles.items()
    }
