"""Ids of tool calls: made up where a family gives none, and fitted to the form that a family takes.

A conversation may come from another vendor, whose ids have another form. What an id becomes depends on nothing but the
id, so that a call and its result still find each other.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string

_ALPHANUMERIC = string.ascii_letters + string.digits


def new_call_id() -> str:
    """Nine alphanumerics: the one form that every vendor takes back."""
    return "".join(secrets.choice(_ALPHANUMERIC) for _ in range(9))


def fitting_call_id(call_id: str, form: re.Pattern[str]) -> str:
    """The id itself where it is of that form, else the nine hexadecimal digits that the same id always becomes."""
    if form.fullmatch(call_id):
        return call_id
    return hashlib.sha256(call_id.encode()).hexdigest()[:9]
