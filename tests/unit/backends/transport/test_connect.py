"""A connection as a question, with TLS."""

from __future__ import annotations

import asyncio
import ssl

import httpx
import pytest

from backends.probing.connect import connect_once


async def test_a_certificate_that_holds_is_part_of_the_answer(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    """Whoever trusts it connects; whoever does not, does not."""

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=server_context)
    url = httpx.URL(f"https://localhost:{server.sockets[0].getsockname()[1]}")
    try:
        await connect_once(url, client_context)
        with pytest.raises(ssl.SSLError):
            await connect_once(url, ssl.create_default_context())
    finally:
        server.close()
        await server.wait_closed()


async def test_nobody_there_is_an_error() -> None:
    """Of the operating system."""
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await connect_once(httpx.URL("http://127.0.0.1:9"), None)
