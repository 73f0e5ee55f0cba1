"""Load and upstream against each other: a gateway that loses or holds back tokens is found out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from dataclasses import replace

import msgspec
import pytest

from bench import upstream
from bench.gateways import Gateway
from bench.load import first_cause, run
from bench.load_job import HeldBack, Job, WrongAnswer, count, verify, verify_pace
from bench.traffic import CASES, LITELLM


@pytest.fixture
async def address() -> AsyncGenerator[str]:
    """An upstream in this process."""
    server = await asyncio.get_running_loop().create_server(upstream.Upstream, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


def job(address: str, **changes: object) -> Job:
    plain = Job(face="http", address=address, streams=4, requests=3, pids=[os.getpid()])
    return msgspec.structs.replace(plain, **changes)


@pytest.mark.parametrize(
    "load",
    [
        {"stream": False},
        {"tokens": 128},
        {"tokens": 8, "pause_ms": 1},
        {"rate": 500.0, "requests": 9, "warm": 1},
    ],
)
async def test_every_answer_is_counted_and_timed(address: str, load: dict[str, object]) -> None:
    """A report has the requests, their times to the first token, and the CPU that they took."""
    asked = job(address, **load)
    report = await run(asked)

    assert report.requests == (asked.requests if asked.rate else 12)
    assert len(report.ttft_s) == report.requests
    assert all(0.0 < seconds < report.wall_s for seconds in report.ttft_s)
    assert report.cpu_us > 0.0


async def test_paced_answers_take_their_time(address: str) -> None:
    """The first token comes at once, each further one after the pause."""
    report = await run(job(address, streams=2, requests=1, tokens=6, pause_ms=10))

    assert report.wall_s >= 0.05
    assert min(report.ttft_s) < 0.05


def test_lost_tokens_are_found() -> None:
    """An answer that lacks a token has no figure."""
    with pytest.raises(WrongAnswer, match="7 of 8 tokens"):
        verify(job("", tokens=8), 7 * " token")


def test_held_back_tokens_are_found() -> None:
    """Paced answers that come in one piece each have no figure either; a few that do are the machine's fault."""
    paced = job("", tokens=8, pause_ms=5)
    verify_pace(paced, answers=10, pieces=9 * 8 + 1)

    with pytest.raises(HeldBack, match="in 10 pieces"):
        verify_pace(paced, answers=10, pieces=10)


def test_the_words_of_the_upstream_are_counted() -> None:
    """As many as were asked for, odd or even."""
    assert [count(upstream.times(upstream.WORDS, n).decode()) for n in (1, 2, 7)] == [1, 2, 7]


async def test_a_refused_connection_is_told_in_one_line() -> None:
    """The cause of a failed job is the first failure itself, not the group around it."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its text is the system's
        await run(job("127.0.0.1:1"))

    assert first_cause(ExceptionGroup("many", [caught.value])).startswith("ConnectionRefusedError: ")


def test_everyone_gets_the_same_load() -> None:
    """LiteLLM gets fewer requests, never other ones."""
    ours = Gateway(name="router", http="h", grpc="g", pids=(1,))
    for case in CASES:
        mine, theirs = (case.job(g, quick=False) for g in (ours, replace(ours, name=LITELLM)))

        assert msgspec.structs.replace(theirs, requests=mine.requests) == mine
        assert theirs.requests <= mine.requests
