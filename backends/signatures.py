"""Whose a signature is. A conversation may go on with another vendor, who would refuse a proof that is not its own.

What leaves an adapter is opaque to callers and comes back as it was, so the vendor's name can be part of it. Signatures
are base64, which has no colon: one without a mark came from a caller who got it from the vendor itself.
"""

from __future__ import annotations

_MARK = ":"


def marked(vendor: str, signature: str) -> str:
    """The signature with its vendor's name, as it is handed out."""
    return f"{vendor}{_MARK}{signature}"


def own(vendor: str, signature: str | None, *, unmarked: bool) -> str | None:
    """The signature as the vendor gave it, None if it is another's. `unmarked` says whether one without a mark is."""
    if signature is None:
        return None
    name, mark, rest = signature.partition(_MARK)
    if not mark:
        return signature if unmarked else None
    return rest if name == vendor else None
