"""Who leaves a prediction cancels it, and no address is asked that is not allowed: the Replicate adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from backends.authorise import KeyAuthoriser
from backends.errors import (
    ConnectFailed,
    ProtocolViolation,
)
from backends.probing.prober import HttpProber
from backends.replicate.backend import ReplicateBackend
from backends.replicate.build import settings
from backends.replicate.dialects import REPLICATE
from backends.replicate.links import AllowedHosts
from backends.spec import BackendSpec
from simulation.wires.faults import Faults
from simulation.wires.replicate import TOKEN
from tests.contract.emulated import ask, text
from tests.contract.loopback import LoopbackServer, Reply
from tests.contract.replicate_stage import MODEL, REQUEST, Stage, replicate_stage


@pytest.fixture(params=["httpx", "fast"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with replicate_stage(request.param) as found:
        yield found


async def test_a_caller_that_leaves_cancels_the_prediction(stage: Stage) -> None:
    """The stream is closed at once, and a request says that nobody wants the rest."""
    stage.server.faults = Faults(stall_after=1)
    backend = stage.backend()
    stream = backend.generate(REQUEST, upstream_model=MODEL, request_id="r")
    await anext(stream)
    await stream.aclose()
    assert await stage.cancelled() == list(stage.server.predictions)
    async with asyncio.timeout(2):
        await stage.server.streams.disconnected()


async def test_a_caller_that_is_cancelled_before_the_first_token_cancels_the_prediction(stage: Stage) -> None:
    """Closing the backend waits until that is done."""
    stage.server.faults = Faults(stall_after=0)
    backend = stage.backend()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await ask(backend, REQUEST)
    await backend.aclose()
    assert list(stage.server.cancelled) == list(stage.server.predictions)


async def test_a_prediction_that_nobody_waited_for_is_cancelled_once_it_is_known(stage: Stage) -> None:
    """The caller left while it was being created."""
    stage.server.creating.clear()
    backend = stage.backend()
    asking = asyncio.ensure_future(ask(backend, REQUEST))
    async with asyncio.timeout(2):
        await stage.server.asked()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    stage.server.creating.set()
    assert len(await stage.cancelled()) == 1
    await backend.aclose()


async def test_a_backend_that_is_closed_waits_for_no_service_for_ever(stage: Stage) -> None:
    """What is still being created then fails as what it is."""
    stage.server.creating.clear()
    spec = BackendSpec(id="b", wire="replicate", base_url=f"http://127.0.0.1:{stage.server.port}")
    async with httpx.AsyncHTTPTransport() as transport, httpx.AsyncClient() as control:
        authoriser = KeyAuthoriser("env:TOKEN", {"TOKEN": TOKEN}, REPLICATE.key)
        backend = ReplicateBackend(
            spec,
            REPLICATE,
            settings({}),
            hosts=AllowedHosts(httpx.URL(spec.base_url), ()),
            transport=transport,
            authoriser=authoriser,
            prober=HttpProber(spec, REPLICATE, control, authoriser=authoriser),
            cancel_s=0.01,
        )
        asking = asyncio.ensure_future(ask(backend, REQUEST))
        async with asyncio.timeout(2):
            await stage.server.asked()
            await backend.aclose()
            with pytest.raises(ConnectFailed, match="closed"):
                await asking


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://evil.example/v1/streams/x",
        "https://replicate.com.evil.example/x",
        "https://evilreplicate.com/x",
        "https://api.replicate.com:8443/x",
        "http://stream.replicate.com/x",
        "https://user:pass@stream.replicate.com/x",
        "http://[::1]:6379/",
        "http://localhost.evil.example/",
        "file:///etc/passwd",
        "gopher://stream.replicate.com/",
        "//stream.replicate.com/x",
        "/v1/streams/x",
        "https://",
        "not an address",
        "http://\u2024/",
    ],
)
@pytest.mark.parametrize("name", ["stream", "get"])
async def test_an_address_that_is_not_allowed_is_not_asked(stage: Stage, name: str, address: str) -> None:
    """Neither for the stream nor for the counts; the prediction is cancelled at the service's own address."""
    stage.server.other_urls = {name: address, "cancel": address}
    with pytest.raises(ProtocolViolation, match="the prediction's") as caught:
        await ask(stage.backend(), REQUEST)
    assert "pass" not in caught.value.message
    assert len(await stage.cancelled()) == 1
    assert not stage.server.streams.seen


async def test_a_redirect_is_not_followed(stage: Stage) -> None:
    """Where it leads is not where the token may go."""
    async with LoopbackServer(lambda _: Reply()) as elsewhere:
        stage.server.redirects = f"{elsewhere.url}/take"
        with pytest.raises(ProtocolViolation):
            await ask(stage.backend(), REQUEST)
        assert not elsewhere.seen
    assert len(await stage.cancelled()) == 1


async def test_the_token_goes_to_listed_hosts_and_to_no_other(stage: Stage) -> None:
    """A host on another name is another host, until it is listed."""
    port = stage.server.streams.port
    stage.server.other_urls = {"stream": f"http://localhost:{port}/v1/streams/emulated{1:018d}"}
    with pytest.raises(ProtocolViolation, match="localhost"):
        await ask(stage.backend(), REQUEST)
    stage.server.other_urls = {"stream": f"http://localhost:{port}/v1/streams/emulated{2:018d}"}
    assert text(await ask(stage.backend(allowed_hosts=f"localhost:{port}"), REQUEST))


async def test_a_model_without_a_stream_is_refused_and_its_prediction_cancelled(stage: Stage) -> None:
    """An image model, say."""
    stage.server.other_urls = {"stream": ""}
    with pytest.raises(ProtocolViolation, match="without a stream"):
        await ask(stage.backend(), REQUEST)
    assert len(await stage.cancelled()) == 1
