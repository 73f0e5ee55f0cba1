"""The command line against a running router: an operator's round trip, and a user's request."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.router.calls import Clients
from tests.integration.router.site import ROOT, Running, Site, environment

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("emulators")]
BACKENDS = """
backends:
  third:
    wire: openai_chat
    profile: vllm
    address: {url}
    hardware: mi300x
    emulated: true
    region: {region}
    max_concurrency: 64
    models: [{{ model: llama-3.1-8b }}]
"""


async def run(router: Running, *words: str, status: int = 0) -> str:
    """Standard output of one command; of its standard error when it should fail."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "router", *words,
        cwd=ROOT,
        env=environment(INFERENCE_ROUTER_ADDRESS=router.grpc, INFERENCE_ROUTER_ADMIN_ADDRESS=router.admin),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == status, f"{words}: {process.returncode}\n{out.decode()}\n{err.decode()}"
    assert b"Traceback" not in err
    return (out if status == 0 else err).decode()


async def admin(router: Running, *words: str) -> Any:
    """What an admin command prints as JSON."""
    return json.loads(await run(router, "admin", *words, "--json"))


async def test_an_operators_round_trip(router: Running, clients: Clients, site: Site, tmp_path: Path) -> None:
    """Register, get, price, drain, undrain, update, a stale update, and remove, each seen by the router at once."""
    file = tmp_path / "third.yaml"
    file.write_text(BACKENDS.format(url=site.url("spare"), region="us-2"))

    await run(router, "admin", "backends", "register", str(file))
    got = await admin(router, "backends", "get", "third")
    priced = await admin(router, "prices", "set", "third", "--input", "1", "--output", "2")
    answer = await run(router, "generate", "hello", "--model", "llama-3.1-8b", "--only", "third")
    drained = await admin(router, "backends", "drain", "third")
    await run(router, "admin", "backends", "undrain", "third")
    file.write_text(BACKENDS.format(url=site.url("spare"), region="us-3"))
    updated = await admin(router, "backends", "update", str(file))
    stale = await run(router, "admin", "backends", "remove", "third", "--expected-version", "1", status=1)
    await run(router, "admin", "backends", "remove", "third")
    listed = await admin(router, "backends", "list")

    assert (got["spec"]["id"], got["spec"]["region"]) == ("third", "us-2")
    assert priced["entry"]["price"]["output_usd_per_mtok"] == 2
    assert "Emulated answer of" in answer
    assert drained["state"]["drained"] is True
    assert updated["spec"]["region"] == "us-3"
    assert "STALE_VERSION" in stale
    assert "current_version" in stale
    assert [b["spec"]["id"] for b in listed["backends"]] == ["fast", "spare"]
    assert (await clients.http.get("/readyz")).json()["backends"] == 2


async def test_no_router_is_said_plainly(router: Running) -> None:
    """A command that reaches nobody exits with 3 and says how to start a router."""
    nobody = Running(router.child, "127.0.0.1:1", "127.0.0.1:1", "", router.log)

    assert "serve" in await run(nobody, "admin", "backends", "list", status=3)
    assert "serve" in await run(nobody, "generate", "hello", status=3)
