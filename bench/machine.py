"""What a process costs the machine: CPU time of all its threads, memory, and which core it may use.

On Linux CPU time is the kernel's own clock of the process. It counts nanoseconds like /proc/PID/task/*/schedstat, but
also those of threads that have ended, which that file forgets. Elsewhere `ps` tells, in hundredths of a second, and
nothing is pinned.
"""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LINUX = sys.platform == "linux"
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Cores:
    """Where the gateways run, and where everything that is not measured runs; None: anywhere."""

    gateway: int | None
    rest: int | None


def cores() -> Cores:
    """One core for the gateway under test and another for load and upstream, if there are two to be had."""
    if not hasattr(os, "sched_setaffinity"):
        return Cores(None, None)
    free = sorted(os.sched_getaffinity(0))
    return Cores(free[0], free[1]) if len(free) > 1 else Cores(None, None)


@contextmanager
def on_core(core: int | None) -> Generator[None]:
    """Processes that are started inside may use that core only."""
    if core is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_us(pids: Iterable[int]) -> float:
    """CPU microseconds that these processes have used so far."""
    return sum(_cpu_us(pid) for pid in pids)


def _cpu_us(pid: int) -> float:
    if LINUX:
        return time.clock_gettime_ns((~pid << 3) | 2) / 1e3  # CPUCLOCK_SCHED of a process: clock_getcpuclockid(3)
    return parse_ps_time(_ps(pid, "time")) * 1e6


def rss_bytes(pids: Iterable[int]) -> int:
    """Resident memory of these processes; pages that they share count for each."""
    return sum(_rss_bytes(pid) for pid in pids)


def _rss_bytes(pid: int) -> int:
    if LINUX:
        pages = (PROC / str(pid) / "statm").read_text("ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    return int(_ps(pid, "rss")) * 1024


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    found = [pid]
    for one in found:
        found.extend(children.get(one, ()))
    return found


def _parents() -> Generator[tuple[int, int]]:
    if not LINUX:
        listed = subprocess.run(["ps", "-axo", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
        for line in listed.splitlines():
            child, parent = line.split()
            yield int(child), int(parent)
        return
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text("utf-8", "replace")
            except OSError:  # it has just ended
                continue
            yield int(folder.name), int(stat.rpartition(")")[2].split()[1])


def _ps(pid: int, what: str) -> str:
    return subprocess.run(
        ["ps", "-o", f"{what}=", "-p", str(pid)], check=True, capture_output=True, text=True
    ).stdout.strip()


class Others:
    """How much of the machine somebody else used since this was made: they make every time longer."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._busy = busy_s()
        self._ours = _ours_s()

    def cores(self) -> float | None:
        """Cores that were busy for others on average, or withheld by the host; None where the system does not say.

        To be asked when our children have ended: until then theirs counts as somebody else's.
        """
        now = busy_s()
        if self._busy is None or now is None:
            return None
        others = now - self._busy - (_ours_s() - self._ours)
        return max(0.0, others / (time.monotonic() - self._began))


def busy_s() -> float | None:
    """Seconds that all cores together were not idle since the machine started, those withheld by the host included."""
    if not LINUX:
        return None
    _, user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = (PROC / "stat").read_text("ascii").split(None, 10)
    return sum(map(int, (user, nice, system, irq, softirq, steal))) / os.sysconf("SC_CLK_TCK")


def _ours_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def parse_ps_time(text: str) -> float:
    """Seconds of ps's `[[days-]hours:]minutes:seconds[.hundredths]`."""
    days, _, rest = text.rpartition("-")
    seconds = 86400.0 * int(days or 0)
    for place, part in enumerate(reversed(rest.split(":"))):
        seconds += float(part) * 60.0**place
    return seconds


def describe() -> str:
    """The machine in one line, for the head of a report."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{count} cores ({_model()}), {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def _model() -> str:
    try:
        lines = (PROC / "cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"
