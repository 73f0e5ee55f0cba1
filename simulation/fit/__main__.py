"""`python -m simulation.fit [--data DIR] [--write]`: fits the physics prior and reports how far it is off.

Prints the report; with --write also the constants (router/prediction/constants.py) and the page (docs/prior.md).
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Final

from simulation.fit.figures import catalogue
from simulation.fit.judge import fit, read
from simulation.fit.report import lines
from simulation.measured.folder import folder
from simulation.measured.row import NoTable

ROOT: Final = Path(__file__).resolve().parents[2]
CONSTANTS: Final = ROOT / "router" / "prediction" / "constants.py"
PAGE: Final = ROOT / "docs" / "prior.md"


def main(arguments: list[str]) -> int:
    """The command line above; 2 when a table is missing."""
    parser = argparse.ArgumentParser(prog="python -m simulation.fit", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", metavar="DIR", help="folder of the tables (default: ../shared/data)")
    parser.add_argument("--write", action="store_true", help="write the constants and docs/prior.md")
    options = parser.parse_args(arguments)
    try:
        data = folder(options.data)
        tables = read(data, catalogue())
        constants = {name: float(f"{value:.3g}") for name, value in fit(tables).items()}
        page = "\n".join(lines(tables, data, constants)).rstrip() + "\n"
    except NoTable as error:
        sys.stderr.write(f"simulation.fit: {error}\n")
        return 2
    sys.stdout.write(page)
    if options.write:
        CONSTANTS.write_text(written(CONSTANTS.read_text(encoding="utf-8"), constants), encoding="utf-8")
        PAGE.write_text(page, encoding="utf-8")
    return 0


def written(source: str, constants: dict[str, float]) -> str:
    """The module of the constants with these values in `FITTED`."""
    for name, value in constants.items():
        source, places = re.subn(rf"(?m)^    {name}=[^,]*,$", f"    {name}={value!r},", source)
        if places != 1:
            raise ValueError(f"{CONSTANTS}: FITTED sets {name} {places} times")
    return source


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
