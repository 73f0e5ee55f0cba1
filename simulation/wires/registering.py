"""The configuration that registers emulated servers of every family with a router."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from simulation.wires.families import SHARED_MODEL, Stand

CATALOGUE = ("router.yaml", "hardware.yaml", "models.yaml", "policies.yaml")
USD_PER_MTOK = 0.1
KEYS = "keys.env"
HEADER = "# Emulated servers of every family, by python -m simulation.wires: no model runs in them.\n"
_SOURCE = "emulated: nobody is paid, and every family costs the same"


def exports(stands: Sequence[Stand]) -> list[str]:
    """Lines for a shell that set the variables that the credentials are read from."""
    return [f"export {stand.variable}={shlex.quote(stand.secret)}" for stand in stands if stand.secret]


def fleet_yaml(stands: Sequence[Stand], addresses: Mapping[str, str]) -> str:
    """A fleet.yaml with these servers, by the addresses of their stands."""
    parts = [f"{HEADER}\nbackends:"]
    for stand in stands:
        entry = yaml.safe_dump({stand.id: stand.entry(addresses[stand.id])}, sort_keys=False, width=1000)
        parts.append(f"  # {stand.title}\n" + "".join(f"  {line}\n" for line in entry.splitlines()))
    return "\n".join(parts)


def prices_yaml(usd_per_mtok: Mapping[str, float]) -> str:
    """A prices.yaml with these prices of backends."""
    prices = [
        {
            "backend": name,
            "model": SHARED_MODEL,
            "input_usd_per_mtok": usd,
            "output_usd_per_mtok": usd,
            "source": _SOURCE,
        }
        for name, usd in usd_per_mtok.items()
    ]
    return yaml.safe_dump({"prices": prices}, sort_keys=False, width=1000)


def write_config(
    folder: Path, catalogue: Path, stands: Sequence[Stand], addresses: Mapping[str, str], usd: Mapping[str, float]
) -> None:
    """A configuration directory for a router: the catalogue of another, this fleet, these prices, and its keys.

    Raises:
        OSError: it cannot be written, has another fleet in it, or the catalogue is not there.
    """
    fleet = folder / "fleet.yaml"
    if fleet.exists() and not fleet.read_text().startswith(HEADER):
        raise FileExistsError(f"{fleet} has a fleet that is not of this command; choose another directory")
    folder.mkdir(parents=True, exist_ok=True)
    for name in CATALOGUE:
        (folder / name).write_bytes((catalogue / name).read_bytes())
    fleet.write_text(fleet_yaml(stands, addresses))
    (folder / "prices.yaml").write_text(prices_yaml(usd))
    (folder / KEYS).write_text("".join(f"{line}\n" for line in exports(stands)))
