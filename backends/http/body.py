"""The body of a response as httpx wants it: one bytes object per read of the upstream."""

from __future__ import annotations

import asyncio
import warnings
from typing import Self

import httpx

from backends.http.connection import Connection


class BodyStream(httpx.AsyncByteStream):
    """Owns its connection until the end of the body, then gives it back; closed before the end, it aborts it.

    A body that arrived whole with its head is only bytes: `connection` is None from the start.
    """

    def __init__(self, connection: Connection | None, ready: bytes, timeout_s: float | None) -> None:
        self._connection = connection
        self._ready = ready
        self._timeout_s = timeout_s

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._ready:
            ready, self._ready = self._ready, b""
            return ready
        connection = self._connection
        while connection is not None:
            if connection.parts:
                data = connection.take()
                if connection.complete:
                    self._connection = None
                    connection.finish()
                return data
            if connection.complete:
                self._connection = None
                connection.finish()
                break
            if connection.error is not None:
                raise connection.error  # again on every call: a broken body never looks like a finished one
            try:
                await connection.arm(self._timeout_s, httpx.ReadTimeout)
            except asyncio.CancelledError:
                connection.abort()
                raise
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Before the end of the body the upstream sees the disconnect at once, and stops generating."""
        connection, self._connection = self._connection, None
        self._ready = b""
        if connection is None:
            return
        if connection.complete:
            connection.take()
            connection.finish()
        else:
            connection.abort()

    def __del__(self) -> None:
        connection = self._connection
        if connection is not None and connection.error is None:
            connection.abort_soon()
            warnings.warn(f"unclosed response body from {connection.peer}", ResourceWarning, stacklevel=2)
