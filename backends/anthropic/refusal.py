"""How a dialect says what it does not take."""

from __future__ import annotations

from backends.anthropic.profile import Profile
from backends.errors import Unsupported


def unsupported(profile: Profile, param: str, why: str = "") -> Unsupported:
    return Unsupported(f"{profile.name} does not take {param}{': ' if why else ''}{why}", param=param)
