"""Requests at a steady rate over gRPC, what became of each, and what they were billed: what accounting is held against.

The rate does not follow the answers: a router that stalls shows as requests that wait, not as fewer requests.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc.aio

from bench.state.site import MODEL, Router
from router.v1 import inference_pb2 as pb

TIMEOUT_S = 30.0
NANO = 1_000_000_000


@dataclass(slots=True)
class Served:
    """One request that was answered."""

    began: float
    took_s: float
    decision_s: float
    backend: str


@dataclass(slots=True, eq=False)
class Bill:
    """What callers were told that their requests used and cost, by backend."""

    requests: Counter[str] = field(default_factory=Counter)
    input_tokens: Counter[str] = field(default_factory=Counter)
    output_tokens: Counter[str] = field(default_factory=Counter)
    cost_nano_usd: Counter[str] = field(default_factory=Counter)

    def add(self, finished: pb.Finished) -> None:
        """The tokens are those of the answer; each attempt has its own cost."""
        self.requests[finished.backend] += 1
        self.input_tokens[finished.backend] += finished.usage.input_tokens
        self.output_tokens[finished.backend] += finished.usage.output_tokens
        for attempt in finished.attempts:
            self.cost_nano_usd[attempt.backend] += round(attempt.cost_usd * NANO)

    def __eq__(self, other: object) -> bool:
        """In every sum; a backend with nothing is the same as one that is not there."""
        return isinstance(other, Bill) and all(
            +ours == +theirs for ours, theirs in zip(self._sums, other._sums, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]  # it changes

    @property
    def _sums(self) -> tuple[Counter[str], ...]:
        return (self.requests, self.input_tokens, self.output_tokens, self.cost_nano_usd)

    @property
    def total(self) -> str:
        """In words, for comparing and for showing."""
        return (
            f"{self.requests.total():,} requests, {self.input_tokens.total():,} + {self.output_tokens.total():,} "
            f"tokens, {self.cost_nano_usd.total():,} nano-dollars"
        )


def question(tokens: int = 4, *, pause_ms: int = 0) -> pb.GenerateRequest:
    """An answer of so many tokens, with a pause between them as the upstream understands it."""
    return pb.GenerateRequest(
        model=MODEL,
        messages=[pb.Message(role=pb.ROLE_USER, text="hello")],
        sampling=pb.Sampling(max_output_tokens=tokens),
        end_user=str(pause_ms),
    )


class Traffic:
    """Sends to the routers in turn. Failures and answers are gathered; so many at a time at most."""

    def __init__(self, routers: Sequence[Router], *, rate: float, tokens: int = 4) -> None:
        self.routers = list(routers)
        self.rate = rate
        self.sent = 0
        self.served: list[Served] = []
        self.failed: list[str] = []
        self.late_s = 0.0
        self.bill = Bill()
        self._question = question(tokens)
        self._running: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Traffic]:
        """Sends until the block ends, and then waits for the answers."""
        sending = asyncio.create_task(self._send())
        try:
            yield self
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await asyncio.gather(*self._running)

    async def _send(self) -> None:
        began = time.perf_counter()
        for n in range(1 << 60):
            wait = began + n / self.rate - time.perf_counter()
            self.late_s = max(self.late_s, -wait)
            await asyncio.sleep(max(0.0, wait))
            self.sent += 1
            task = asyncio.create_task(self._one(self.routers[n % len(self.routers)]))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _one(self, router: Router) -> None:
        began = time.perf_counter()
        decision_s, finished = 0.0, None
        try:
            async for message in router.inference.Generate(self._question, timeout=TIMEOUT_S):
                if message.HasField("routed"):
                    decision_s = message.routed.decision.decision_time_s
                if message.HasField("finished"):
                    finished = message.finished
        except grpc.aio.AioRpcError as error:
            self.failed.append(f"{router.name}: {error.code().name}: {error.details()}")
            return
        if finished is None:
            self.failed.append(f"{router.name}: the stream ended without its last message")
            return
        self.bill.add(finished)
        self.served.append(Served(began, time.perf_counter() - began, decision_s, finished.backend))
