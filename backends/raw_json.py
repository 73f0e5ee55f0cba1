"""JSON that is passed on without being read: a decoder skips it, and what was skipped was checked by nobody."""

from __future__ import annotations

import msgspec

from backends.errors import ProtocolViolation

_NOTHING = (b"", b"null")


def written_arguments(raw: msgspec.Raw) -> str | None:
    """A call's arguments as text, be they an object or a string that holds one; None for no arguments.

    Raises:
        ProtocolViolation: what is there is no text.
    """
    written = bytes(raw)
    if written in _NOTHING:
        return None
    if written.startswith(b'"'):
        try:
            return msgspec.json.decode(written, type=str)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProtocolViolation(f"arguments that are not of this wire: {error}") from error
    return as_text(written)


def as_text(written: bytes) -> str:
    """Raises ProtocolViolation for what is no text."""
    try:
        return written.decode()
    except UnicodeDecodeError as error:
        raise ProtocolViolation(f"an object that is no text: {error}") from error


def object_of(arguments: str) -> str:
    """A call's arguments as they go upstream: no arguments, which some models write as null, are the empty object."""
    return "{}" if arguments.strip() in ("", "null") else arguments
