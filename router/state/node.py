"""The connections to one server: bounded in number, checked before use, and never used again after a doubt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from router.state.connection import StoreConnection
from router.state.url import Address

MAX_CONNECTIONS = 16

Greeting = Callable[[StoreConnection], Awaitable[None]]


class Node:
    """One server.

    Attributes:
        address: None for a socket file.
    """

    def __init__(
        self,
        address: Address | None,
        dial: Callable[[], StoreConnection],
        *,
        greet: Greeting | None = None,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self.address = address
        self._dial = dial
        self._greet = greet
        self._turns = asyncio.Semaphore(max_connections)
        self._idle: list[StoreConnection] = []
        self._generation = 0

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[StoreConnection]:
        """A connection for one exchange.

        It is kept for the next when the exchange ended with an answer, be it an error. When anything else happened, a
        cut-off above all, an answer may still be on its way: it is closed, so that nobody takes that answer for theirs.
        """
        async with self._turns:
            generation = self._generation
            connection = await self._take()
            fit = False
            try:
                yield connection
                fit = True
            except ResponseError:
                fit = connection.is_connected
                raise
            finally:
                if fit and generation == self._generation:
                    self._idle.append(connection)
                else:
                    connection.cut()

    def retire(self) -> None:
        """Closes what is idle now, and what is in use when that ends."""
        self._generation += 1
        while self._idle:
            self._idle.pop().cut()

    async def _take(self) -> StoreConnection:
        while self._idle:
            connection = self._idle.pop()
            if await connection.fit():
                return connection
            connection.cut()
        connection = self._dial()
        try:
            await connection.connect()
            if self._greet is not None:
                await self._greet(connection)
        except BaseException:
            connection.cut()
            raise
        return connection


async def must_be_primary(connection: StoreConnection) -> None:
    """A greeting: refuses a server that does not call itself primary.

    Sentinels may name one that has not heard yet that it is no longer, or will be again.
    """
    role, *_ = await connection.ask("ROLE")
    if role != b"master":
        raise RedisConnectionError("the server that the Sentinels name is not the primary")
