"""JSON whose text cannot be text: half of a surrogate pair, which writers in UTF-16 cut off between two events."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeVar

import msgspec

T = TypeVar("T")


def read_json(decode: Callable[[bytes], T], payload: bytes) -> T:
    """What `decode` makes of the payload, with U+FFFD for what is no character.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError: it is not JSON, or not of this form.
    """
    try:
        return decode(payload)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        text = _mended(payload) if b"\\u" in payload else None
        if text is None:
            raise
        return decode(text)


def _mended(payload: bytes) -> bytes | None:
    """The same document without half pairs; None where it is none."""
    try:
        text = json.dumps(json.loads(payload), ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
