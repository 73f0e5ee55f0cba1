"""The embedded server as a process: private, gone afterwards, and clear when it cannot start."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from pathlib import Path

import pytest

from router.state.connection import open_client
from router.state.embedded import EmbeddedStoreError, EmbeddedValkey


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_it_listens_for_this_user_only_and_leaves_nothing() -> None:
    """Its socket is in a directory that only its owner can enter, no port is open, and both are gone afterwards."""
    async with EmbeddedValkey() as server:
        socket = Path(server.url.removeprefix("unix://"))
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        client = open_client(server.url, timeout_s=1.0)
        settings = await client.config_get("*")
        assert (settings["port"], settings["save"], settings["maxmemory-policy"]) == ("0", "", "noeviction")
        await client.aclose()
        pid = server.pid
    assert not alive(pid)
    assert not socket.parent.exists()


async def test_two_do_not_meet() -> None:
    """Two embedded servers on one machine are two stores."""
    async with EmbeddedValkey() as one, EmbeddedValkey() as other:
        assert one.url != other.url


async def test_a_server_that_cannot_start_says_why() -> None:
    """A start that fails names the cause and the way out, and leaves no directory behind."""
    server = EmbeddedValkey()
    with pytest.raises(EmbeddedStoreError, match="not been started"):
        _ = server.url
    async with server:
        directory = Path(server.url.removeprefix("unix://")).parent
        os.kill(server.pid, signal.SIGKILL)
        await asyncio.to_thread(_replace_by_file, directory)
        with pytest.raises(EmbeddedStoreError, match=r"(?s)embedded Valkey.*REDIS_URL"):
            await server.restart()


def _replace_by_file(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
