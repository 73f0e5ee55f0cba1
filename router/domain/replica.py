"""The replicas of this router, as they tell each other ten times a second."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """What an engine said of its load to the replica that probes it. Negative: it does not say. `age_s` when sent.

    `in_flight` is what that replica believed all routers to have there at that moment; the rest came from elsewhere.
    """

    age_s: float
    running: float = -1.0
    waiting: float = -1.0
    kv_cache_usage: float = -1.0
    in_flight: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Attempts of the last `window_s` seconds on one backend, as one replica saw them."""

    ok: int = 0
    failed: int = 0
    consecutive_failures: int = 0
    last_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A backend has read a prompt with a model; `blocks` were new to it (`domain.prefix_cache`)."""

    number: int
    model: str
    backend: str
    blocks: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """One replica's word on itself. Only backends with something to say are in the maps.

    `prefilling` are tokens of prompts whose first token has not come, `probes` is the number of backends that it
    probes, `read` what backends have read for it lately.
    """

    replica: str
    fleet_version: int = 0
    started_at: float = 0.0
    requests_in_flight: int = 0
    probes: int = 0
    in_flight: dict[str, int] = field(default_factory=dict)
    prefilling: dict[str, int] = field(default_factory=dict)
    scraped: dict[str, Scrape] = field(default_factory=dict)
    outcomes: dict[str, Outcomes] = field(default_factory=dict)
    read: tuple[Reading, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A live replica. `age_s`: since its last beat, by the store's clock."""

    beat: Beat
    age_s: float = 0.0

    @property
    def id(self) -> str:
        return self.beat.replica
