"""The real llama.cpp with the real model."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from simulation import ports
from supervise.child import Child, ChildError

ROOT = Path(__file__).parents[3]
CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "smollm2-135m", "messages": [{"role": "user", "content": "Say hello."}]}

pytestmark = pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="no build for this machine")


@pytest.fixture
async def device() -> AsyncIterator[httpx.AsyncClient]:
    port = ports.free_port()
    # llama.cpp may close a kept connection just as the next request is written; a test sends nothing twice.
    limits = httpx.Limits(max_keepalive_connections=0)
    url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60, limits=limits) as client:

        async def ready() -> bool:
            try:
                return (await client.get("/health")).is_success
            except httpx.TransportError:
                return False

        argv = [sys.executable, "-m", "simulation.device", "--port", str(port)]
        async with Child.start(argv, name="llama.cpp", cwd=ROOT, ready=ready, ready_timeout_s=60):
            yield client


async def busy_slots(client: httpx.AsyncClient) -> int:
    return sum(slot["is_processing"] for slot in (await client.get("/slots")).json())


async def test_the_device_chats_streams_and_frees_the_slot_of_a_client_that_left(device: httpx.AsyncClient) -> None:
    """The real model answers, streams token by token, and stops working for a client that went away."""
    whole = (await device.post(CHAT, json=ASK | {"max_tokens": 8, "temperature": 0})).json()
    assert whole["usage"]["completion_tokens"] <= 8
    assert whole["choices"][0]["message"]["content"]

    async with device.stream("POST", CHAT, json=ASK | {"max_tokens": 8, "temperature": 0, "stream": True}) as response:
        lines = [line async for line in response.aiter_lines() if line]
    events = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    text = "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])
    assert lines[-1] == "data: [DONE]"
    assert text == whole["choices"][0]["message"]["content"]

    endless = ASK | {"max_tokens": 1500, "stream": True, "ignore_eos": True}
    async with device.stream("POST", CHAT, json=endless) as response:
        received = response.aiter_bytes()
        await anext(received)
        assert await busy_slots(device) == 1
    async with asyncio.timeout(10):
        while await busy_slots(device):
            pass

    page = (await device.get("/metrics")).text
    assert "llamacpp:requests_processing" in page


async def test_a_missing_model_says_what_to_do(tmp_path: Path) -> None:
    """Without the model file the device does not start, and says that `make setup` fetches it."""

    async def never() -> bool:
        return False

    argv = [sys.executable, "-m", "simulation.device", "--port", "1", "--model", str(tmp_path / "absent.gguf")]
    with pytest.raises(ChildError, match=r"absent\.gguf is not there: `make setup` fetches it"):
        async with Child.start(argv, name="llama.cpp", cwd=ROOT, ready=never):
            pass
