"""`top` as it is run: on a terminal, without one, as JSON, and while the router goes away and comes back."""

# ruff: noqa: N802 - gRPC names its methods
from __future__ import annotations

import codecs
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import grpc
import pytest
from click.testing import CliRunner, Result

from router.cli.main import main
from router.v1 import fleet_pb2 as pb
from router.v1.fleet_pb2_grpc import FleetServiceServicer, add_FleetServiceServicer_to_server
from tests.unit.cli.top_views import FULL, backend, overview

LIMIT_S = 20.0
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass
class Fleet(FleetServiceServicer):
    """Answers with `view`, and keeps what it was asked."""

    view: pb.GetOverviewResponse = field(default_factory=lambda: FULL)
    requests: list[pb.GetOverviewRequest] = field(default_factory=list)

    def GetOverview(self, request: pb.GetOverviewRequest, _context: grpc.ServicerContext) -> pb.GetOverviewResponse:
        self.requests.append(request)
        return self.view


@contextmanager
def serving(fleet: Fleet, port: int = 0) -> Iterator[int]:
    server = grpc.server(ThreadPoolExecutor(max_workers=2), options=[("grpc.so_reuseport", 0)])
    add_FleetServiceServicer_to_server(fleet, server)  # type: ignore[no-untyped-call]  # generated
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield bound
    finally:
        server.stop(None).wait()


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
def run(fleet: Fleet) -> Iterator[Callable[..., Result]]:
    with serving(fleet) as port:
        yield lambda *words: CliRunner().invoke(main, ["top", *words, "--address", f"127.0.0.1:{port}"])


def test_without_a_terminal_it_prints_one_view(run: Callable[..., Result], fleet: Fleet) -> None:
    """Piped into a file it is one whole view, wide enough for everything, and ends."""
    result = run()

    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    for expected in (
        "emulated 4x NVIDIA H100 SXM 80GB",
        "$11.80 per hour (config)",
        "Recent decisions",
        "Replicas: r1",
    ):
        assert expected in result.stdout
    assert fleet.requests == [pb.GetOverviewRequest(decisions=8, backends=100)]


def test_numbers_of_rows_are_asked_for(run: Callable[..., Result], fleet: Fleet) -> None:
    """--backends and --decisions reach the router; no decisions at all is no table of them."""
    result = run("--backends", "3", "--decisions", "0")

    assert fleet.requests == [pb.GetOverviewRequest(decisions=0, backends=3)]
    assert "Recent decisions" not in result.stdout


def test_json_is_the_message(run: Callable[..., Result]) -> None:
    """One object with the names of the contract, emulation included; what is not known is absent."""
    told = json.loads(run("--json").stdout)
    none = json.loads(run("--json", "--decisions", "0").stdout)

    assert [shown["id"] for shown in told["backends"]] == ["h100-vllm", "groq-lpu", "device"]
    assert told["backends"][0]["hardware"]["emulated"] is True
    assert "ttft_actual_s" not in told["backends"][2]
    assert (len(told["decisions"]), none["decisions"]) == (2, [])


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_nobody_there_has_its_own_exit_code(words: tuple[str, ...]) -> None:
    """A router that does not answer from the beginning is an error, not an empty screen."""
    result = CliRunner().invoke(main, ["top", *words, "--address", "127.0.0.1:1"])

    assert result.exit_code == 3
    assert "UNREACHABLE" in result.stderr
    assert result.stdout == ""


class Terminal:
    """`top` in a terminal of a given size, as a person has it."""

    def __init__(self, address: str, *, columns: int, rows: int, words: tuple[str, ...]) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = {
            name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "router", "top", "--address", address, *words],
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            env=environment | {"TERM": "xterm"},
        )
        os.close(theirs)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self.raw = ""

    def read_until(self, done: Callable[[str], bool]) -> str:
        """Reads until what came since the last call, without colours, is so."""
        seen, ends_at = "", time.monotonic() + LIMIT_S
        while not done(ESCAPE.sub("", seen)):
            left_s = ends_at - time.monotonic()
            assert left_s > 0.0, f"not seen in time: {seen[-2000:]}"
            if select.select([self._ours], [], [], left_s)[0]:
                try:
                    seen += self._decoder.decode(os.read(self._ours, 65_536))
                except OSError:  # the other side has gone
                    break
        self.raw += seen
        return ESCAPE.sub("", seen)

    def end(self, *, number: int = signal.SIGINT) -> tuple[int, str]:
        """Ctrl-C; its exit code, and what it said on stderr."""
        self.process.send_signal(number)
        self.read_until(lambda _: self.process.poll() is not None)
        _, errors = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, errors.decode()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        os.close(self._ours)


@contextmanager
def terminal(port: int, *words: str, columns: int = 80, rows: int = 40) -> Iterator[Terminal]:
    shown = Terminal(f"127.0.0.1:{port}", columns=columns, rows=rows, words=words)
    try:
        yield shown
    finally:
        shown.close()


def after(text: str, mark: str) -> str:
    """What follows the first `mark`; nothing without one."""
    return text.partition(mark)[2]


def test_on_a_terminal_it_follows_until_the_interrupt(fleet: Fleet) -> None:
    """It fills the screen with one view after another, and Ctrl-C gives the terminal back as it was."""
    with serving(fleet) as port, terminal(port, "--interval", "0.1") as shown:
        first = shown.read_until(lambda text: "Replicas: r1" in text)
        fleet.view = overview(backends=[backend("another")])
        shown.read_until(lambda text: "another" in text and "Replicas: r1" in text)
        code, errors = shown.end()

    assert max(len(line) for line in first.splitlines()) <= 80
    assert "emulated 4x NVIDIA H100 SXM 80GB" in first
    assert (code, errors) == (130, "")
    assert shown.raw.rindex("\x1b[?1049h") < shown.raw.rindex("\x1b[?1049l")
    assert shown.raw.rindex("\x1b[?25l") < shown.raw.rindex("\x1b[?25h")


def test_once_on_a_terminal_prints_one_view_and_ends(fleet: Fleet) -> None:
    """--once leaves the view in the scrollback, however many rows it has."""
    fleet.view = overview(backends=[backend(f"b{number}") for number in range(60)], backend_count=60)
    with serving(fleet) as port, terminal(port, "--once", rows=24) as shown:
        text = shown.read_until(lambda text: "Replicas: r1" in text)
        assert shown.process.wait(timeout=LIMIT_S) == 0

    assert "b59" in text
    assert "\x1b[?1049h" not in shown.raw


def test_a_router_that_goes_away_is_said_to_be_away_and_found_again(fleet: Fleet) -> None:
    """The last view stays, marked as such; when the router is back, so are its figures."""
    with ExitStack() as first:
        port = first.enter_context(serving(fleet))
        with terminal(port, "--interval", "0.1") as shown:
            shown.read_until(lambda text: "Replicas: r1" in text)
            first.close()
            away = shown.read_until(
                lambda text: "last view" in text and "Replicas: r1" in text.rpartition("last view")[2]
            )
            fleet.view = overview(backends=[backend("back-again")])
            with serving(fleet, port):
                back = shown.read_until(
                    lambda text: "back-again" in text and "Replicas: r1" in text.rpartition("back-again")[2]
                )
            _, errors = shown.end()

    assert f"no router answers at 127.0.0.1:{port}; this is the last view" in " ".join(away.split())
    assert "h100-vllm" in after(away, "last view")
    assert errors == ""
    assert "last view" not in after(back, "back-again")
