"""Replays recorded traffic of real services through the adapters, and reports what came out other than recorded.

    python -m simulation.recordings DIRECTORY             DIRECTORY/provider/file.yaml, .yml or .json
    python -m simulation.recordings DIRECTORY --json      for programs
    python -m simulation.recordings DIRECTORY --verbose   how requests compare, too

Exit status 0: everything applicable is equal; 1: something differs, or could not be read; 2: no recordings there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

from rich.console import Console

from backends.http.transport import FastTransport
from simulation.recordings.judge import judge
from simulation.recordings.load import Library, NoRecordings, load
from simulation.recordings.report import Report

# A command that is done sooner needs no progress.
_PATIENCE_S = 2.0
_EVERY_S = 0.5


class _Progress:
    """One line on stderr that is written over: for a person who waits, not for a log."""

    def __init__(self) -> None:
        self._shown_at = time.monotonic() + _PATIENCE_S - _EVERY_S
        self._shown = False

    def __call__(self, what: str, done: int, of: int) -> None:
        now = time.monotonic()
        if sys.stderr.isatty() and now - self._shown_at >= _EVERY_S:
            self._shown_at, self._shown = now, True
            sys.stderr.write(f"\r{what} {done} of {of}\x1b[K")
            sys.stderr.flush()

    def close(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


async def replay(library: Library, *, ways: int, progress: _Progress) -> Report:
    """Judges everything in the library, one exchange after the other."""
    report = Report(library)
    transport = FastTransport()
    try:
        for done, interaction in enumerate(library.interactions):
            progress("replaying", done, len(library.interactions))
            report.verdicts.append(await judge(interaction, transport=transport, ways=ways))
    finally:
        await transport.aclose()
    return report


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m simulation.recordings",
        description=str(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("directory", type=Path, help="the folder of recordings")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--verbose", action="store_true", help="how requests compare, and files that are none")
    parser.add_argument("--ways", type=_ways, default=3, help="ways to cut each answer, 1 to 20 (default 3)")
    options = parser.parse_args(arguments)
    progress = _Progress()
    try:
        library = load(options.directory, on_file=lambda done, of: progress("reading", done, of))
        report = asyncio.run(replay(library, ways=options.ways, progress=progress))
    except NoRecordings as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        progress.close()
    if options.json:
        sys.stdout.write(json.dumps(report.as_json(), indent=2) + "\n")
    else:
        width = None if sys.stdout.isatty() else 160
        report.show(Console(width=width), verbose=options.verbose)
    return 0 if report.is_clean else 1


def _ways(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= 20:
        raise argparse.ArgumentTypeError("a whole number from 1 to 20")
    return number


if __name__ == "__main__":
    raise SystemExit(main())
