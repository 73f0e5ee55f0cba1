"""What the decision worker is told and what it answers.

Apart from the worker, so that whoever starts workers on other copies of the sources imports no router of its own.
"""

from __future__ import annotations

import msgspec


class Sizes(msgspec.Struct, frozen=True):
    """A fleet: so many backends, of which so many serve the model that is asked for; or its learned state alone."""

    backends: int
    serving: int
    seconds: float = 0.2
    state: bool = False


class Times(msgspec.Struct):
    """CPU microseconds of one decision (median), of taking over the first snapshot, and of one with another price.

    `told_us` is what it takes to put the choice into words.
    """

    plan_us: float
    snapshot_us: float
    price_us: float
    candidates: int
    told_us: float = 0.0


class State(msgspec.Struct):
    """Bytes per backend: what is known of its load and speed, and the vectors in which a large fleet keeps it.

    `prefixes` and `quality` are its share of what is known of prompts in caches, and of the models' answers.
    """

    learned: float
    prefixes: float
    quality: float
    vectors: float

    @property
    def whole(self) -> float:
        return self.learned + self.prefixes + self.quality + self.vectors
