"""What the transport promises on the loop that the router runs on, where that differs from asyncio's own."""

from __future__ import annotations

import asyncio

import httpx
import uvloop

from backends.http.transport import FastTransport

TRIES = 200


async def _cancelled_while_connecting() -> tuple[int, int]:
    """Cancels requests a little later each time; returns the connections that are held after it, and those made."""
    made = 0

    def count(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal made
        made += 1
        writer.close()

    transport = FastTransport()
    async with await asyncio.start_server(count, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for turn in range(TRIES):
            request = httpx.Request("GET", f"http://127.0.0.1:{port}/")
            task = asyncio.create_task(transport.handle_async_request(request))
            for _ in range(turn % 10):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        held = len(transport._pool._sockets)
        await transport.aclose()
    return held, made


def test_cancelling_a_connect_holds_nothing() -> None:
    """A request cancelled just after its connection was made leaves nothing, though uvloop never reports its end."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        held, made = runner.run(_cancelled_while_connecting())

    assert made > TRIES // 4
    assert held == 0
