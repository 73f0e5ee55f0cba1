"""Picks that are out: what a caller carries out itself and reports on later.

Each holds its reservation until it is reported or its time is over; the number is bounded by the in-flight bound.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backends.contract import Chunk, FinishReason, Usage
from backends.errors import BackendError, by_code
from router.dispatch.feedback import CANCELLED, OK, Attempt, Feedback
from router.domain.outcome import AttemptOutcome, PickReport
from router.domain.rows import Forecast
from router.errors import AlreadyExists, InvalidRequest, NotFound, Shed, Violation

Ended = Callable[[Sequence[AttemptOutcome]], None]


@dataclass(slots=True)
class _Out:
    tenant: str
    ended: Ended
    attempt: Attempt
    others: dict[str, Forecast]
    expires_at: float


class Picks:
    """Open picks by id, in the order in which they expire."""

    def __init__(self, feedback: Feedback, *, capacity: int) -> None:
        self._feedback = feedback
        self._open: OrderedDict[str, _Out] = OrderedDict()
        self.capacity = capacity

    def __len__(self) -> int:
        return len(self._open)

    def add(
        self,
        pick_id: str,
        attempt: Attempt,
        others: list[Forecast],
        expires_at: float,
        *,
        tenant: str,
        ended: Ended,
    ) -> None:
        """Remembers a pick. `ended` is called once, with its attempts, when it is reported or its time is over.

        Raises:
            AlreadyExists, Shed: the id is in use, or too many picks wait for their report.
        """
        self.expire(self._feedback.clock.monotonic())
        if len(self._open) >= self.capacity:
            attempt.close(CANCELLED)
            raise Shed(
                "too many picks wait for their report", retry_after_s=1.0, hint="Report each pick when it is over."
            )
        if pick_id in self._open:
            attempt.close(CANCELLED)
            raise AlreadyExists(f"a pick with the id '{pick_id}' is open", hint="Send another request id.")
        self._open[pick_id] = _Out(tenant, ended, attempt, {f.row.id: f for f in others}, expires_at)

    def expire(self, now: float) -> None:
        """Drops the reservations that nobody reported on."""
        while self._open:
            pick_id = next(iter(self._open))
            if self._open[pick_id].expires_at > now:
                return
            out = self._open.pop(pick_id)
            out.ended((out.attempt.close(CANCELLED),))

    def report(self, report: PickReport) -> None:
        """Takes a report as if the attempt had been ours.

        Raises:
            NotFound: no such pick, or it was reported or has expired.
            InvalidRequest: the backend was not among those offered, or the result is no known code.
        """
        error = _error(report)
        out = self._open.get(report.pick_id)
        # Ids are the callers' own words: one tenant's says nothing about another's.
        if out is None or out.tenant != report.tenant:
            raise NotFound(f"no open pick has the id '{report.pick_id}'", hint="Report once, before expires_at.")
        attempt = out.attempt
        attempts: list[AttemptOutcome] = []
        backend, usage = report.backend, report.usage
        if backend and backend != attempt.row.id:
            if backend not in out.others:
                raise InvalidRequest(Violation("backend", f"'{backend}' was not offered by this pick"))
            other = self._feedback.begin(out.others[backend], force=True, seen=False, blocks=attempt.blocks)
            attempts.append(attempt.close(CANCELLED))
            if other is None:
                del self._open[report.pick_id]
                out.ended(attempts)
                return
            attempt = other
        del self._open[report.pick_id]
        # The tokens were timed where the caller stood; the attempt takes its word.
        start = attempt.started_at = out.attempt.started_at
        if usage is not None:
            attempt.take(
                Chunk(
                    usage=Usage(
                        input=usage.input,
                        cached_input=usage.cached_input,
                        output=usage.output,
                        reasoning=usage.reasoning,
                    ),
                    finish_reason=FinishReason.STOP,
                )
            )
        if report.ttft_s is not None:
            attempt.first_at = start + report.ttft_s
            attempt.last_at = start + (report.e2e_s if report.e2e_s is not None else report.ttft_s)
            attempt.streamed = True
            self._feedback.learner.streamed(attempt, self._feedback.clock.monotonic())
        attempts.append(attempt.close(report.result, error))
        out.ended(attempts)


def _error(report: PickReport) -> BackendError | None:
    result = report.result
    if result in {OK, CANCELLED}:
        return None
    kind = by_code().get(result)
    if kind is None:
        raise InvalidRequest(Violation("result", f"'{result}' is neither OK, CANCELLED nor a reason code of a backend"))
    return kind("reported by the caller", retry_after_s=report.retry_after_s)
