"""Statements over all answers: cut into reads, cut short, or damaged; and httpx's own transport as a witness."""

from __future__ import annotations

import asyncio
import itertools
from typing import cast

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.http.body import BodyStream
from backends.http.connection import Connection, Owner
from backends.http.pool import Pool
from backends.http.transport import FastTransport
from tests.unit.backends.transport.conftest import Peer, StartUpstream, fetch

ORIGIN = ("http", b"test", 80)


class Wire(asyncio.Transport):
    """A transport that goes nowhere: what is written is dropped, what is read is handed to the protocol by the test."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


def begun() -> Connection:
    """A connection that has sent a request and waits for the answer."""
    pool: Owner = Pool(max_idle_per_host=1, idle_age_s=30.0, max_per_host=None)
    connection = Connection(pool, ORIGIN, asyncio.get_running_loop())
    connection.connection_made(Wire())
    connection.begin(head_only=False)
    return connection


def is_aborted(connection: Connection) -> bool:
    return cast(Wire, connection._transport).aborted


chunks = st.lists(st.binary(min_size=1, max_size=60), max_size=8)
extensions = st.sampled_from([b"", b";a", b";a=b", b';a="b;c"'])
informational = st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Hints\r\nLink: </x>\r\n\r\n"])
trailers = st.sampled_from([b"", b"X-Trailer: 1\r\n", b"A: b\r\nC: d\r\n"])


@st.composite
def chunked_answers(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A valid chunked response and its body."""
    body = draw(chunks)
    wire = draw(informational) + b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n"
    for chunk in body:
        wire += b"%x%b\r\n%b\r\n" % (len(chunk), draw(extensions), chunk)
    return wire + b"0\r\n" + draw(trailers) + b"\r\n", b"".join(body)


def cut(wire: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(wire) + 1) for place in places}), len(wire)]
    return [wire[a:b] for a, b in itertools.pairwise(edges) if a < b]


cuts = st.lists(st.integers(0, 10_000), max_size=30)


@settings(max_examples=300)
@given(answer=chunked_answers(), places=cuts)
async def test_any_cut_into_reads_gives_the_same_body(answer: tuple[bytes, bytes], places: list[int]) -> None:
    """However a valid chunked response is cut into reads, its body, status and headers are the same."""
    wire, expected = answer
    connection = begun()
    body = b""
    for piece in cut(wire, places):
        connection.data_received(piece)
        if connection.status:
            body += connection.take()
    assert (connection.status, connection.complete, connection.error) == (200, True, None)
    assert connection.headers == [(b"Transfer-Encoding", b"chunked"), (b"X-A", b"b")]
    assert body == expected


@settings(max_examples=300)
@given(answer=chunked_answers(), at=st.integers(0, 10_000))
async def test_any_cut_short_is_an_error(answer: tuple[bytes, bytes], at: int) -> None:
    """A chunked response that ends before its last byte never ends like a finished one."""
    wire, expected = answer
    connection = begun()
    start = wire[: at % len(wire)]
    if start:
        connection.data_received(start)
    connection.eof_received()
    connection.connection_lost(None)
    got: list[bytes] = []
    with pytest.raises(httpx.RemoteProtocolError):
        await collect(BodyStream(connection, b"", None), got)
    assert expected.startswith(b"".join(got))


async def collect(stream: BodyStream, into: list[bytes]) -> None:
    async for piece in stream:
        into.append(piece)  # noqa: PERF401 - what came before an error is wanted too


@settings(max_examples=300)
@given(
    answer=chunked_answers(),
    places=cuts,
    damage=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4),
)
async def test_damage_never_escapes(
    answer: tuple[bytes, bytes], places: list[int], damage: list[tuple[int, int]]
) -> None:
    """Whatever bytes arrive, no exception reaches the event loop: there is a whole response or an httpx error."""
    wire = bytearray(answer[0])
    for place, byte in damage:
        wire[place % len(wire)] = byte
    connection = begun()
    for piece in cut(bytes(wire), places):
        connection.data_received(piece)
    connection.eof_received()
    connection.connection_lost(None)
    assert connection.complete is (connection.error is None)
    assert connection.error is None or isinstance(connection.error, httpx.TransportError)


@settings(max_examples=100)
@given(answer=chunked_answers(), extra=st.binary(min_size=1, max_size=40).filter(lambda data: data.strip(b"\r\n")))
async def test_bytes_after_the_response_end_the_connection(answer: tuple[bytes, bytes], extra: bytes) -> None:
    """Whatever follows a complete response in the same read, the response stands and the connection is closed."""
    wire, expected = answer
    connection = begun()
    connection.data_received(wire + extra)
    assert (connection.complete, connection.error) == (True, None)
    assert connection.take() == expected
    connection.finish()
    assert is_aborted(connection)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    status=st.sampled_from([200, 201, 302, 400, 429, 500, 503]),
    headers=st.lists(
        st.tuples(
            st.sampled_from(["X-A", "x-b", "Retry-After", "Set-Cookie"]),
            st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
        ),
        max_size=6,
    ),
    body=st.lists(st.binary(min_size=1, max_size=5000), max_size=4),
    framing=st.sampled_from(["chunked", "length", "close"]),
)
async def test_it_answers_as_httpx_does(
    status: int,
    headers: list[tuple[str, str]],
    body: list[bytes],
    framing: str,
    upstream: StartUpstream,
) -> None:
    """For the same bytes on the wire, status, headers and body are those of httpx's own transport."""
    head = f"HTTP/1.1 {status} Whatever\r\n" + "".join(f"{name}:{value}\r\n" for name, value in headers)
    if framing == "chunked":
        payload = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in body) + b"0\r\n\r\n"
        head += "Transfer-Encoding: chunked\r\n"
    else:
        payload = b"".join(body)
        head += f"Content-Length: {len(payload)}\r\n" if framing == "length" else ""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(head.encode() + b"\r\n" + payload)

    server = await upstream(script)
    answers = []
    for transport in (FastTransport(), httpx.AsyncHTTPTransport()):
        async with transport:
            response, content = await fetch(transport, "POST", server.url(), content=b"ask")
            answers.append((response.status_code, response.headers.raw, content))
    assert answers[0] == answers[1]
    ours, theirs = (peer.requests[0].split(b"\r\n\r\n") for peer in server.peers)
    assert sorted(ours[0].lower().split(b"\r\n")) == sorted(theirs[0].lower().split(b"\r\n"))
    assert ours[1] == theirs[1]
