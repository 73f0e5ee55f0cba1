"""What happens in the middle of a run: `slow:h100:3@600` makes h100 three times slower from second 600 on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    SLOW = "slow"
    ERRORS = "errors"
    DEAD = "dead"
    LIMITED = "limited"
    PRICE = "price"
    JOIN = "join"
    WELL = "well"


# What the number after the backend is; kinds that are not here take none.
AMOUNTS = {
    Kind.SLOW: "how many times slower",
    Kind.ERRORS: "the share of requests that fail, 0 to 1",
    Kind.PRICE: "how many times dearer",
}
FORM = "KIND:BACKEND[:AMOUNT]@SECOND"


@dataclass(frozen=True, slots=True)
class Event:
    """`amount` is 0 where its kind takes none; a backend that joins is not there before."""

    kind: Kind
    backend: str
    amount: float
    at_s: float


def parse(text: str, backends: Collection[str]) -> Event:
    """The event that a command line names.

    Raises:
        ValueError: says which part is wrong, and what it may be.
    """
    what, at, second = text.partition("@")
    parts = what.split(":")
    if not at or len(parts) not in {2, 3}:
        raise ValueError(f"'{text}' is not {FORM}, as in slow:h100:3@600")
    try:
        kind = Kind(parts[0])
    except ValueError:
        raise ValueError(f"'{text}': no kind '{parts[0]}'; there are: {', '.join(Kind)}") from None
    if parts[1] not in backends:
        raise ValueError(f"'{text}': no backend '{parts[1]}'; there are: {', '.join(sorted(backends))}")
    amount = 0.0
    if kind in AMOUNTS:
        if len(parts) != 3:
            raise ValueError(f"'{text}': {kind} takes an amount, {AMOUNTS[kind]}")
        amount = _number(text, parts[2], AMOUNTS[kind])
        if kind is Kind.ERRORS and amount > 1.0:
            raise ValueError(f"'{text}': expected {AMOUNTS[kind]}")
    elif len(parts) == 3:
        raise ValueError(f"'{text}': {kind} takes no amount")
    return Event(kind=kind, backend=parts[1], amount=amount, at_s=_number(text, second, "a second"))


def _number(text: str, part: str, what: str) -> float:
    try:
        number = float(part)
    except ValueError:
        number = -1.0
    if not 0.0 <= number < float("inf"):
        raise ValueError(f"'{text}': '{part}' is not {what}")
    return number
