"""Lets requests in while there is room: a bound on what this replica holds at once, and idempotency keys.

Sheddable requests leave first, critical ones last. Refusing early costs a microsecond; holding too many costs everyone.
"""

from __future__ import annotations

from collections import OrderedDict

from router.domain.request import Priority, RequestProfile
from router.errors import AlreadyExists, Shed, ShuttingDown

# Share of the bound up to which requests of a priority are let in.
SHARE = {Priority.SHEDDABLE: 0.8, Priority.NORMAL: 0.95, Priority.CRITICAL: 1.0}
RETRY_AFTER_S = 1.0


class IdempotencyKeys:
    """Remembers the keys of running and answered requests; the oldest are forgotten first, all after a time."""

    def __init__(self, *, capacity: int = 10_000, ttl_s: float = 600.0) -> None:
        self._seen: OrderedDict[str, float] = OrderedDict()
        self.capacity = capacity
        self.ttl_s = ttl_s

    def claim(self, key: str, now: float) -> None:
        """Takes a key.

        Raises:
            AlreadyExists: a request with this key is running or was answered.
        """
        while self._seen and (len(self._seen) >= self.capacity or next(iter(self._seen.values())) < now):
            self._seen.popitem(last=False)
        if key in self._seen:
            raise AlreadyExists(
                "a request with this idempotency key is running or has been answered",
                hint="Do not send it again; use another key for another request.",
            )
        self._seen[key] = now + self.ttl_s

    def forget(self, key: str) -> None:
        """The request failed: the key may be used again."""
        self._seen.pop(key, None)


class Admission:
    """Counts what is inside. `enter` and `leave` come in pairs."""

    def __init__(self, *, max_in_flight: int) -> None:
        self.max_in_flight = max_in_flight
        self.in_flight = 0
        self.draining = False
        self.keys = IdempotencyKeys()

    def enter(self, profile: RequestProfile, now: float) -> None:
        """Lets one request in.

        Raises:
            ShuttingDown: this replica is draining.
            Shed: it holds as many as it may.
            AlreadyExists: see `IdempotencyKeys.claim`.
        """
        if self.draining:
            raise ShuttingDown("this replica is shutting down", retry_after_s=RETRY_AFTER_S)
        if self.in_flight >= SHARE[profile.priority] * self.max_in_flight:
            raise Shed(
                f"this replica holds {self.in_flight} requests, the most for {profile.priority.name.lower()} priority",
                retry_after_s=RETRY_AFTER_S,
            )
        if profile.idempotency_key:
            self.keys.claim(self._key(profile), now)
        self.in_flight += 1

    def leave(self, profile: RequestProfile, *, answered: bool) -> None:
        """The request is over."""
        self.in_flight -= 1
        if profile.idempotency_key and not answered:
            self.keys.forget(self._key(profile))

    @staticmethod
    def _key(profile: RequestProfile) -> str:
        return f"{profile.tenant}\0{profile.idempotency_key}"
