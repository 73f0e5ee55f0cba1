"""The readers of CPU time and memory, on this very process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from bench.machine import LINUX, Others, busy_s, cores, cpu_us, on_core, parse_ps_time, rss_bytes, tree


def burn(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_cpu_time_is_what_the_process_itself_says() -> None:
    """The clock read from outside agrees with the process's own."""
    before, own = cpu_us([os.getpid()]), time.process_time()
    burn(0.05)
    spent, own = cpu_us([os.getpid()]) - before, time.process_time() - own

    assert spent == pytest.approx(own * 1e6, rel=0.05, abs=0.0 if LINUX else 2e4)


def test_threads_that_have_ended_count() -> None:
    """What a thread used stays in the figure when it is gone."""
    before = cpu_us([os.getpid()])
    thread = threading.Thread(target=burn, args=(0.05,))
    thread.start()
    thread.join()

    assert cpu_us([os.getpid()]) - before >= 0.04e6


@pytest.mark.parametrize(
    ("text", "seconds"), [("0:01.25", 1.25), ("02:03", 123.0), ("1:00:00", 3600.0), ("2-01:00:00", 176400.0)]
)
def test_the_time_of_ps_is_understood(text: str, seconds: float) -> None:
    """In the forms of Linux, macOS and the BSDs."""
    assert parse_ps_time(text) == seconds


@pytest.mark.skipif(not LINUX, reason="only Linux says how busy all cores are")
def test_our_own_work_is_not_that_of_others() -> None:
    """The machine's busy time grows with our work; what is reported as somebody else's leaves it out."""
    before, others = busy_s(), Others()
    burn(0.2)
    child = [sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"]
    subprocess.run(child, check=True)
    after, found = busy_s(), others.cores()

    assert before is not None
    assert after is not None
    assert found is not None
    assert after - before >= 0.4
    assert found <= (after - before - 0.4) / 0.5


def test_memory_of_this_process_is_plausible() -> None:
    """More than an empty interpreter, less than the machine."""
    assert 5e6 < rss_bytes([os.getpid()]) < 1e11


def test_a_tree_has_the_process_and_its_children() -> None:
    """The first is the process itself."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        found = tree(os.getpid())
        child.communicate(b"\n")

    assert found[0] == os.getpid()
    assert child.pid in found


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="there is no pinning on this system")
def test_pinning_ends_with_its_block() -> None:
    """Children inherit the core; afterwards this process may run where it could before."""
    before = os.sched_getaffinity(0)
    core = cores().gateway
    with on_core(core):
        inside = os.sched_getaffinity(0)

    assert inside == ({core} if core is not None else before)
    assert os.sched_getaffinity(0) == before
