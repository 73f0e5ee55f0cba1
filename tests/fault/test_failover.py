"""The cheaper backend fails in every way there is; its callers are answered by the other."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2

from router.v1 import admin_pb2, common_pb2
from tests.integration.router.calls import (
    Answer,
    Clients,
    Emulators,
    ask,
    chat,
    clients_of,
    detail,
    emulators_of,
    eventually,
    generate,
    post,
    take,
)
from tests.integration.router.conftest import Figure
from tests.integration.router.site import Running, Site, run_fleet, run_router
from tests.integration.router.traffic import ON_BREAK, Report, Traffic

pytestmark = pytest.mark.asyncio(loop_scope="session")
FIRST_TOKEN_S = 0.3
IDLE_S = 0.4
LEFT_ALONE_S = 2
TOKENS = 40
BREAK_AFTER = 10


@pytest.fixture(scope="module")
def dispatch() -> dict[str, float]:
    """Short patience, and circuits that close again within a test."""
    return {
        "first_token_timeout_s": FIRST_TOKEN_S,
        "idle_timeout_s": IDLE_S,
        "open_base_s": 0.4,
        "probe_interval_s": 0.2,
        "probe_timeout_s": 0.2,
    }


@pytest_asyncio.fixture(loop_scope="session")
async def steady(clients: Clients, emulators: Emulators) -> Clients:  # noqa: ARG001 - its faults are off first
    """The module's router, once it has got over the test before."""
    await eventually(lambda: generate(clients, ask()), lambda a: a.backend == "fast" and not a.rerouted)
    return clients


