"""Emulated servers of every family, each on its own wire: no model runs in them, and every answer says so.

They are judged by the vendors' official SDKs before an adapter is tested against them, because a wire that agrees only
with our own reading of it proves nothing.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from simulation.wires.faults import Faults


class WireServer(Protocol):
    """One emulated server.

    Attributes:
        faults: what goes wrong from now on.
        seen: the latest requests as they were understood, oldest first.
        disconnects: clients that left before their answer was complete, and generations cancelled in the wire's way.
    """

    faults: Faults
    seen: deque[dict[str, Any]]
    disconnects: int
    port: int

    async def start(self, host: str, port: int) -> None:
        """Listens; port 0 takes a free one."""
        ...

    async def close(self) -> None: ...
