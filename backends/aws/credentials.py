"""Where the keys come from that requests to AWS are signed with.

`ReferencedKeys` are behind a reference of the configuration, `MachineKeys` are whatever botocore finds on this machine
(environment, shared files, the instance's role) and renews before it expires. Finding and renewing may read files and
ask the network, so it happens in a thread: the event loop is never kept waiting.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from botocore.credentials import Credentials, EnvProvider, ReadOnlyCredentials
from botocore.exceptions import BotoCoreError
from botocore.session import Session

from backends import auth
from backends.authorise import LiveSecret
from backends.errors import AuthFailed

# How soon a machine without credentials is asked again.
_ASK_AGAIN_S: Final = 30.0
_KEYS = re.compile(r"(?P<id>\w{4,128}):(?P<secret>[^:\s]+)(?::(?P<token>[^:\s]+))?")


class InvalidKeys(ValueError):
    """The secret is there and not of the form that keys have. It is not quoted."""

    def __init__(self) -> None:
        super().__init__("AWS credentials are written ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]")


def are_keys(secret: str) -> bool:
    """Whether it is a pair of keys; a Bedrock API key is one word."""
    return _KEYS.fullmatch(secret) is not None


class Keys(Protocol):
    """A source of keys."""

    async def current(self) -> ReadOnlyCredentials:
        """Keys that hold now. Raises AuthFailed where there are none."""
        ...

    async def renewed(self) -> ReadOnlyCredentials:
        """Keys read anew, because those of before were refused; they may be the same."""
        ...


class ReferencedKeys:
    """Keys that a reference points at; a file is read again when it changes.

    Raises:
        InvalidKeys: when made, and never later: a file that is spoilt while it is being written changes nothing.
    """

    def __init__(self, live: LiveSecret) -> None:
        self._live = live
        self._secret = live.current()
        self._keys = _read(self._secret)

    async def current(self) -> ReadOnlyCredentials:
        secret = self._live.current()
        if secret is not self._secret and are_keys(secret.value):
            self._secret = secret
            self._keys = _read(secret)
        return self._keys

    async def renewed(self) -> ReadOnlyCredentials:
        self._live.look_again()
        return await self.current()


class MachineKeys:
    """What botocore's chain finds here.

    Args:
        find: looks for credentials; it may block, and returns None where there are none.
        now: monotonic seconds.
    """

    def __init__(self, find: Callable[[], Credentials | None], *, now: Callable[[], float] = time.monotonic) -> None:
        self._find = find
        self._now = now
        self._lock = asyncio.Lock()
        self._found: Credentials | None = None
        self._look_at = 0.0

    async def current(self) -> ReadOnlyCredentials:
        found = self._found
        if found is not None and not _is_due(found):
            frozen: ReadOnlyCredentials = found.get_frozen_credentials()
            return frozen
        async with self._lock:
            if self._found is None:
                await self._look()
            return await self._frozen()

    async def renewed(self) -> ReadOnlyCredentials:
        async with self._lock:
            self._look_at = 0.0
            await self._look()
            return await self._frozen()

    async def _look(self) -> None:
        if self._now() < self._look_at:
            return
        try:
            self._found = await asyncio.to_thread(self._find)
        except BotoCoreError as error:  # a profile that is not there, a role that cannot be taken on
            raise AuthFailed(f"no AWS credentials: {type(error).__name__}") from error
        self._look_at = self._now() + _ASK_AGAIN_S if self._found is None else 0.0

    async def _frozen(self) -> ReadOnlyCredentials:
        if self._found is None:
            raise AuthFailed("no AWS credentials: none configured, none in the environment, files or role of this host")
        try:
            frozen: ReadOnlyCredentials = await asyncio.to_thread(self._found.get_frozen_credentials)
        except BotoCoreError as error:
            raise AuthFailed(f"the AWS credentials could not be renewed: {type(error).__name__}") from error
        return frozen


def on_this_machine(env: Mapping[str, str]) -> Callable[[], Credentials | None]:
    """The default chain of botocore, with `env` as its environment of keys."""

    def find() -> Credentials | None:
        found: Credentials | None = EnvProvider(environ=env).load()
        return found if found is not None else Session().get_credentials()

    return find


def _read(secret: auth.Secret) -> ReadOnlyCredentials:
    found = _KEYS.fullmatch(secret.value)
    if found is None:
        raise InvalidKeys
    return ReadOnlyCredentials(found["id"], found["secret"], found["token"])


def _is_due(credentials: Credentials) -> bool:
    """Whether reading them would go and renew them; only those that expire can be due."""
    check = getattr(credentials, "refresh_needed", None)
    return check is not None and bool(check())
