"""Copies of the sources, one as plain Python and one compiled, so that a run measures what the sources say now.

The working tree may hold compiled modules that are older than their source, and may change while a run lasts; it is
never touched.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from supervise.child import Child, ChildError

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("router", "backends", "bench", "config")
COMPILE_S = 180.0


class CannotCompile(RuntimeError):
    """There is no compiler, or it failed; the text says what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Where the copies are. `compiled` is None where there is no compiler; `why_not` says so."""

    plain: Path
    compiled: Path | None
    why_not: str = ""

    @property
    def best(self) -> Path:
        return self.compiled or self.plain

    @property
    def label(self) -> str:
        return "compiled" if self.compiled else f"plain Python: {self.why_not}"


async def make(folder: Path, say: Callable[[str], None], *, compiled: bool = True) -> Copies:
    """Both copies, below `folder`; without `compiled` only the plain one."""
    plain, other = folder / "plain", folder / "compiled"
    for copy in (plain, other) if compiled else (plain,):
        for name in COPIED:
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        shutil.copy2(ROOT / "pyproject.toml", copy)
    if not compiled:
        return Copies(plain=plain, compiled=None, why_not="as it was asked for")
    say("compiling a copy of the decision core (some ten seconds)")
    try:
        await _compile(other)
    except CannotCompile as failure:
        return Copies(plain=plain, compiled=None, why_not=f"it cannot be compiled here, {failure}")
    return Copies(plain=plain, compiled=other)


async def _compile(copy: Path) -> None:
    argv = [sys.executable, "-m", "router.compile"]
    async with Child.start(argv, name="compiling", cwd=copy, env=environment(copy)) as child:

        async def ended() -> bool:
            return child.returncode is not None

        try:
            await child.wait_ready(ended, timeout_s=COMPILE_S)
        except ChildError as error:
            raise CannotCompile(str(error)) from error
        if child.returncode:
            raise CannotCompile((child.tail.splitlines() or ["no word"])[-1][:200])


def environment(copy: Path) -> dict[str, str]:
    """Ours, without what would change a router's configuration, and with the copy in front of the working tree."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("INFERENCE_ROUTER_", "REDIS_"))}
    return kept | {"PYTHONPATH": str(copy)}
