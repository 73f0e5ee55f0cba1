"""Credentials reach their own server and nothing else: no answer, no page, no log at its most talkative, no file."""

from __future__ import annotations

from contextlib import ExitStack

import grpc
import grpc.aio
import openai
import pytest

from router.v1 import admin_pb2
from simulation.wires.families import SHARED_MODEL
from simulation.wires.faults import Faults
from simulation.wires.openai_problems import Problem
from simulation.wires.openai_vendor import EmulatedVendor
from simulation.wires.registering import KEYS
from simulation.wires.rpc import RpcWire
from tests.integration.families.place import BY_ID, IDS, Place, leaked, otherwise, question

pytestmark = pytest.mark.asyncio(loop_scope="session")
WITH_SECRET = [name for name in IDS if BY_ID[name].secret]
# They say "Unauthorized", whatever the key was.
TERSE = frozenset({"vllm", "vllm-tpu"})


@pytest.mark.parametrize("name", WITH_SECRET)
async def test_a_key_that_is_refused(place: Place, name: str) -> None:
    """Some servers repeat the key that they refuse; neither face passes it on."""
    server, words = place.servers[name], f"unauthorized: Bearer {BY_ID[name].secret}"
    with ExitStack() as until_asked:
        if isinstance(server, EmulatedVendor):
            refusal = {**server.vendor.words, 401: Problem(status=401, message=words)}
            until_asked.enter_context(otherwise(server, words=refusal))
        server.faults = Faults(status=401, code=words if isinstance(server, RpcWire) else "")
        with pytest.raises(grpc.aio.AioRpcError) as over_grpc:
            await place.ask(question(name))
        with pytest.raises(openai.APIStatusError) as over_http:
            await place.sdk.chat.completions.create(
                model=SHARED_MODEL,
                messages=[{"role": "user", "content": "x"}],
                extra_body={"router": {"only_backends": [name]}},
            )

    told = over_grpc.value.details() or ""
    assert name in told
    if isinstance(server, EmulatedVendor | RpcWire) and name not in TERSE:
        assert "unauthorized: Bearer ***" in told
    assert not leaked(f"{told} {over_grpc.value.trailing_metadata()}")
    assert not leaked(over_http.value.response.text)
    assert not leaked(str(over_http.value.response.headers))
    place.clear()
    await place.ready(name)


async def test_what_the_router_says_and_keeps(place: Place) -> None:
    """The administrator sees references; metrics, the decision, the debug log and the files hold no secret."""
    for name in WITH_SECRET:
        await place.ready(name)
        await place.ask(question(name))

    listed: admin_pb2.ListBackendsResponse = await place.clients.admin.ListBackends(admin_pb2.ListBackendsRequest())
    decision = await place.explain(question(*IDS))
    metrics = (await place.clients.http.get("/metrics")).text
    folder = place.site.config.parent
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != KEYS]

    by_id = {backend.spec.id: backend.spec.credential for backend in listed.backends}
    assert {name: by_id[name] for name in WITH_SECRET} == {name: f"env:{BY_ID[name].variable}" for name in WITH_SECRET}
    assert not leaked(f"{listed} {decision} {metrics}")
    assert place.router.log in files
    assert {path.name: leaked(path.read_text(errors="replace")) for path in files} == {p.name: [] for p in files}
