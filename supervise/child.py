"""Child processes that never outlive their parent, however it ends: SIGTERM, SIGINT or kill -9.

Every helper process of this program (the embedded Valkey, llama.cpp, the emulated fleet, the router under the demo)
is started here. A child
* dies with us: on Linux the kernel kills it, elsewhere a small watcher does, reading a pipe that closes with us;
* is the leader of its own session, so that Ctrl-C in a terminal reaches only us and we stop children in order;
* is stopped by SIGTERM, and by SIGKILL to its process group when that takes too long;
* leaves the end of its output in the error when it fails.

Children that start children do it through this module as well: then the death of one ends all below it.

On Linux the kernel watches the *thread* that started the child. Start children from a thread that lives as long as they
should: the thread of the event loop does, because `Child.start` is bound to that loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

SHIM = Path(__file__).with_name("shim.py")
TAIL_BYTES = 8192
POLL_S = 0.05

Ready = Callable[[], Awaitable[bool]]
Progress = Callable[[float], None]


class ChildError(RuntimeError):
    """A child did not start, was not ready in time, or ended while it was needed."""

    def __init__(self, name: str, what: str, tail: str) -> None:
        super().__init__(f"{name}: {what}" + (f"\n{_indent(tail)}" if tail else ""))
        self.name = name
        self.tail = tail


class Child:
    """A running child. Made by `Child.start` only.

    Attributes:
        name: how it is called in messages.
        pid: of the process itself (of its watcher where the kernel cannot watch).
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: IO[bytes] | None) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self._log = log
        self._tail = bytearray()
        self._pump = asyncio.create_task(self._read_output(), name=f"output of {name}")

    @staticmethod
    @asynccontextmanager
    async def start(
        argv: Sequence[str],
        *,
        name: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        log: Path | None = None,
        ready: Ready | None = None,
        ready_timeout_s: float = 30.0,
        progress: Progress | None = None,
        stop_timeout_s: float = 5.0,
        kernel_watches: bool = sys.platform == "linux",
    ) -> AsyncGenerator[Child]:
        """Starts `argv` and stops it when the block ends.

        Args:
            argv: the program and its arguments; the program is looked up in PATH.
            name: what to call it in messages.
            env: its whole environment; None: ours.
            cwd: its working directory; None: ours.
            log: file that its output is appended to, beside the tail that is kept for errors.
            ready: asked again and again until it answers True; failures to connect are its own business.
            ready_timeout_s: how long that may take.
            progress: told the seconds waited so far, about twenty times a second.
            stop_timeout_s: how long it may take to obey SIGTERM.
            kernel_watches: False uses the portable watcher.

        Raises:
            ChildError: it could not be started, ended before it was ready, or was not ready in time.
        """
        with contextlib.ExitStack() as files:
            sink = files.enter_context(log.open("ab")) if log is not None else None
            watched_fd, our_fd = (None, None) if kernel_watches else os.pipe()
            for fd in (watched_fd, our_fd):
                if fd is not None:
                    files.callback(_close_quietly, fd)
            mode = ("exec", str(os.getpid())) if watched_fd is None else ("watch", str(watched_fd))
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                str(SHIM),
                *mode,
                "--",
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=None if env is None else dict(env),
                cwd=cwd,
                start_new_session=True,
                pass_fds=() if watched_fd is None else (watched_fd,),
            )
            child = Child(name, process, sink)
            try:
                if ready is not None:
                    await child.wait_ready(ready, timeout_s=ready_timeout_s, progress=progress)
                yield child
            finally:
                await child.stop(timeout_s=stop_timeout_s)

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._process.returncode

    @property
    def tail(self) -> str:
        """The end of what it wrote, standard output and error together."""
        return self._tail.decode(errors="replace").strip()

    async def wait(self) -> int:
        """Waits until it ends by itself."""
        return await self._process.wait()

    async def wait_ready(self, ready: Ready, *, timeout_s: float, progress: Progress | None = None) -> None:
        """Waits until `ready` answers True.

        Raises:
            ChildError: it ended, or the time is over.
        """
        began = time.monotonic()
        while not await ready():
            waited = time.monotonic() - began
            if self._process.returncode is not None:
                await self._finish_output()
                raise ChildError(self.name, f"ended with {_status(self._process.returncode)}", self.tail)
            if waited > timeout_s:
                raise ChildError(self.name, f"was not ready after {timeout_s:g} s", self.tail)
            if progress is not None:
                progress(waited)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), POLL_S)

    async def stop(self, *, timeout_s: float = 5.0) -> int:
        """Ends it, politely first; safe to call twice, and completes even when the caller is cancelled meanwhile."""
        ending = asyncio.ensure_future(self._end(timeout_s))
        try:
            return await asyncio.shield(ending)
        except asyncio.CancelledError:
            self._signal_group(signal.SIGKILL)
            await ending
            raise

    async def _end(self, timeout_s: float) -> int:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), timeout_s)
        # What it left running in its group ends here too, also when it ended by itself.
        self._signal_group(signal.SIGKILL)
        status = await self._process.wait()
        await self._finish_output()
        return status

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def _finish_output(self) -> None:
        # A process that escaped the group may hold the pipe open: do not wait for it.
        await asyncio.wait([self._pump], timeout=1.0)
        self._pump.cancel()
        await asyncio.wait([self._pump])

    async def _read_output(self) -> None:
        stream = self._process.stdout
        if stream is None:
            return
        while data := await stream.read(TAIL_BYTES):
            if self._log is not None:
                self._log.write(data)
                self._log.flush()
            self._tail += data
            del self._tail[:-TAIL_BYTES]


def _status(code: int) -> str:
    return f"status {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def _indent(text: str) -> str:
    return "\n".join(f"  | {line}" for line in text.splitlines()[-20:])


def _close_quietly(fd: int) -> None:
    with contextlib.suppress(OSError):
        os.close(fd)
