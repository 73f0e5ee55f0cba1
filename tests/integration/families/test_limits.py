"""Whoever says that it has had enough is left alone for as long as it says, and is asked again afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from simulation.wires.anthropic import REQUESTS_PER_MINUTE
from simulation.wires.faults import Faults
from tests.integration.families.place import BY_ID, IDS, Place, otherwise, question, spare_of
from tests.integration.router.calls import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")
# Long enough for a busy machine to look at it meanwhile.
ALONE_S = 3.0
# Of several codes with that status.
CODES = {"sagemaker": "ThrottlingException"}
VENDORS = ("openai", "groq", "azure", "cerebras", "together", "openrouter", "anthropic", "replicate")
NOTHING_LEFT = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "0"}


def hint(name: str) -> dict[str, str]:
    """How long to wait, as HTTP and as gRPC say it."""
    if BY_ID[name].scheme == "grpc":
        return {"grpc-retry-pushback-ms": f"{ALONE_S * 1000:.0f}"}
    return {"retry-after": f"{ALONE_S:.0f}"}


def used_up(name: str) -> dict[str, str]:
    """A limit that is used up, in the headers and the form of time of vendors that say when it is full again."""
    at = datetime.now(UTC) + timedelta(seconds=ALONE_S + 1)  # in whole seconds, which cut off what is behind the point
    pair = {**NOTHING_LEFT, "x-ratelimit-reset-requests": f"{ALONE_S:.0f}s"}
    minute = {"x-ratelimit-remaining-requests-minute": "0", "x-ratelimit-limit-requests-minute": "30"}
    bare = {"x-ratelimit-limit": "2", "x-ratelimit-remaining": "0"}
    vendors = {
        "openai": pair,
        "groq": pair,
        "azure": {**NOTHING_LEFT, "x-ratelimit-reset-requests": f"{ALONE_S:.0f}"},
        "cerebras": {**minute, "x-ratelimit-reset-requests-minute": f"{ALONE_S:.2f}"},
        "together": {**bare, "x-ratelimit-reset": f"{ALONE_S:.0f}"},
        "openrouter": {**bare, "x-ratelimit-reset": f"{at.timestamp() * 1000:.0f}"},
        "anthropic": {
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
        "replicate": {"ratelimit-remaining": "0", "ratelimit-reset": f"{ALONE_S:.0f}"},
    }
    return vendors[name]


async def left_alone(place: Place, name: str, says: Callable[[str], dict[str, str]]) -> None:
    """A 429 that says so moves the request on, and nobody asks that server again before the time has passed."""
    server, spare = place.servers[name], spare_of(BY_ID[name])
    await place.ready(name)
    server.faults = Faults(status=429, code=CODES.get(name, ""), headers=says(name))
    began = time.monotonic()

    moved = await place.ask(question(name, spare))
    server.faults = Faults()
    asked = len(server.seen)
    decision = await place.explain(question(name, spare))
    meanwhile = await place.ask(question(name, spare))

    assert moved.finished is not None
    first, second = moved.finished.attempts
    assert (first.backend, second.backend, second.result) == (name, spare, "OK")
    # gRPC has one status for both.
    assert first.result == "RATE_LIMITED" or (BY_ID[name].scheme == "grpc" and first.result == "OVERLOADED")
    assert [drop.reason for drop in decision.drops if drop.backend == name] == ["RATE_LIMIT"]
    assert decision.backend == spare
    assert meanwhile.backend == spare
    assert len(server.seen) == asked
    assert time.monotonic() - began < ALONE_S, "the machine is too slow for this test"

    await eventually(
        lambda: place.explain(question(name)), lambda decision: decision.backend == name, limit_s=ALONE_S + 10
    )
    assert time.monotonic() - began >= ALONE_S, f"{name} was asked too early"
    assert (await place.ask(question(name, spare))).backend == name


async def test_a_429_with_a_time_to_wait(place: Place) -> None:
    """Every family: `retry-after`, or gRPC's pushback, is obeyed. At the same time, since each takes seconds."""
    async with asyncio.TaskGroup() as group:
        for name in IDS:
            group.create_task(left_alone(place, name, hint))


async def test_a_429_with_a_limit_that_is_used_up(place: Place) -> None:
    """Without a time to wait, the vendor's own headers of limits say when to come back."""
    async with asyncio.TaskGroup() as group:
        for name in VENDORS:
            group.create_task(left_alone(place, name, used_up))


async def test_an_answer_that_uses_up_a_limit(place: Place) -> None:
    """Nobody has to be refused first: an answer whose headers leave nothing is the last one until the reset."""
    await place.ready("groq")
    headers = {**NOTHING_LEFT, "x-ratelimit-reset-requests": f"{ALONE_S:.0f}s"}

    with otherwise(place.servers["groq"], limits=headers):
        last = await place.ask(question("groq"))
    decision = await place.explain(question("groq", "spare-vllm"))
    state = await place.state("groq")

    assert last.backend == "groq"
    assert decision.backend == "spare-vllm"
    dropped = next(drop for drop in decision.drops if drop.backend == "groq")
    assert dropped.reason == "RATE_LIMIT"
    assert "has no requests left by its own account" in dropped.detail
    assert state.requests_left.remaining == 0
    await place.ready("groq")


async def test_emulated_limits_do_not_run_out(place: Place) -> None:
    """Whoever plays with the emulated vendors is not stopped by their figures; only faults do that."""
    for _ in range(REQUESTS_PER_MINUTE + 5):
        assert (await place.ask(question("anthropic"))).backend == "anthropic"
