"""How usage is written in the store: a field per counter, its numbers as text, and old hours packed together."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from urllib.parse import quote, unquote

from router.domain.usage import FIELDS, UsageKey, UsageTotals

# What names may hold beside letters and digits without being encoded: no separator of fields or of packed lines.
_PLAIN = "/:@ +,"

# Tenant, model and backend.
Names = tuple[str, str, str]
Numbers = tuple[int, ...]


def field_of(incarnation: str, key: UsageKey) -> str:
    # Whatever a name holds, it is written: one that cannot be must not keep the others from being handed in.
    return "|".join(
        quote(part, safe=_PLAIN, errors="replace") for part in (incarnation, key.tenant, key.model, key.backend)
    )


def names_of(field: bytes) -> Names:
    """Tenant, model and backend.

    Raises:
        ValueError: it is not a field of usage.
    """
    _, tenant, model, backend = field.decode().split("|")
    return unquote(tenant), unquote(model), unquote(backend)


def value_of(totals: UsageTotals) -> str:
    return " ".join(str(getattr(totals, name)) for name in FIELDS)


def numbers_of(value: bytes) -> Numbers:
    """Numbers after those that we know are a later version's.

    Raises:
        ValueError: it does not hold numbers, or too few.
    """
    numbers = tuple(map(int, value.split()[: len(FIELDS)]))
    if len(numbers) < len(FIELDS):
        raise ValueError("too few numbers")
    return numbers


def is_later(value: bytes, other: bytes | None) -> bool:
    """Whether a copy of a counter has seen more than another. One that cannot be read is never later."""
    return other is None or _attempts(value) > _attempts(other)


def pack(fields: Mapping[bytes, bytes]) -> bytes:
    """Fields and their values, as short as may be: names repeat, and neighbours are alike."""
    return zlib.compress(b"\n".join(field + b"\t" + value for field, value in sorted(fields.items())))


def unpack(packed: bytes) -> Iterator[tuple[bytes, bytes]]:
    """What `pack` was given.

    Raises:
        ValueError: it is damaged.
    """
    try:
        lines = zlib.decompress(packed).split(b"\n")
    except zlib.error as error:
        raise ValueError(f"packed usage is damaged: {error}") from None
    for line in lines:
        field, _, value = line.partition(b"\t")
        yield field, value


def _attempts(value: bytes) -> int:
    head = value.partition(b" ")[0]
    return int(head) if head.isdigit() else -1
