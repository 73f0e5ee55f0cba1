"""The decision log as the director knows it: caught at the decision, written behind it.

A request hands over references and goes on; a task makes lines of them every half second, in a thread, and appends them
to the segments. What does not fit into the queue, or what the disk does not take, is counted and forgotten: no request
ever waits for the log.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import structlog

from router.clock import Clock
from router.decisions.capture import Capture, Caught
from router.decisions.draws import Draws
from router.decisions.lines import Ended, Lines
from router.decisions.sampling import Sampler
from router.decisions.segments import Segments
from router.dispatch.decider import Plan
from router.domain.outcome import AttemptOutcome, Outcome
from router.domain.request import RequestProfile
from router.telemetry.decision_metrics import DecisionMetrics

log = structlog.get_logger(__name__)
QUEUE = 4096
WRITE_EVERY_S = 0.5
# Decisions that one turn in the thread makes lines of: it must not keep others from the interpreter for long.
PER_TURN = 64
RETRY_S = 5.0


class DecisionLog:
    """`run` it as a task; `close` writes what is left."""

    def __init__(
        self,
        *,
        segments: Segments,
        lines: Lines,
        capture: Capture,
        draws: Draws,
        sampler: Sampler,
        metrics: DecisionMetrics,
        clock: Clock,
        queue: int = QUEUE,
    ) -> None:
        self._segments = segments
        self._lines = lines
        self._capture = capture
        self._draws = draws
        self._sampler = sampler
        self._metrics = metrics
        self._clock = clock
        self._limit = queue
        self._queue: deque[tuple[Ended, float]] = deque()
        self._turning: asyncio.Task[None] | None = None
        self._retry_at = 0.0
        self._failed = False

    def begin(self) -> None:
        """To be called right before deciding: what is drawn from here on belongs to this decision."""
        self._draws.taken()

    def catch(self, plan: Plan, profile: RequestProfile) -> Caught | None:
        """To be called right after deciding, before anything changes; `profile` is what was decided for."""
        try:
            return self._capture.catch(plan, profile, self._draws.taken())
        except Exception:  # noqa: BLE001 - whatever is wrong with the log, it must not be the request's
            self._lost(1)
            return None

    def record(
        self, caught: Caught | None, attempts: Sequence[AttemptOutcome], outcome: Outcome | None, result: str
    ) -> None:
        """Takes a request that has ended; `caught` is what `catch` gave."""
        if caught is None:
            return
        ended = Ended(caught, tuple(attempts), outcome, result)
        weight = self._sampler.weight(always=ended.kept_always())
        if weight <= 0.0:
            self._metrics.sampled_out.inc()
        elif len(self._queue) >= self._limit:
            self._metrics.dropped.inc()
        else:
            self._queue.append((ended, weight))

    async def run(self) -> None:
        """Writes what has come, for ever."""
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            self._sampler.adjust(self._clock.monotonic())
            while self._queue:
                # Whoever ends this task must not end a write in its middle: `close` waits for it.
                self._turning = asyncio.create_task(self._turn())
                await asyncio.shield(self._turning)

    async def close(self) -> None:
        """Writes what is left and ends the segment."""
        if self._turning is not None:
            await self._turning
        while self._queue:
            await self._turn()
        await asyncio.to_thread(self._segments.close)

    async def _turn(self) -> None:
        batch = [self._queue.popleft() for _ in range(min(PER_TURN, len(self._queue)))]
        now = self._clock.monotonic()
        if self._failed and now < self._retry_at:
            self._metrics.dropped.inc(len(batch))
            return
        try:
            sizes = await asyncio.to_thread(self._write, batch)
        except Exception as error:  # noqa: BLE001 - a fault of the log ends neither its task nor the process
            self._metrics.dropped.inc(len(batch))
            self._retry_at = now + RETRY_S
            if not self._failed:
                self._failed = True
                log.warning("decision_log_not_written", error=str(error), retry_s=RETRY_S)
            # What is in the file now may be torn, and lines refer to others of their segment.
            self._segments.close()
            return
        if self._failed:
            self._failed = False
            log.info("decision_log_written_again")
        self._metrics.written.inc(len(batch))
        self._metrics.written_bytes.inc(sum(sizes))
        self._metrics.share.set(self._sampler.share)
        for (_, weight), size in zip(batch, sizes, strict=True):
            self._sampler.wrote(size, weight, now)

    def _lost(self, count: int) -> None:
        """Counts what is lost to a fault of the log, and says so once in a while."""
        self._metrics.dropped.inc(count)
        now = self._clock.monotonic()
        if now >= self._retry_at:
            self._retry_at = now + RETRY_S
            log.exception("decision_log_fault")  # noqa: LOG004 - called while one is handled

    def _write(self, batch: list[tuple[Ended, float]]) -> list[int]:
        sizes: list[int] = []
        data: list[bytes] = []
        waiting = 0
        for ended, weight in batch:
            size = 0
            if self._segments.full(waiting):
                if data:
                    self._segments.append(b"".join(data))
                    data.clear()
                unix = self._clock.time()
                self._segments.begin(unix)
                head = self._lines.begin(unix)
                data.append(head)
                size = waiting = len(head)
            text = self._lines.of(ended, weight)
            data.append(text)
            waiting += len(text)
            sizes.append(size + len(text))
        self._segments.append(b"".join(data))
        return sizes
