"""How long an upstream asks to be left alone, from whichever of its many ways to say so is the most exact.

In this order: `retry-after-ms`, `retry-after` (seconds or an HTTP date), Google's RetryInfo, the reset headers of the
limit that is used up, and the text "resets in ~30s". On a success none of them means anything.
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from backends.counts import header_number

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_IN_TEXT = re.compile(
    r"(?:resets?|try again|retry|available)(?: again)? in ~?\s*([\dhms.]*\d ?(?:ms|s|m|h|sec\w*|min\w*)?)",
    re.IGNORECASE,
)
_LIMIT_HEADER = re.compile(r"(?:x-)?(?:\w+-)?ratelimit-(?:reset(?:-.+)?|.+-reset)")

Headers = Mapping[str, str]


def retry_after_s(headers: Headers, *, retry_delay: str | None, text: str, now: float) -> float | None:
    """Seconds from now, or None if nothing says. Header names are in lower case; `now` is Unix time."""
    milliseconds = header_number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return max(0.0, milliseconds / 1000)
    if (value := headers.get("retry-after")) is not None:
        seconds = header_number(value)
        if seconds is None:
            seconds = _until_date(value, now)
        if seconds is not None:
            return max(0.0, seconds)
    if retry_delay is not None and (seconds := duration_s(retry_delay)) is not None:
        return seconds
    if (seconds := _from_limits(headers, now)) is not None:
        return seconds
    if found := _IN_TEXT.search(text):
        return _spoken(found[1])
    return None


def duration_s(text: str) -> float | None:
    """Seconds of "1m12s", "17.39s", "26ms", "2h3m" or a bare number."""
    text = text.strip()
    if (number := header_number(text)) is not None:
        return max(0.0, number)
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        return None
    days, hours, minutes, seconds, milliseconds = (float(part) if part else 0.0 for part in found.groups())
    return days * 86_400 + hours * 3_600 + minutes * 60 + seconds + milliseconds / 1000


def _from_limits(headers: Headers, now: float) -> float | None:
    """The longest wait among limits that are used up; where nobody says which are, the shortest wait of all."""
    used_up: list[float] = []
    unknown: list[float] = []
    for name, value in headers.items():
        found = _LIMIT_HEADER.fullmatch(name)
        if found is None or (wait := reset_s(value, now)) is None:
            continue
        remaining = header_number(headers.get(name.replace("-reset", "-remaining")))
        if remaining is None:
            unknown.append(wait)
        elif remaining <= 0:
            used_up.append(wait)
    return max(used_up) if used_up else min(unknown, default=None)


def reset_s(value: str, now: float) -> float | None:
    """Seconds until a reset header's moment, however it is written; None if that cannot be read."""
    number = header_number(value)
    if number is None:
        seconds = duration_s(value)
        return seconds if seconds is not None else _until_rfc3339(value, now)
    if number > 1e12:  # Unix milliseconds
        return max(0.0, number / 1000 - now)
    if number > 1e9:  # Unix seconds
        return max(0.0, number - now)
    return max(0.0, number)


def _spoken(text: str) -> float | None:
    compact = text.replace(" ", "").lower()
    compact = re.sub(r"sec\w*", "s", compact)
    return duration_s(re.sub(r"min\w*", "m", compact))


def _until_date(value: str, now: float) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(value).timestamp() - now
    except (ValueError, OverflowError):
        return None


def _until_rfc3339(value: str, now: float) -> float | None:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now)
