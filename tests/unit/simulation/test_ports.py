"""Ports of the fleet."""

from __future__ import annotations

import socket
from pathlib import Path

from simulation import ports

FLEET = """
backends:
  a: {address: "http://${FLEET_HOST:-127.0.0.1}:${FLEET_PORT_A:-%d}"}
  b: {address: "http://127.0.0.1:${FLEET_PORT_B:-%d}"}
"""


def test_a_taken_port_is_replaced_by_a_free_one(tmp_path: Path) -> None:
    """The usual port is used where it is free, another one where it is taken, and a given one is left alone."""
    file = tmp_path / "fleet.yaml"
    with socket.create_server((ports.LOCAL, 0)) as busy:
        taken, usual = busy.getsockname()[1], ports.free_port()
        file.write_text(FLEET % (taken, usual))
        chosen = ports.assign(file, {})
        assert chosen["FLEET_PORT_B"] == str(usual)
        assert chosen["FLEET_PORT_A"] not in {str(taken), str(usual)}
        assert ports.is_free(int(chosen["FLEET_PORT_A"]))
        assert not ports.is_free(taken)
    assert ports.assign(file, {"FLEET_PORT_A": "1", "FLEET_PORT_B": "2"}) == {}
