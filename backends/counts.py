"""Counts as vendors give them, made into counts that can be added up, and numbers of headers.

A count may be absent, null, a float, or nonsense; nonsense (below zero, or more than any answer has) is no count.
"""

from __future__ import annotations

from typing import Final

Number = int | float

MOST: Final = 1 << 40
MOST_IN_HEADER: Final = 1e15


def last(current: int | None, value: Number | None) -> int | None:
    """The count so far after another value: the last one that is a count."""
    return current if value is None or not 0 <= value <= MOST else int(value)


def header_number(value: str | None) -> float | None:
    """The number that a header holds; None for none, for text, and for what is no amount (NaN, infinite, absurd)."""
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if abs(number) < MOST_IN_HEADER else None
