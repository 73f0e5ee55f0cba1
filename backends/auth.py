"""Credentials by reference: configuration names where a secret is, and only an adapter that needs it ever reads it.

`env:NAME` is an environment variable, `file:PATH` the first line of a file (a mounted secret). A secret is checked once
here, because an HTTP client that finds a control character in a header quotes the header in its error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


class MissingCredential(Exception):
    """The reference points at nothing; `name` is the variable or the file, never a value."""

    def __init__(self, name: str, why: str = "is not set") -> None:
        super().__init__(f"{name} {why}")
        self.name = name


class InvalidReference(ValueError):
    """The reference is of no known form. It is not quoted: somebody may have put the secret itself there."""

    def __init__(self) -> None:
        super().__init__("a credential is a reference: env:NAME or file:PATH")


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that does not print."""

    value: str = field(repr=False)

    def __str__(self) -> str:
        return "***"


def resolve(ref: str | None, env: Mapping[str, str]) -> str | None:
    """The secret behind a reference; None for no reference.

    Raises:
        MissingCredential: the variable or file is absent, empty or holds characters no header can carry.
        InvalidReference: neither `env:` nor `file:`.
    """
    if ref is None:
        return None
    scheme, _, name = ref.partition(":")
    if scheme == "env" and name:
        value = env.get(name, "")
    elif scheme == "file" and name:
        value = _first_line(name)
    else:
        raise InvalidReference
    value = value.strip()
    if not value:
        raise MissingCredential(name)
    if not (value.isascii() and value.isprintable()):
        raise MissingCredential(name, "holds characters that a header cannot carry")
    return value


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise MissingCredential(path, "cannot be read") from error
