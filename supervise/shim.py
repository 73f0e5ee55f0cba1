"""The first program of every supervised child: it ties its own life to its parent's, then becomes the real program.

Run as a file, without `site`, so that it starts in a few milliseconds:

    python -I -S shim.py exec PARENT_PID -- PROGRAM ARGUMENT...     Linux
    python -I -S shim.py watch PIPE_FD -- PROGRAM ARGUMENT...       everywhere else

`exec` asks the kernel for SIGKILL when the parent dies and execs; nothing of this program stays. `watch` stays as the
parent of the real program and kills it when the pipe from above closes. It is a program of its own because code that
runs between fork and exec of a process with threads (`preexec_fn`) may deadlock.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
from types import FrameType

PR_SET_PDEATHSIG = 1


def become(parent: int, argv: list[str]) -> None:
    """Replaces this process by `argv`, to be killed by the kernel when the thread that started it is gone."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it died before the kernel knew of our wish
        sys.exit(1)
    os.execvp(argv[0], argv)  # noqa: S606 - no shell is wanted


def watch(pipe: int, argv: list[str]) -> int:
    """Runs `argv` until it ends or the other end of the pipe closes; returns its exit status."""
    child = subprocess.Popen(argv)  # noqa: S603 - the parent's own command

    def forward(number: int, _frame: FrameType | None) -> None:
        child.send_signal(number)

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, forward)
    while child.poll() is None:
        readable, _, _ = select.select([pipe], [], [], 0.1)
        if readable and not os.read(pipe, 1):
            child.kill()
            break
    status = child.wait()
    return status if status >= 0 else 128 - status


def main(arguments: list[str]) -> int:
    mode, number, separator, *argv = arguments
    if separator != "--" or not argv or mode not in {"exec", "watch"}:
        sys.stderr.write(f"usage: {__file__} exec|watch NUMBER -- PROGRAM ARGUMENT...\n")
        return 2
    try:
        if mode == "watch":
            return watch(int(number), argv)
        become(int(number), argv)
    except OSError as error:
        sys.stderr.write(f"{argv[0]}: {error.strerror}\n")
    return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
