"""The HTTP face on a real port, over a director that plays a script, and the official SDK in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from openai import AsyncOpenAI

from router.api.http_server import HttpServer, bind
from router.api.openai_http import OpenAiHttp
from router.clock import FakeClock
from router.dispatch.events import ModelListing
from router.dispatch.scripted import ScriptedDirector


@pytest.fixture
def director() -> ScriptedDirector:
    return ScriptedDirector(
        listings=(
            ModelListing(
                id="llama-3.1-8b",
                kind="model",
                members=("llama-3.1-8b",),
                context_tokens=131_072,
                backends=("h100-a", "lpu-1"),
            ),
            ModelListing(
                id="org/fast-chat", kind="alias", members=("llama-3.1-8b",), context_tokens=131_072, backends=("lpu-1",)
            ),
        )
    )


@pytest.fixture
async def server(director: ScriptedDirector) -> AsyncIterator[HttpServer]:
    app = OpenAiHttp(
        director,
        clock=FakeClock(),
        readiness=lambda: (True, {"snapshot": {"version": 3}}),
        metrics=lambda: (b"router_requests_total 1\n", "text/plain; version=0.0.4"),
        max_body_bytes=100_000,
    )
    server = HttpServer(app, bind("127.0.0.1", 0))
    await server.start()
    yield server
    await server.stop(limit_s=1)


@pytest.fixture
async def client(server: HttpServer) -> AsyncIterator[AsyncOpenAI]:
    base_url = f"http://127.0.0.1:{server.port}/v1"
    async with AsyncOpenAI(base_url=base_url, api_key="test", max_retries=0, timeout=10) as client:
        yield client
