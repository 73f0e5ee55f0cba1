"""How this wire says what it does not take."""

from __future__ import annotations

from backends.errors import Unsupported


def unsupported(param: str, why: str = "") -> Unsupported:
    return Unsupported(f"bedrock does not take {param}{': ' if why else ''}{why}", param=param)
