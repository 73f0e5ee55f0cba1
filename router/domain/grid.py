"""How dirty the electricity of a place is now. Plain typed attributes: it compiles to native code unchanged."""

from __future__ import annotations

from typing import Final

JOULES_PER_KWH: Final = 3.6e6


class Grid:
    """Grams of CO2 equivalent for a joule at the wall; whoever owns the clock sets it each hour."""

    def __init__(self) -> None:
        self.g_per_joule = 0.0

    def set(self, g_per_kwh: float) -> None:
        self.g_per_joule = g_per_kwh / JOULES_PER_KWH
