"""A progress bar on stderr for what takes longer than two seconds; nothing where stderr is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from router.clock import SystemClock

PATIENCE_S = 2.0
EVERY = 16


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Gives what to call for each step."""
    began = SystemClock.monotonic()
    bar = Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(what, total=total)
    done, shown = 0, False

    def step() -> None:
        nonlocal done, shown
        done += 1
        if done % EVERY and done != total:
            return
        if not shown and SystemClock.monotonic() - began > PATIENCE_S and sys.stderr.isatty():
            shown = True
            bar.start()
        if shown:
            bar.update(task, completed=done)

    try:
        yield step
    finally:
        if shown:
            bar.stop()
