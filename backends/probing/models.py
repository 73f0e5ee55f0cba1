"""Names out of a list of models, in any of the forms that servers give it."""

from __future__ import annotations

import msgspec

_GOOGLE_PREFIX = "models/"


class _Entry(msgspec.Struct):
    """`id` is OpenAI's, `name` is Ollama's and Google's."""

    id: str = ""
    name: str = ""


class _Listing(msgspec.Struct):
    """OpenAI's list is `data`; Ollama's and Google's is `models`."""

    data: list[_Entry] | None = None
    models: list[_Entry] | None = None


_decode = msgspec.json.Decoder(_Listing | list[_Entry]).decode


def model_names(body: bytes) -> tuple[str, ...] | None:
    """What a list of models holds, None if it is none."""
    try:
        listing = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    entries = listing if isinstance(listing, list) else listing.data if listing.data is not None else listing.models
    if entries is None:
        return None
    return tuple(name for entry in entries if (name := entry.id or entry.name.removeprefix(_GOOGLE_PREFIX)))
