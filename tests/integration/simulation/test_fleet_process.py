"""The fleet as a program."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from router.settings import load

ROOT = Path(__file__).parents[3]


async def test_the_fleet_serves_every_emulated_backend_and_stops_when_told() -> None:
    """One process listens for each emulated backend of config/, says where, and ends with status 0 on SIGTERM."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "simulation.fleet", "--json"), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    expected = {backend.id: backend for backend in load(ROOT / "config", {}).seed.backends if backend.emulated}
    try:
        lines = [json.loads(await process.stdout.readline()) for _ in expected]
        assert {line["id"] for line in lines} == set(expected)
        async with httpx.AsyncClient(trust_env=False) as client:
            for line in lines:
                assert line["emulated"] is True
                assert urlsplit(line["url"]).hostname == "127.0.0.1"
                assert (await client.get(line["url"] + "/health")).status_code == 200
                models = (await client.get(line["url"] + "/v1/models")).json()["data"]
                assert [m["id"] for m in models] == [m.name_upstream for m in expected[line["id"]].models]
    finally:
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
