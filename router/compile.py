"""Compiles the decision core to native code: the same source files, several times as fast.

    python -m router.compile            build, in place, what is not up to date
    python -m router.compile --check    fail when a compiled module is older than its source
    python -m router.compile --clean    remove what was built

Optional: without a C compiler everything runs as plain Python. Needs mypy (mypyc) and setuptools. Constants of these
modules are `Final`, so that they are compiled in instead of looked up.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What one decision runs through, and nothing that waits.
MODULES = (
    "router/domain/speed.py",
    "router/domain/live.py",
    "router/domain/normal.py",
    "router/domain/learned.py",
    "router/domain/length.py",
    "router/domain/grid.py",
    "router/domain/rates.py",
    "router/domain/quality.py",
    "router/domain/rows.py",
    "router/prediction/physics.py",
    "router/prediction/sharing.py",
    "router/prediction/energy.py",
    "router/prediction/coefficients.py",
    "router/prediction/money.py",
    "router/prediction/predictor.py",
    "router/prediction/learning.py",
    "router/prediction/output_length.py",
    "router/prediction/prefixes.py",
    "router/scheduling/filters.py",
    "router/scheduling/objective.py",
    "router/scheduling/picker.py",
    "router/scheduling/scheduler.py",
)


def built() -> list[Path]:
    """The compiled files that lie in the tree now."""
    found = [path for module in MODULES for path in (ROOT / module).parent.glob(f"{Path(module).stem}.*.so")]
    return sorted({*found, *(ROOT / "router").glob("core__mypyc*.so")})


def stale() -> list[str]:
    """The modules whose compiled file is older than their source."""
    return [
        module
        for module in MODULES
        for path in (ROOT / module).parent.glob(f"{Path(module).stem}.*.so")
        if path.stat().st_mtime < (ROOT / module).stat().st_mtime
    ]


def clean() -> None:
    """Removes everything that was built."""
    for path in built():
        path.unlink()


def build() -> None:
    """Compiles all modules as one group, in place."""
    from mypyc.build import mypycify  # noqa: PLC0415 - a tool of developers, absent where only the router is installed
    from setuptools import Distribution  # noqa: PLC0415 - as above

    # Options of the checked project hold here as well; the rest of the program is followed, not compiled.
    extensions = mypycify(
        [*MODULES, "--config-file", "pyproject.toml"], opt_level="3", debug_level="0", group_name="router.core"
    )
    distribution = Distribution({"name": "router-core", "ext_modules": extensions, "packages": []})
    command = distribution.get_command_obj("build_ext")
    command.inplace = True
    distribution.run_command("build_ext")
    for path in built():
        # An edit that changes no code leaves the object as it was, time included; it is up to date all the same.
        path.touch()


def main(arguments: list[str]) -> int:
    """The command line above."""
    if arguments == ["--check"]:
        names = stale()
        for name in names:
            sys.stderr.write(f"{name}: the compiled module is older than the source; run 'make compile'\n")
        return 1 if names else 0
    if arguments == ["--clean"]:
        clean()
        return 0
    if arguments:
        sys.stderr.write(__doc__ or "")
        return 2
    if not built() or stale():
        clean()
        build()
    sys.stdout.write(f"{len(MODULES)} modules of the decision core are compiled\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
