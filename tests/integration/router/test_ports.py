"""A port that somebody else has: said at once and by number, or another one is taken where that is allowed."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.router.conftest import Figure
from tests.integration.router.site import FAST, ROOT, SPARE, Site, assert_clean, environment, run_router, serve_command

FLAGS = ("--grpc-port", "--admin-port", "--http-port")


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def empty_site(tmp_path: Path) -> Site:
    """A site whose backends nobody runs."""
    return Site.build(tmp_path / "site", FAST, SPARE)


@pytest.mark.parametrize("flag", FLAGS)
def test_a_taken_port_ends_the_start(flag: str, taken: int, empty_site: Site, figure: Figure) -> None:
    """The router exits with 1 and without a traceback, naming the port and what to do about it."""
    began = time.monotonic()
    ended = subprocess.run(
        serve_command(empty_site, flag, str(taken)),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
    took = time.monotonic() - began

    figure(f"{flag} taken: exit {ended.returncode} after {took:.2f} s")
    assert ended.returncode == 1
    assert_clean(ended.stderr, "router")
    assert str(taken) in ended.stderr
    assert "pick-free-ports" in ended.stderr
    assert "serving" not in ended.stdout
    assert took < 5.0


@pytest.mark.asyncio(loop_scope="session")
async def test_other_ports_are_taken_where_that_is_allowed(taken: int, empty_site: Site) -> None:
    """With --pick-free-ports three others are taken and said, and nothing else is on standard output."""
    flags = [part for flag in FLAGS for part in (flag, str(taken))]

    async with run_router(empty_site, *flags, "--pick-free-ports") as router:
        ports = {int(address.rpartition(":")[2]) for address in (router.grpc, router.admin, router.http)}
        said = re.findall(r"(?m)^serving .*$", router.output())

    assert len(ports) == 3
    assert taken not in ports
    assert len(said) == 1
