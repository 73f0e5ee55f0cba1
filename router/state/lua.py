"""Loads `scripts/*.lua`; those that change documents with `common.lua` before them, for a script can import nothing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class Script:
    name: str
    text: str
    sha: str


@cache
def load_script(name: str, *, common: bool = False) -> Script:
    """The script of a file in `scripts/`, with `common.lua` before it when that is asked for."""
    folder = resources.files("router.state") / "scripts"
    text = (folder / f"{name}.lua").read_text(encoding="utf-8")
    if common:
        text = f"{(folder / 'common.lua').read_text(encoding='utf-8')}\n{text}"
    # The server names scripts by their SHA-1.
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
