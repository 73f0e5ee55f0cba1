"""The one way to the store's server: a bounded call of a command or a script, whatever kind of server it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import redis.asyncio as redis
from redis.exceptions import NoScriptError

from router.state.connection import open_client, reach
from router.state.lua import Script

TIMEOUT_S = 0.7

Argument = str | bytes | int | float


class StoreClient:
    """Every call ends within its bound, well or with `StoreUnavailable`; none is tried again.

    All keys of a call must be in one namespace, which is one slot of a cluster.
    """

    def __init__(self, client: redis.Redis, *, timeout_s: float = TIMEOUT_S) -> None:
        self._client: Any = client
        self.timeout_s = timeout_s

    @classmethod
    def connect(cls, url: str, *, timeout_s: float = TIMEOUT_S) -> Self:
        """A client of redis://, rediss:// or unix://; connections are made when they are needed.

        Raises:
            router.state.connection.BadStoreUrlError: the URL cannot be used.
        """
        return cls(open_client(url, timeout_s=timeout_s), timeout_s=timeout_s)

    async def run(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Argument],
        *,
        what: str,
        timeout_s: float | None = None,
        replicated: bool = False,  # noqa: ARG002 - a server without replicas has nobody to wait for
    ) -> Any:
        """The answer of a script.

        Args:
            script: sent whole only to a server that does not have it yet.
            keys: KEYS.
            args: ARGV.
            what: what is being done, for the error.
            timeout_s: instead of the client's bound.
            replicated: answer only when as many replicas of the server as configured have it too.

        Raises:
            StoreUnavailable: no good answer in time. It may have been carried out all the same.
        """
        async with reach(what, timeout_s or self.timeout_s):
            try:
                return await self._client.execute_command("EVALSHA", script.sha, len(keys), *keys, *args)
            except NoScriptError:
                return await self._client.execute_command("EVAL", script.text, len(keys), *keys, *args)

    async def call(self, *command: Argument, what: str, timeout_s: float | None = None) -> Any:
        """The answer of one command, as the server's protocol has it: bytes, integers, lists, None.

        Raises:
            StoreUnavailable: no good answer in time.
        """
        async with reach(what, timeout_s or self.timeout_s):
            return await self._client.execute_command(*command)

    async def aclose(self) -> None:
        await self._client.aclose()
