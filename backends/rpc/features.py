"""Refuses what a family of text prompts cannot be asked for, before anything is sent."""

from __future__ import annotations

from backends.contract import GenerateRequest, Sampling
from backends.dialect import SAMPLING_FIELDS, Dialect
from backends.errors import Unsupported

_UNSET = Sampling()


def check(request: GenerateRequest, dialect: Dialect) -> None:
    """Raises Unsupported for a parameter or a capability that the dialect lacks."""
    for name in sorted(SAMPLING_FIELDS - dialect.parameters.keys()):
        if getattr(request.sampling, name) != getattr(_UNSET, name):
            raise unsupported(dialect, name)
    if request.tools:
        raise unsupported(dialect, "tools")
    wanted = request.response_format
    if wanted is not None and wanted.kind != "text" and wanted.kind not in dialect.capabilities:
        raise unsupported(dialect, "response_format", wanted.kind)


def unsupported(dialect: Dialect, param: str, why: str = "") -> Unsupported:
    return Unsupported(f"{dialect.name} does not take {param}{': ' if why else ''}{why}", param=param)
