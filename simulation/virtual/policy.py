"""What a policy sees and says, and a group of replicas that each follow one."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from router.domain.fleet import Backend
from router.domain.pricing import Price
from simulation.virtual.servers import Server
from simulation.virtual.traces import Ask

# What a rule of others does about failures, as their routers do: LiteLLM's cooldown after it was told to wait or after
# repeated failures, three in a row, is five seconds.
COOLDOWN_S = 5.0
FAILURES = 3


@dataclass(frozen=True, slots=True)
class Served:
    """How an attempt ended well. Times are seconds since it began; `decision` is the policy's own, if it keeps one."""

    ttft_s: float
    e2e_s: float
    output_tokens: int


class SeenBackend:
    """A backend as one replica sees it.

    `in_flight` are all requests that the replicas have there: its own now, the others' when it last heard of them.
    `running`, `waiting` and `kv_usage` are the engine's metrics; a hosted service has none, so what is known of it is
    how full it is by its limit. `price` is what holds now.
    """

    def __init__(self, backend: Backend, price: Price | None, server: Server, *, hosted: bool) -> None:
        self.id = backend.id
        self.backend = backend
        self.price = price
        self.hosted = hosted
        self.max_concurrency = backend.max_concurrency
        self.own = 0
        self.others = 0.0
        self.running = 0
        self.waiting = 0
        self.kv_usage = 0.0
        self.usable_at = 0.0
        self.failures = 0
        self.cached_tokens: Callable[[Ask], int] = server.cached_tokens

    @property
    def in_flight(self) -> float:
        return self.own + self.others


Seen = Mapping[str, SeenBackend]


class Policy(Protocol):
    """A rule of others. `choose` is given the backends that may be used now, at least one."""

    name: str

    def choose(self, ask: Ask, usable: list[SeenBackend], now: float) -> str: ...
    def begun(self, ask: Ask, backend: SeenBackend, now: float) -> None: ...
    def first_token(self, ask: Ask, backend: SeenBackend, now: float, ttft_s: float) -> None: ...
    def finished(self, ask: Ask, backend: SeenBackend, now: float, served: Served) -> None: ...
    def failed(self, ask: Ask, backend: SeenBackend, now: float) -> None: ...


class Rule(ABC):
    """A policy that learns nothing; others override what they need. `rng` draws its ties."""

    name = ""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    @abstractmethod
    def choose(self, ask: Ask, usable: list[SeenBackend], now: float) -> str: ...

    def begun(self, ask: Ask, backend: SeenBackend, now: float) -> None: ...  # noqa: B027 - most learn nothing here
    def first_token(self, ask: Ask, backend: SeenBackend, now: float, ttft_s: float) -> None: ...  # noqa: B027 - nor here
    def finished(self, ask: Ask, backend: SeenBackend, now: float, served: Served) -> None: ...  # noqa: B027 - nor here
    def failed(self, ask: Ask, backend: SeenBackend, now: float) -> None: ...  # noqa: B027 - nor here


class Choice:
    """A backend that a replica sends a request to; what the group remembers of it until it ends."""

    def __init__(self, backend: str, *, p_ttft: float = -1.0, promise: object = None) -> None:
        self.backend = backend
        self.p_ttft = p_ttft
        self.promise = promise


class Group(Protocol):
    """All replicas under one policy. Times are of the loop."""

    follows: bool

    def choose(self, replica: int, ask: Ask, tried: Collection[str]) -> Choice | None: ...
    def first_token(self, replica: int, ask: Ask, choice: Choice) -> None: ...
    def progress(self, replica: int, ask: Ask, choice: Choice, tokens: int) -> None:
        """So many tokens have come in all; told five times a second where `follows` is true."""
        ...

    def finished(self, replica: int, ask: Ask, choice: Choice, served: Served, cached_tokens: int) -> None: ...
    def failed(self, replica: int, ask: Ask, choice: Choice, code: str, retry_after_s: float | None) -> None: ...
    def exchange(self) -> None:
        """Replicas hear of each other, and of the engines."""
        ...

    def tick(self) -> None:
        """Called five times a second."""
        ...

    def price(self, backend: str, price: Price) -> None: ...
    def join(self, backend: str) -> None: ...