async def test_a_killed_backend_costs_nobody_an_answer(site: Site, figure: Figure) -> None:
    """Kill -9 under traffic: no request without a token fails, later ones go elsewhere; restarted, it is used again."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(run_fleet(site.part("spare")))
        fast = await stack.enter_async_context(run_fleet(site.part("fast")))
        router = await stack.enter_async_context(run_router(site))
        clients = await stack.enter_async_context(clients_of(router))
        traffic = Traffic(clients, max_tokens=8)
        assert set((await traffic.run(40)).backends) == {"fast"}

        report = Report()
        sending = asyncio.create_task(traffic.run(150, report=report))
        await eventually(lambda: asyncio.sleep(0, len(report.results)), lambda count: count > 30)
        os.kill(fast.pid, signal.SIGKILL)
        killed_at = time.monotonic()
        await sending

        async with run_fleet(site.part("fast")):
            back_at = time.monotonic()
            await eventually(lambda: generate(clients, ask()), lambda a: a.backend == "fast", limit_s=3.0)
            used_after = time.monotonic() - back_at

    late = [r for r in report.results if r.began > killed_at]
    figure(
        f"backend killed: {report}, {sum(r.had_tokens for r in report.failed)} of the failed had tokens; "
        f"{len(late)} began after it; used again {1e3 * used_after:.0f} ms after its restart"
    )
    assert [r for r in report.failed if not r.had_tokens] == []
    assert [r for r in late if r.error] == []
    assert {r.backend for r in late} == {"spare"}
    assert all("STREAM_BROKEN" in r.error or "broke off" in r.error for r in report.failed), report.failed
    assert max(r.took_s for r in late) < 1.0


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_honoured(status: int, steady: Clients, emulators: Emulators, figure: Figure) -> None:
    """A backend that says for how long to leave it alone is left alone, nobody is failed, and then it is used again."""
    clients = steady
    await emulators.control("fast", fail_rate=1.0, fail_status=status, retry_after_s=LEFT_ALONE_S)
    refused_before = (await emulators.stats("fast"))["refused"]
    first = await generate(clients, ask())
    said_at = time.monotonic()
    report = await Traffic(clients).run(60)
    waited = time.monotonic() - said_at
    refused = (await emulators.stats("fast"))["refused"] - refused_before
    await emulators.control("fast", fail_rate=0.0)
    await eventually(lambda: generate(clients, ask()), lambda a: a.backend == "fast", limit_s=5.0)
    left_alone = time.monotonic() - said_at

    figure(f"{status}, Retry-After {LEFT_ALONE_S} s: asked once in {waited:.1f} s, again after {left_alone:.1f} s")
    assert [(r.from_backend, r.to.backend) for r in first.rerouted] == [("fast", "spare")]
    assert first.rerouted[0].reason in {"RATE_LIMITED", "OVERLOADED"}
    assert waited < LEFT_ALONE_S, "the traffic took longer than the time that was asked for"
    assert (report.failed, set(report.backends), refused) == ([], {"spare"}, 1)
    assert LEFT_ALONE_S - 0.3 < left_alone < LEFT_ALONE_S + 1.0


async def test_every_other_request_failing_fails_nobody(
    fresh_clients: Clients, emulators: Emulators, figure: Figure
) -> None:
    """A backend that answers half of its requests with 500: of 200 none fails."""
    await emulators.control("fast", fail_rate=0.5)

    report = await Traffic(fresh_clients).run(200)

    failing = await fresh_clients.metric('router_attempts_total{backend="fast",result="UPSTREAM_FAULT"}')
    figure(f"fail_rate 0.5: {report}, {failing:.0f} attempts failed and were made good")
    assert report.failed == []
    assert failing > 5
    assert set(report.backends) == {"fast", "spare"}


@pytest.mark.parametrize("action", ["error", "restart", "continue"])
async def test_a_stream_that_breaks(action: str, steady: Clients, emulators: Emulators) -> None:
    """After its first tokens the declared action holds: an error, a new answer, or the rest of the same one."""
    clients = steady
    alone = await generate(clients, ask("tell", max_tokens=TOKENS))
    other = await generate(clients, ask("tell", max_tokens=TOKENS, placement=only("spare")))
    await emulators.control("fast", break_after=BREAK_AFTER)

    request = ask("tell", max_tokens=TOKENS, on_stream_break=ON_BREAK[action])
    answer = Answer()
    error: grpc.aio.AioRpcError | None = None
    try:
        async for message in clients.inference.Generate(request):
            take(answer, message)
    except grpc.aio.AioRpcError as caught:
        error = caught

    begun = alone.text[: 4 * BREAK_AFTER]
    if action == "error":
        assert error is not None
        assert error.code() == grpc.StatusCode.UNAVAILABLE
        assert detail(error, error_details_pb2.ErrorInfo).reason == "STREAM_BROKEN"
        assert (answer.text, answer.rerouted) == (begun, [])
        return
    assert error is None
    assert answer.finished is not None
    rerouted = answer.rerouted[0]
    assert (rerouted.from_backend, rerouted.to.backend, rerouted.reason) == ("fast", "spare", "STREAM_BROKEN")
    assert rerouted.resume == ON_BREAK[action]
    assert [(a.backend, a.result) for a in answer.finished.attempts] == [("fast", "STREAM_BROKEN"), ("spare", "OK")]
    if action == "restart":
        assert answer.text == other.text
    else:
        assert answer.text.startswith(begun)
        assert len(answer.text) == 4 * TOKENS
        assert "Emulated answer" not in answer.text[4 * BREAK_AFTER :], "it began anew instead of going on"
        assert answer.finished.usage.output_tokens == TOKENS
    assert answer.finished.cost_usd == pytest.approx(sum(a.cost_usd for a in answer.finished.attempts))


@pytest.mark.parametrize("action", ["error", "restart", "continue"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_stream_that_breaks_over_http(
    *, action: str, stream: bool, steady: Clients, emulators: Emulators
) -> None:
    """The same over HTTP, where a restart is for answers in one piece only: what was sent cannot be taken back."""
    clients = steady
    await emulators.control("fast", break_after=BREAK_AFTER)

    response = await post(clients, chat("tell", max_tokens=TOKENS, stream=stream, router={"on_stream_break": action}))

    if action == "restart" and stream:
        assert (response.status_code, response.json()["error"]["param"]) == (400, "router.on_stream_break")
    elif action == "error":
        assert '"code":"stream_broken"' in response.text
        assert response.status_code == (200 if stream else 502)
        assert "[DONE]" not in response.text
    elif stream:
        assert ": rerouted from fast to spare: STREAM_BROKEN" in response.text
        assert response.text.endswith("data: [DONE]\n\n")
    else:
        said: dict[str, Any] = response.json()
        assert len(said["choices"][0]["message"]["content"]) == 4 * TOKENS
        assert [a["result"] for a in said["router"]["attempts"]] == ["STREAM_BROKEN", "OK"]


async def test_silence_before_the_first_token_goes_elsewhere(
    steady: Clients, emulators: Emulators, figure: Figure
) -> None:
    """A backend that takes a request and says nothing is given up after first_token_timeout_s, and let go."""
    await emulators.control("fast", stall=True)

    answer = await generate(steady, ask())
    stats = await emulators.wait("fast", lambda s: s["active"] == 0)

    figure(f"stall before the first token: answered after {answer.total_s:.2f} s, patience {FIRST_TOKEN_S} s")
    assert [(r.from_backend, r.reason) for r in answer.rerouted] == [("fast", "TIMED_OUT")]
    assert answer.backend == "spare"
    assert FIRST_TOKEN_S < answer.first_token_s < FIRST_TOKEN_S + 0.2
    assert stats["disconnects"] >= 1


async def test_silence_within_a_stream_is_a_break(steady: Clients, emulators: Emulators) -> None:
    """A stream that stops without ending is given up after idle_timeout_s, and continued elsewhere on demand."""
    request = ask("tell", max_tokens=200, on_stream_break=ON_BREAK["continue"])
    answer = Answer()
    began = time.monotonic()
    async for message in steady.inference.Generate(request, timeout=20.0):
        take(answer, message)
        if len(answer.text) >= 40 and not answer.rerouted:
            await emulators.control("fast", stall=True)

    assert [(r.from_backend, r.reason) for r in answer.rerouted] == [("fast", "TIMED_OUT")]
    assert answer.finished is not None
    assert answer.finished.backend == "spare"
    assert time.monotonic() - began > IDLE_S


async def test_when_all_fail_the_caller_learns_what_happened_where(
    fresh_clients: Clients, fresh_router: Running, emulators: Emulators
) -> None:
    """Each attempt with its reason, and UNAVAILABLE: on the faces alike, at once, and healthy again when they are."""
    clients = fresh_clients
    for name in ("fast", "spare"):
        await emulators.control(name, fail_rate=1.0, fail_status=500)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await generate(clients, ask())
    over_http = await post(clients, chat())
    info = detail(caught.value, error_details_pb2.ErrorInfo)
    await emulators.reset()
    await eventually(lambda: post(clients, chat()), lambda r: r.status_code == 200, limit_s=3.0)

    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert info.reason == "UPSTREAM_FAILED"
    assert info.metadata["attempt/0/fast"] == info.metadata["attempt/1/spare"] == "UPSTREAM_FAULT"
    assert (over_http.status_code, over_http.json()["error"]["code"]) == (502, "upstream_fault")
    assert "Traceback" not in fresh_router.output()


async def test_a_backend_that_says_not_ready_is_left_out_by_its_probes(
    fresh_clients: Clients, site: Site, emulators: Emulators
) -> None:
    """Without a request having failed, /health at 503 takes a backend out within some probes, and 200 takes it in."""
    async with emulators_of(site) as face:
        await face.control("fast", ready=False)
        refused = (await face.stats("fast"))["refused"]
        await eventually(lambda: health(fresh_clients), "EJECTED".__eq__)
        answers = [await generate(fresh_clients, ask()) for _ in range(5)]
        assert {a.backend for a in answers} == {"spare"}
        assert (await emulators.stats("fast"))["refused"] == refused
        await face.control("fast", ready=True)
    await eventually(lambda: generate(fresh_clients, ask()), lambda a: a.backend == "fast")


def only(name: str) -> common_pb2.Placement:
    return common_pb2.Placement(only_backends=[name])


async def health(clients: Clients) -> str:
    """What the router says of the health of `fast`."""
    answer = await clients.admin.GetBackend(admin_pb2.GetBackendRequest(id="fast"))
    return common_pb2.HealthState.Name(answer.backend.state.health).removeprefix("HEALTH_STATE_")
