"""Free ports for the emulated fleet and the device, as the variables that fleet.yaml reads.

`address: http://127.0.0.1:${FLEET_PORT_H100:-18101}` names a variable and a usual port. Where the usual port is taken
(another demo is running), a free one is put into the environment of everything that reads the file.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from pathlib import Path

LOCAL = "127.0.0.1"
_PORT = re.compile(r"\$\{(?P<name>[A-Z][A-Z0-9_]*_PORT[A-Z0-9_]*):-(?P<port>\d+)\}")


def is_free(port: int, host: str = LOCAL) -> bool:
    """Whether somebody could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(preferred: int = 0, *, avoid: frozenset[int] = frozenset(), host: str = LOCAL) -> int:
    """The preferred port if it is free, else any free one outside `avoid`."""
    if preferred and preferred not in avoid and is_free(preferred, host):
        return preferred
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
            port: int = probe.getsockname()[1]
        if port not in avoid:
            return port


def assign(fleet_yaml: Path, env: Mapping[str, str], *, host: str = LOCAL) -> dict[str, str]:
    """A port for every port variable of the file that the environment does not set."""
    chosen: dict[str, str] = {}
    avoid = {int(value) for name, value in env.items() if "_PORT" in name and value.isdigit()}
    for match in _PORT.finditer(fleet_yaml.read_text()):
        name = match["name"]
        if name not in chosen and not env.get(name):
            port = free_port(int(match["port"]), avoid=frozenset(avoid), host=host)
            chosen[name] = str(port)
            avoid.add(port)
    return chosen
