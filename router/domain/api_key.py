"""The text of an API key: `irk_ID_SECRET`, where the secret is 256 random bits. Only its SHA-256 is ever kept."""

from __future__ import annotations

import hashlib
import re
import secrets

PREFIX = "irk_"
_KEY = re.compile(r"irk_([a-z0-9][a-z0-9-]{0,62})_[A-Za-z0-9_-]{43}")


def new_key() -> tuple[str, str]:
    """The id and the text of a key that nobody has."""
    key_id = secrets.token_hex(4)
    return key_id, f"{PREFIX}{key_id}_{secrets.token_urlsafe(32)}"


def id_of(text: str) -> str | None:
    """The id in a key's text; None when it is not one of ours."""
    match = _KEY.fullmatch(text)
    return match[1] if match is not None else None


def digest(text: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
