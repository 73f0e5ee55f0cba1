"""The barest relay as a process: `python -m bench.relay UPSTREAM_URL` prints its port."""

from __future__ import annotations

import asyncio
import sys

import httpx
import uvloop

from backends.http.transport import FastTransport
from bench.transport_clients import HEADERS
from bench.transport_relay import relay


async def main(upstream: str) -> None:
    async with FastTransport(max_idle_per_host=1024) as transport:
        factory = relay(transport, upstream, httpx.Headers(HEADERS))
        server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
