"""Whether a server is there, asked by opening a connection and saying nothing, where every request would bill."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable

import httpx

from backends.contract import LoadReport
from backends.spec import BackendSpec
from backends.urls import endpoint


class ConnectionProber:
    """TCP, and TLS with a certificate that holds, to the address of one backend.

    Args:
        spec: its address.
        ssl_context: for https; httpx's default (verifying, its CA bundle) if None.
        now: seconds, for the round trip.
    """

    def __init__(
        self,
        spec: BackendSpec,
        *,
        ssl_context: ssl.SSLContext | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = endpoint(spec.base_url, "/")
        self._ssl_context = ssl_context
        self._now = now

    async def probe(self, *, timeout_s: float) -> LoadReport:
        """Never raises: what cannot be reached is reported as unhealthy, with the reason."""
        try:
            async with asyncio.timeout(timeout_s):
                return LoadReport(healthy=True, rtt_s=await self._connect())
        except TimeoutError:
            return LoadReport(healthy=False, reason=f"TIMED_OUT: no connection in {timeout_s:g} s")
        except OSError as error:  # refused, unresolvable, or a certificate that does not hold
            return LoadReport(healthy=False, reason=f"CONNECT_FAILED: {error}")

    async def _connect(self) -> float:
        context = await self._context()
        port = self._url.port or (443 if context else 80)
        started = self._now()
        _, writer = await asyncio.open_connection(self._url.host, port, ssl=context)
        took_s = self._now() - started
        writer.transport.abort()  # nothing was asked, so nothing is waited for
        return took_s

    async def _context(self) -> ssl.SSLContext | None:
        if self._url.scheme == "http":
            return None
        if self._ssl_context is None:  # reading the CA bundle takes long enough to stall a token
            self._ssl_context = await asyncio.to_thread(httpx.create_ssl_context)
        return self._ssl_context
