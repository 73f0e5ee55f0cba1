"""What is left of a vendor's rate limits by the headers of a recording, read by their names alone.

Vendors put the same words in different orders: `anthropic-ratelimit-requests-remaining`,
`x-ratelimit-remaining-tokens-minute`, `ratelimit-remaining`. Of several windows the tightest counts, the one with the
smallest share left.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_COUNTED = {"requests": "requests", "request": "requests", "req": "requests", "": "requests", "tokens": "tokens"}


def remaining(headers: Mapping[str, str]) -> dict[str, frozenset[float]]:
    """What is left of "requests" and of "tokens" in the tightest window of each; several if some are equally tight."""
    shares: dict[str, list[tuple[float, float]]] = {}
    for name, value in headers.items():
        if "ratelimit" not in name or "remaining" not in name:
            continue
        left, limit = _number(value), _number(headers.get(name.replace("remaining", "limit")))
        what = _what(name)
        if left is None or what is None or (left < 0 and (limit or 0) <= 0):
            continue  # -1 of -1 is no limit
        left = max(0.0, left)
        shares.setdefault(what, []).append((left / limit if limit else left, left))
    return {what: frozenset(left for share, left in found if share == min(found)[0]) for what, found in shares.items()}


def _what(name: str) -> str | None:
    """What is counted: a header that says nothing of it counts requests."""
    words = re.sub(r"^.*?ratelimit(?:bysize)?-?", "", name).replace("remaining", "").strip("-").split("-")
    if "images" in words or "image" in words:
        return None
    if "tokens" in words or "token" in words or "ratelimitbysize" in name:
        return "tokens"
    return next((_COUNTED[word] for word in words if word in _COUNTED), None)


def _number(value: str | None) -> float | None:
    try:
        return float(value) if value is not None else None
    except ValueError:
        return None
