"""Quantities: a number in the unit that the field's name says, or text with a unit ("80 GB", "250 ms").

Units are case-sensitive where the case changes the meaning: GB is bytes, Gb would be bits and is refused.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_PATTERN = re.compile(r"^\s*([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)\s*(\S.*?)?\s*$")


def _scaled(unit: str, prefixes: str = "kMGTP") -> dict[str, float]:
    return {unit: 1.0} | {f"{prefix}{unit}": 1000.0 ** (n + 1) for n, prefix in enumerate(prefixes)}


_BYTES = _scaled("B") | {f"{prefix}iB": 1024.0 ** (n + 1) for n, prefix in enumerate("KMGT")}


@dataclass(frozen=True, slots=True)
class Dimension:
    """What is measured: the base unit's name, how each unit converts to it, and an example to show."""

    base: str
    units: dict[str, float]
    example: str


SECONDS = Dimension("seconds", {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0}, "250 ms")
BYTES = Dimension("bytes", _BYTES, "80 GB")
BYTES_PER_S = Dimension("bytes per second", {f"{u}/s": f for u, f in _BYTES.items()}, "3.35 TB/s")
# No TOPS: those are of 8-bit integers, and the catalogue is of 16-bit floating point.
FLOPS = Dimension("FLOP/s", _scaled("FLOPS"), "989 TFLOPS")
WATTS = Dimension("watts", {"W": 1.0, "kW": 1e3, "mW": 1e-3}, "700 W")
USD = Dimension("dollars", {"USD": 1.0}, "0.002 USD")
USD_PER_HOUR = Dimension("dollars per hour", {"USD/h": 1.0, "USD/s": 3600.0}, "2.95 USD/h")
USD_PER_MTOK = Dimension(
    "dollars per million tokens", {"USD/Mtok": 1.0, "USD/ktok": 1e3, "USD/tok": 1e6}, "0.59 USD/Mtok"
)
USD_PER_KWH = Dimension("dollars per kWh", {"USD/kWh": 1.0}, "0.12 USD/kWh")


def parse_quantity(value: object, dimension: Dimension) -> float:
    """The value in the base unit.

    Raises:
        ValueError: with a message for the reader of the file.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"expected a number of {dimension.base}, or text like '{dimension.example}'")  # noqa: TRY004 - pydantic takes ValueError only
    if isinstance(value, str):
        match = _PATTERN.match(value)
        if match is None:
            raise ValueError(
                f"expected a number of {dimension.base}, or text like '{dimension.example}'; got {value[:40]!r}"
            )
        unit = match[2]
        if unit is not None and unit not in dimension.units:
            raise ValueError(
                f"wrong unit {unit[:20]!r}: expected {dimension.base}, such as '{dimension.example}'"
                f" (units: {', '.join(dimension.units)})"
            )
        number = float(match[1]) * (dimension.units[unit] if unit else 1.0)
    else:
        number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"expected a finite number of {dimension.base}")
    return number
