"""The parts that rows are made of: bills, prices that count, silences, and a load that is really sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import upstream
from bench.load_http import Connection
from bench.state import ledger
from bench.state.probed import Probed, probed
from bench.state.rows.limits import Asked, bound
from bench.state.traffic import Bill
from bench.state.web import WebLoad
from router.v1 import common_pb2
from router.v1 import inference_pb2 as pb


def finished(backend: str, cost_usd: float) -> pb.Finished:
    attempts = [pb.Attempt(backend="tried", cost_usd=0.000001), pb.Attempt(backend=backend, cost_usd=cost_usd)]
    return pb.Finished(backend=backend, usage=common_pb2.Usage(input_tokens=12, output_tokens=4), attempts=attempts)


def test_a_bill_is_exact_to_the_nano_dollar() -> None:
    """Tokens are of who answered, money of who was tried; one nano-dollar more is another bill."""
    one, other, more = Bill(), Bill(), Bill()
    for bill in (one, other, more):
        bill.add(finished("b", 0.25))
    other.requests["idle"] = 0
    more.cost_nano_usd["b"] += 1

    assert one == other
    assert one != more
    assert one.cost_nano_usd == Counter({"tried": 1_000, "b": 250_000_000})
    assert one.total == "1 requests, 12 + 4 tokens, 250,001,000 nano-dollars"


@given(st.integers(0, 10_000_000))
def test_a_price_says_which_write_it_was(number: int) -> None:
    """The number of a write is read back from its price."""
    assert ledger.number(ledger.usd(number)) == number


async def test_a_backend_that_nobody_probes_is_silent() -> None:
    """The longest silence is of the backend that was left alone, from the beginning or to the end if need be."""
    found = Probed(times=[[1.0, 2.0, 3.0, 4.0], [1.0, 3.5]])

    assert found.longest_gap(0.0, 4.5) == 2.5
    assert found.longest_gap(0.0, 9.0) == 5.5
    assert Probed(times=[[]]).longest_gap(2.0, 9.0) == 7.0


async def test_probes_are_written_down_and_generations_are_not() -> None:
    """Only what is no generation counts as a probe, each at its own backend."""
    async with probed(2) as backends:
        host, _, port = backends.addresses[1].partition(":")
        _, lane = await asyncio.get_running_loop().create_connection(Connection, host, int(port))
        await lane.ask(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        body = b'{"max_tokens": 1, "stream": false}'
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
        await lane.ask(head + body)
        lane.transport.close()

    assert [len(times) for times in backends.times] == [0, 1]


async def test_a_question_is_given_up_even_when_its_answer_comes_with_the_word() -> None:
    """A client that is told to stop at the moment of an answer would go on for ever otherwise."""
    server = await asyncio.get_running_loop().create_server(upstream.Upstream, "127.0.0.1", 0)
    async with server:
        at = server.sockets[0].getsockname()
        _, lane = await asyncio.get_running_loop().create_connection(Connection, *at)
        asking = asyncio.create_task(lane.ask(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"))
        answered = lane.on_message_complete

        def stop_too() -> None:
            answered()
            asking.cancel()

        lane.on_message_complete = stop_too  # type: ignore[method-assign]
        with pytest.raises(asyncio.CancelledError):
            await asking
        lane.transport.close()


class _At:
    """As much of a router as a load needs."""

    def __init__(self, http: str) -> None:
        self.http = http


async def test_a_load_sends_at_its_rate_and_hears_every_answer() -> None:
    """Every request that was sent is answered before the block ends."""
    answers: list[int] = []
    server = await asyncio.get_running_loop().create_server(upstream.Upstream, "127.0.0.1", 0)
    async with server:
        at: Any = _At(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with WebLoad(at, 200.0, lambda status, _body, _at: answers.append(status)).running() as load:
            await asyncio.wait_for(_until(answers, 20), 5.0)

    assert load.sent == len(answers) >= 20
    assert set(answers) == {200}


async def _until(answers: list[int], count: int) -> None:
    while len(answers) < count:
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("status", "body", "counted"),
    [(200, b"{}", "admitted"), (429, b'"TENANT_LIMITED"', "refused"), (429, b'"SHED"', "wrong"), (0, b"", "wrong")],
)
def test_an_answer_is_admitted_refused_or_wrong(status: int, body: bytes, counted: str) -> None:
    """A refusal for any other reason than the tenant's limit is neither admitted nor refused."""
    asked = Asked(100.0)
    asked.answered(status, body, 1.0)

    assert {name for name in ("admitted", "refused", "wrong") if getattr(asked, name)} == {counted}


def test_the_bound_is_the_stated_one() -> None:
    """Rate * T + burst + replicas * max(1, rate * 0.1 s / replicas)."""
    assert bound(10.0) == 10_000 + 500 + 4 * 25
