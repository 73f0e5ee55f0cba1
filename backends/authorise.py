"""How a request proves who sends it: a key in a header, or a signature over the request.

A secret that comes from a file is read again when the file changes, since mounted secrets and short-lived tokens are
renewed under a running process. No client's header ever gets here: what goes upstream is made from the reference alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import httpx

from backends import auth
from backends.dialect import KeyHeader
from backends.errors import AuthFailed, BackendError

# How often the file of a secret is looked at.
LOOK_AGAIN_S = 5.0

Headers = Sequence[tuple[bytes, bytes]]


class Authoriser(Protocol):
    """Makes the headers that prove who sends a request."""

    @property
    def ready(self) -> Headers | None:
        """Headers that hold for every request sent now; None where each request needs its own."""
        ...

    async def headers(self, method: str, url: httpx.URL, headers: Headers, body: bytes) -> Headers:
        """The headers for this one request. Raises AuthFailed where there is no secret to make them of."""
        ...

    def revealed(self) -> str | None:
        """The secret, to be masked in what an upstream says."""
        ...

    def refused(self, error: BackendError) -> None:
        """The upstream answered so; a refusal of the credential makes the next request look for a new one."""
        ...


class LiveSecret:
    """The secret behind a reference, read again when its file has changed. It does not print.

    Raises:
        auth.MissingCredential, auth.InvalidReference: when made.
    """

    def __init__(
        self, credential: str | None, env: Mapping[str, str], *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._credential = credential
        self._env = env
        self._now = now
        self._file = Path(credential.partition(":")[2]) if credential and credential.startswith("file:") else None
        self._stamp = _stamp(self._file)
        self._look_at = now() + LOOK_AGAIN_S
        self._secret = auth.Secret(auth.resolve(credential, env) or "")

    def current(self) -> auth.Secret:
        """The same object until there is another secret; its value is "" where no credential is configured."""
        if self._file is not None and self._now() >= self._look_at:
            self._look()
        return self._secret

    def look_again(self) -> None:
        """The next `current` looks at the file, however lately it was looked at."""
        self._look_at = self._now()

    def _look(self) -> None:
        self._look_at = self._now() + LOOK_AGAIN_S
        stamp = _stamp(self._file)
        if stamp == self._stamp:
            return
        try:
            value = auth.resolve(self._credential, self._env)
        except auth.MissingCredential:
            return  # caught in the middle of being replaced: the old one holds until the new one can be read
        self._stamp = stamp
        self._secret = auth.Secret(value or "")


class KeyAuthoriser:
    """A key in a header, or nothing where no credential is configured. It does not print.

    Raises:
        auth.MissingCredential, auth.InvalidReference: when made.
    """

    def __init__(
        self,
        credential: str | None,
        env: Mapping[str, str],
        key: KeyHeader,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._key = key
        self._live = LiveSecret(credential, env, now=now)
        self._secret = self._live.current()
        self._headers = self._made()

    @property
    def ready(self) -> Headers:
        secret = self._live.current()
        if secret is not self._secret:
            self._secret = secret
            self._headers = self._made()
        return self._headers

    async def headers(self, method: str, url: httpx.URL, headers: Headers, body: bytes) -> Headers:  # noqa: ARG002 - a key is the same for every request
        return self.ready

    def revealed(self) -> str | None:
        return self._secret.value or None

    def refused(self, error: BackendError) -> None:
        if isinstance(error, AuthFailed):
            self._live.look_again()

    def _made(self) -> list[tuple[bytes, bytes]]:
        if not self._secret.value:
            return []
        return [(self._key.name.encode(), (self._key.prefix + self._secret.value).encode())]


def _stamp(file: Path | None) -> tuple[int, int, int] | None:
    if file is None:
        return None
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size
