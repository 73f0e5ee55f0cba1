"""Token counts as vendors give them, made into counts that can be added up.

A count may be absent, null, a float, or nonsense; nonsense (below zero, or more than any answer has) is no count.
"""

from __future__ import annotations

from typing import Final

Number = int | float

MOST: Final = 1 << 40


def last(current: int | None, value: Number | None) -> int | None:
    """The count so far after another value: the last one that is a count."""
    return current if value is None or not 0 <= value <= MOST else int(value)
