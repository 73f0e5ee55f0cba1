"""The models and accelerators that this router knows, with the names that callers may use."""

from __future__ import annotations

from dataclasses import dataclass, field

from router.domain.hardware import Hardware, Model
from router.domain.sites import Places


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """`aliases` map a name to one model; `classes` map a name to models that may stand in for each other."""

    hardware: dict[str, Hardware] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    places: Places = field(default=Places())

    def resolve(self, name: str) -> tuple[str, ...]:
        """The models that a caller's name allows; a name that the catalogue lacks stands for itself."""
        if name in self.classes:
            return self.classes[name]
        return (self.aliases.get(name, name),)
