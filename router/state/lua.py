"""Loads `scripts/*.lua`, each with `common.lua` before it: a server-side script cannot import another."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, slots=True)
class ScriptTexts:
    put: str
    remove: str
    seed: str
    restore: str


def script_texts() -> ScriptTexts:
    folder = resources.files("router.state") / "scripts"

    def read(name: str) -> str:
        return (folder / f"{name}.lua").read_text(encoding="utf-8")

    common = read("common")
    return ScriptTexts(*(f"{common}\n{read(name)}" for name in ("put", "remove", "seed", "restore")))
