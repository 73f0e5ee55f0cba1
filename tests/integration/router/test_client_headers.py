"""What a client proves itself with stays at the router: a backend sees the router's own credential, or none."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
import pytest
import pytest_asyncio

from tests.contract.loopback import LoopbackServer, Reply, Seen
from tests.integration.router.calls import Clients, ask, chat, clients_of
from tests.integration.router.site import MODEL, Running, Site, run_router

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

CLIENT = "client-secret"
# Every header by which some vendor knows a caller, and others that a gateway may be tempted to pass on.
SENT = {
    "authorization": f"Bearer {CLIENT}",
    "x-api-key": CLIENT,
    "x-goog-api-key": CLIENT,
    "api-key": CLIENT,
    "x-amz-security-token": CLIENT,
    "proxy-authorization": f"Basic {CLIENT}",
    "cookie": f"session={CLIENT}",
    "openai-organization": CLIENT,
    "anthropic-beta": CLIENT,
    "x-forwarded-authorization": CLIENT,
}
# Backend -> wire and profile, and the header in which its own key is expected; "" for none.
BACKENDS = {
    "keyless": ("openai_chat", "vllm", ""),
    "hosted": ("openai_chat", "openai", "authorization"),
    "claude": ("anthropic", "anthropic", "x-api-key"),
    "google": ("gemini", "gemini", "x-goog-api-key"),
}
ENTRY = """
  {id}:
    wire: {wire}
    profile: {profile}
    address: {url}/{id}
    {credential}
    models: [{{ model: {model} }}]
"""
SECRETS = {f"KEY_OF_{name.upper()}": f"own-{name}" for name, (*_, header) in BACKENDS.items() if header}


def answer(_: Seen) -> Reply:
    """A refusal that no other backend is asked after."""
    return Reply([b'{"error":{"message":"no","type":"invalid_request_error"}}'], status=400, framing="length")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def upstream() -> AsyncGenerator[LoopbackServer]:
    async with LoopbackServer(answer) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def router(tmp_path_factory: pytest.TempPathFactory, upstream: LoopbackServer) -> AsyncGenerator[Running]:
    """A router over one upstream that plays a backend of each kind of credential."""
    site = Site.build(Path(tmp_path_factory.mktemp("headers")) / "site")
    entries = [
        ENTRY.format(
            id=name,
            wire=wire,
            profile=profile,
            url=upstream.url,
            credential=f"credential: env:KEY_OF_{name.upper()}" if header else "region: here",
            model=MODEL,
        )
        for name, (wire, profile, header) in BACKENDS.items()
    ]
    (site.config / "fleet.yaml").write_text(f"backends:{''.join(entries)}")
    (site.config / "prices.yaml").write_text("prices: []\n")
    async with run_router(site, **SECRETS) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def clients(router: Running) -> AsyncGenerator[Clients]:
    async with clients_of(router) as opened:
        yield opened


def generations(upstream: LoopbackServer, backend: str) -> list[Seen]:
    return [seen for seen in upstream.seen if seen.method == "POST" and seen.path.startswith(f"/{backend}/")]


def assert_kept(upstream: LoopbackServer, backend: str) -> None:
    """The backend was asked, with its own credential alone; nothing that the client sent is in any request."""
    header = BACKENDS[backend][2]
    asked = generations(upstream, backend)
    assert asked
    for seen in asked:
        carried = {name for name, value in seen.headers.items() if "own-" in value}
        assert carried == ({header} if header else set())
        assert header == "authorization" or "authorization" not in seen.headers
    everything = [(seen.path, seen.headers, seen.body) for seen in upstream.seen]
    assert CLIENT not in repr(everything)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
async def test_no_header_of_an_http_client_goes_upstream(
    backend: str, clients: Clients, upstream: LoopbackServer, *, stream: bool
) -> None:
    """Keys and cookies in every form that vendors know end at the HTTP face."""
    before = len(generations(upstream, backend))
    body: dict[str, Any] = chat(stream=stream, router={"only_backends": [backend], "max_attempts": 1})

    response: httpx.Response = await clients.http.post("/v1/chat/completions", json=body, headers=SENT)

    assert response.status_code >= 400
    assert CLIENT not in response.text
    assert len(generations(upstream, backend)) == before + 1
    assert_kept(upstream, backend)


@pytest.mark.parametrize("backend", BACKENDS)
async def test_no_metadata_of_a_grpc_client_goes_upstream(
    backend: str, clients: Clients, upstream: LoopbackServer
) -> None:
    """The same of the gRPC face."""
    before = len(generations(upstream, backend))
    request = ask(max_attempts=1)
    request.routing.placement.only_backends.append(backend)

    with pytest.raises(grpc.aio.AioRpcError):
        async for _ in clients.inference.Generate(request, metadata=tuple(SENT.items()), timeout=20.0):
            pass

    assert len(generations(upstream, backend)) == before + 1
    assert_kept(upstream, backend)


async def test_the_log_holds_no_credential(router: Running) -> None:
    """Neither a client's nor a backend's, after all of the above."""
    output = router.output()
    assert CLIENT not in output
    assert not [secret for secret in SECRETS.values() if secret in output]
