"""What goes wrong with a vendor of the OpenAI chat wire, and what the adapter makes of it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

import pytest

from backends.contract import (
    GenerateRequest,
)
from backends.errors import (
    AuthFailed,
    BackendError,
    BadRequest,
    ModelNotServed,
    Overloaded,
    ProtocolViolation,
    QuotaExhausted,
    RateLimited,
    StreamBroken,
    UpstreamFault,
)
from backends.openai.profiles import PROFILES
from simulation.wires.faults import Faults
from simulation.wires.openai_vendor import KEY, MODEL
from tests.contract.emulated import ask, ask_until_broken, text
from tests.contract.openai_stage import EMULATED, USER, a_request, every_dialect, staged


@every_dialect
async def test_a_wrong_key_is_ours_to_mend(name: str) -> None:
    """Whatever the vendor says to it, and without the key in the message."""
    if not EMULATED[name].key_header:
        pytest.skip("this server has no keys")
    async with staged(name) as stage:
        stage.server.faults = Faults(status=401)
        with pytest.raises(AuthFailed) as caught:
            await stage.ask()
        assert KEY not in str(caught.value)
        assert KEY not in repr(stage.backend)


@every_dialect
async def test_a_rate_limit_says_what_is_left(name: str) -> None:
    """The headroom comes with the refusal and with an answer, and the wait is the vendor's."""
    async with staged(name) as stage:
        answered = (await stage.ask())[0].signals
        stage.server.faults = Faults(status=429, headers={"retry-after": "3"})
        with pytest.raises(RateLimited) as caught:
            await stage.ask()
        assert caught.value.retry_after_s == 3.0
        assert caught.value.signals == answered
        assert (answered is not None) == bool(PROFILES[name].limits and stage.server.vendor.limits)


@every_dialect
async def test_a_model_that_is_not_there(name: str) -> None:
    """A 404 in any of the shapes is about the model; llama.cpp answers for any name."""
    async with staged(name) as stage:
        if stage.server.vendor.any_model:
            assert text(await ask(stage.backend, GenerateRequest(model="no-such-model", messages=(USER,))))
            return
        with pytest.raises(ModelNotServed):
            await ask(stage.backend, GenerateRequest(model="no-such-model", messages=(USER,)))


@every_dialect
@pytest.mark.parametrize("status", [500, 503])
async def test_the_servers_own_trouble(name: str, status: int) -> None:
    """A 500 counts as sickness; a 503 is load where the vendor means it so."""
    async with staged(name) as stage:
        stage.server.faults = Faults(status=status)
        with pytest.raises(BackendError) as caught:
            await stage.ask()
        means = PROFILES[name].failures.statuses.get(status, UpstreamFault)
        if stage.server.vendor.words.get(status) is not None:
            means = Overloaded
        assert type(caught.value) is means


@every_dialect
@pytest.mark.parametrize(
    ("faults", "said"),
    [
        (Faults(cut_after=2), "broke"),
        (Faults(malformed_after=2), "PROTOCOL_VIOLATION"),
        (Faults(error_after=2), "a fault that was asked for"),
    ],
    ids=["cut", "malformed", "error"],
)
async def test_a_stream_that_fails_is_broken(name: str, faults: Faults, said: str) -> None:
    """What was delivered stays; the end is never taken for an answer's."""
    async with staged(name) as stage:
        stage.server.faults = faults
        chunks, error = await ask_until_broken(stage.backend, a_request())
        assert "".join(chunk.text for chunk in chunks)
        assert isinstance(error, StreamBroken)
        assert said in error.message or (EMULATED[name].http10 and "PROTOCOL" in error.message)
        assert "secret" not in error.message


@every_dialect
async def test_an_error_in_the_first_event_can_be_tried_elsewhere(name: str) -> None:
    """Nothing was delivered, so it is the failure itself and not a broken stream."""
    async with staged(name) as stage:
        stage.server.faults = Faults(error_after=0)
        chunks, error = await ask_until_broken(stage.backend, a_request())
        assert not "".join(chunk.text for chunk in chunks)
        assert error is not None
        assert error.retryable


@every_dialect
async def test_leaving_frees_the_server(name: str) -> None:
    """A caller that goes away in a stall is seen to have gone."""
    async with staged(name) as stage:
        stage.server.faults = Faults(stall_after=1)
        stream = stage.backend.generate(a_request(), upstream_model=MODEL, request_id="r")
        async with contextlib.aclosing(stream), asyncio.timeout(2):
            await anext(stream)
        async with asyncio.timeout(2):
            await stage.server.disconnected()
        assert stage.server.disconnects == 1


@dataclass(frozen=True, slots=True)
class Refusal:
    vendor: str
    faults: Faults
    error: type[BackendError]
    wait_s: float | None = None
    id: str = field(default="")


@pytest.mark.parametrize(
    "case",
    [
        Refusal("groq", Faults(status=498), Overloaded),
        Refusal("groq", Faults(status=400, code="tool_use_failed"), BadRequest),
        Refusal("groq", Faults(status=429), RateLimited),
        Refusal("groq", Faults(status=400, code="blocked_api_access"), QuotaExhausted),
        Refusal("together", Faults(status=503), Overloaded),
        Refusal("cerebras", Faults(status=429, code="queue_exceeded"), Overloaded),
        Refusal("openai", Faults(status=429, code="insufficient_quota"), QuotaExhausted),
        Refusal("azure", Faults(status=429, headers={"retry-after": "1", "retry-after-ms": "0"}), RateLimited, 0.0),
        Refusal("azure", Faults(status=404), ModelNotServed),
        Refusal("deepseek", Faults(status=402), QuotaExhausted),
        Refusal("fireworks", Faults(status=412), QuotaExhausted),
        Refusal("openrouter", Faults(status=402), QuotaExhausted),
        Refusal("mistral", Faults(status=429, code="3505"), Overloaded),
        Refusal("sglang", Faults(status=503), Overloaded),
        Refusal("gemini_openai", Faults(status=429), RateLimited),
        Refusal("tabbyapi", Faults(status=422), BadRequest),
        Refusal("mlx", Faults(status=404), ModelNotServed),
    ],
    ids=lambda case: f"{case.vendor}-{case.faults.status}-{case.faults.code}".rstrip("-"),
)
async def test_a_refusal_means_what_the_vendor_means(case: Refusal) -> None:
    """Our rate, their shortage and an empty account are told apart."""
    async with staged(case.vendor) as stage:
        stage.server.faults = case.faults
        with pytest.raises(BackendError) as caught:
            await stage.ask()
        assert type(caught.value) is case.error
        if case.wait_s is not None:
            assert caught.value.retry_after_s == case.wait_s


async def test_a_strict_server_refuses_what_is_not_its_own() -> None:
    """So the emulated one does too, or the test of the profiles would prove nothing."""
    async with staged("trtllm", extra_body='{"cache_salt_": "x"}') as stage:
        with pytest.raises(BadRequest, match="cache_salt_"):
            await stage.ask()


async def test_an_end_without_the_marker_is_proven_by_a_finish_reason_only() -> None:
    """A connection that closes after the text alone is a broken answer, also where bodies end so by design."""
    async with staged("mlx") as stage:
        stage.server.faults = Faults(cut_after=1)
        with pytest.raises((StreamBroken, ProtocolViolation)):
            await stage.ask()
