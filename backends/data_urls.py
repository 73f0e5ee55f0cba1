"""Images that are in their URL (`data:image/png;base64,...`), for families that take them as bytes."""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple
from urllib.parse import unquote_to_bytes


class Inline(NamedTuple):
    """What a data URL holds; `base64` is its bytes as every JSON wire wants them."""

    media_type: str
    base64: str

    def raw(self) -> bytes:
        return base64.b64decode(self.base64)


def inline(url: str) -> Inline | None:
    """What the URL holds, None if it is not a data URL.

    Raises:
        ValueError: a data URL that cannot be read.
    """
    if url[:5].lower() != "data:":
        return None
    head, comma, data = url[5:].partition(",")
    if not comma:
        raise ValueError("a data URL without a comma")
    media_type, *parameters = (part.strip().lower() for part in head.split(";"))
    if "base64" not in parameters:
        return Inline(media_type or "text/plain", base64.b64encode(unquote_to_bytes(data)).decode())
    try:
        base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise ValueError(f"a data URL whose base64 cannot be read: {error}") from error
    return Inline(media_type or "text/plain", data)
