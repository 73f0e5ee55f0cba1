"""The one question for a server that may be asked nothing: does it take a connection, and prove who it is?"""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import httpx

_PORTS = {"https": 443}


async def connect_once(url: httpx.URL, context: ssl.SSLContext | None) -> None:
    """Connects, with the handshake of TLS if the address has it, and closes. `context` goes with an https address.

    Raises:
        OSError: no connection, or a certificate that is not good.
    """
    port = url.port or _PORTS.get(url.scheme, 80)
    _, writer = await asyncio.open_connection(url.host, port, ssl=context)
    writer.close()
    with contextlib.suppress(OSError):  # how the peer takes the end of it says nothing
        await writer.wait_closed()
