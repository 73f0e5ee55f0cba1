"""Children never outlive their parent."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from supervise.child import Child, ChildError

ROOT = Path(__file__).parents[2]
LIMIT_S = 2.0

# A parent that starts a child that starts a grandchild; each writes its pid where the test reads it.
FAMILY = """
import asyncio, os, sys
from pathlib import Path
from supervise.child import Child

async def main(depth, home, kernel):
    if depth < 2:
        argv = [sys.executable, __file__, str(depth + 1), home, kernel]
        async with Child.start(argv, name=f"child {depth + 1}", kernel_watches=kernel == "kernel"):
            Path(home, f"pid{depth}.part").write_text(str(os.getpid()))
            Path(home, f"pid{depth}.part").rename(Path(home, f"pid{depth}"))
            await asyncio.Event().wait()
    Path(home, f"pid{depth}.part").write_text(str(os.getpid()))
    Path(home, f"pid{depth}.part").rename(Path(home, f"pid{depth}"))
    await asyncio.Event().wait()

asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
"""


def is_alive(pid: int) -> bool:
    """A zombie that nobody has reaped is not alive."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path("/proc", str(pid), "stat")
    try:
        return not stat.parent.parent.joinpath("self").exists() or stat.read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool], limit_s: float) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit_s, f"not within {limit_s} s"
        time.sleep(0.01)  # other processes tell no event
    return time.monotonic() - began


def run_family(home: Path, watcher: str) -> tuple[subprocess.Popen[bytes], list[int]]:
    script = home / "family.py"
    script.write_text(FAMILY)
    parent = subprocess.Popen(
        [sys.executable, str(script), "0", str(home), watcher], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    files = [home / f"pid{depth}" for depth in range(3)]
    wait_until(lambda: all(file.exists() for file in files), 20)
    return parent, [int(file.read_text()) for file in files]


@pytest.mark.parametrize("watcher", ["kernel", "pipe"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_children_and_grandchildren_die_with_the_parent(tmp_path: Path, number: signal.Signals, watcher: str) -> None:
    """Within two seconds of the parent's end by kill -9, SIGTERM or Ctrl-C no process below it is left."""
    if watcher == "kernel" and sys.platform != "linux":
        pytest.skip("the kernel watches on Linux only")
    parent, pids = run_family(tmp_path, watcher)
    parent.send_signal(number)
    parent.wait(LIMIT_S)
    wait_until(lambda: not any(is_alive(pid) for pid in pids), LIMIT_S)


async def test_a_child_is_ready_then_stopped() -> None:
    """The block runs once the child is ready, and the child is gone when the block is left."""
    answers = iter([False, False, True])
    waits: list[float] = []

    async def ready() -> bool:
        return next(answers)

    async with Child.start(["sleep", "60"], name="sleeper", ready=ready, progress=waits.append) as child:
        assert child.returncode is None
    assert child.returncode == -signal.SIGTERM
    assert len(waits) == 2


async def test_a_child_that_ends_too_early_tells_why() -> None:
    """The error of a child that ends before it is ready holds its status and the end of its output."""

    async def never() -> bool:
        return False

    argv = [sys.executable, "-c", "import sys; print('no such model', file=sys.stderr); sys.exit(3)"]
    with pytest.raises(ChildError, match=r"(?s)engine: ended with status 3.*no such model"):
        async with Child.start(argv, name="engine", ready=never):
            pass


async def test_a_program_that_does_not_exist_is_named() -> None:
    """A missing program is an error that names it."""

    async def never() -> bool:
        return False

    with pytest.raises(ChildError, match=r"(?s)status 127.*no-such-program"):
        async with Child.start(["no-such-program"], name="engine", ready=never):
            pass


async def test_a_child_that_is_never_ready_is_stopped() -> None:
    """A child that is not ready in time is an error, and is gone."""

    async def never() -> bool:
        return False

    argv = ["sh", "-c", "echo $$; exec sleep 60"]
    with pytest.raises(ChildError, match=r"not ready after 0\.3 s") as failure:
        async with Child.start(argv, name="slow", ready=never, ready_timeout_s=0.3):
            pass
    assert not is_alive(int(failure.value.tail))


async def test_a_child_that_ignores_the_polite_signal_is_killed(tmp_path: Path) -> None:
    """A child that ignores SIGTERM is killed after the limit, with what it started in its group."""
    program = (
        "import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "inner = subprocess.Popen(['sleep', '60']); print(inner.pid, flush=True); inner.wait()"
    )
    log = tmp_path / "log"

    async def ready() -> bool:
        return log.read_text().endswith("\n")

    argv = [sys.executable, "-c", program]
    async with Child.start(argv, name="deaf", log=log, ready=ready, stop_timeout_s=0.2) as child:
        inner = int(child.tail)
    assert child.returncode == -signal.SIGKILL
    wait_until(lambda: not is_alive(inner), LIMIT_S)


async def test_cancelling_the_owner_stops_the_child() -> None:
    """A task that is cancelled while it holds a child leaves none behind."""
    started: asyncio.Future[Child] = asyncio.get_running_loop().create_future()

    async def hold() -> None:
        async with Child.start(["sleep", "60"], name="sleeper") as child:
            started.set_result(child)
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    child = await started
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert child.returncode is not None
    assert not is_alive(child.pid)


async def test_output_is_kept_within_a_bound() -> None:
    """However much a child writes, only the end of it is kept."""
    argv = [sys.executable, "-c", "print('x' * 1_000_000 + 'end')"]
    async with Child.start(argv, name="loud") as child:
        await child.wait()
    assert child.tail.endswith("end")
    assert len(child.tail) <= 8192
