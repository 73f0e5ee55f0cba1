"""What the decision worker is told and what it answers.

Apart from the worker, so that whoever starts workers on other copies of the sources imports no router of its own.
"""

from __future__ import annotations

import msgspec


class Sizes(msgspec.Struct, frozen=True):
    """A fleet: so many backends, of which so many serve the model that is asked for."""

    backends: int
    serving: int
    seconds: float = 0.2


class Times(msgspec.Struct):
    """CPU microseconds of one decision, of taking over the first snapshot, and of one in which one price differs."""

    plan_us: float
    snapshot_us: float
    price_us: float
    candidates: int
