"""What attempts teach about the speed of backends and the length of answers: at first tokens, at the end, and before.

A belief that only ended answers move learns too late of a backend that hangs. `tick` looks at what is on its way a few
times a second, and shifts the beliefs concerned for as long as that evidence stands: nothing counts twice, since the
shift goes when the attempts end and are learnt from.

Not learnt from: TTFT of answers that came in one piece, the pace of fewer than four tokens or of a burst, and anything
but a lower bound of TTFT from attempts that were cancelled, lost a hedge or ran out of time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from router.dispatch.fleet import Fleet
from router.domain.learned import Learned
from router.domain.outcome import TokenUsage
from router.prediction import learning
from router.prediction.output_length import OutputLength

if TYPE_CHECKING:
    from router.dispatch.feedback import Attempt

# Chunks that are closer together came in one read: such an answer may not have been streamed.
STREAMED_S: Final = 0.001
LEAST_PACED_TOKENS: Final = 4
# Tokens from which on the pace of an answer since it began says something.
PACED_TOKENS: Final = 16.0
# How an answer goes on is judged by what came since the last mark but one, 0.4 to 0.8 seconds ago.
MARK_S: Final = 0.4
EVENT_RATE: Final = 0.2
# A shift that is no more than this is none.
LEAST_SHIFT: Final = 0.01
# Attempts that are looked at in one tick, oldest first, and beliefs that are led back to their prior.
MOST_LOOKED_AT: Final = 4096
FADED_AT_ONCE: Final = 50
# How far off each of several attempts is, in the logarithm, and the standard deviation of that.
Evidence = list[tuple[float, float]]


class Flow:
    """Tokens that answers on their way brought lately, and that they should have brought; the variance of a belief."""

    __slots__ = ("came", "expected", "variance")

    def __init__(self) -> None:
        self.expected = 0.0
        self.came = 0.0
        self.variance = 0.0


class Learner:
    """Moves `Learned` and `OutputLength`. Holds the attempts on their way, each from its begin to its end."""

    def __init__(self, *, fleet: Fleet, lengths: OutputLength) -> None:
        self._fleet = fleet
        self._lengths = lengths
        self._attempts: dict[Attempt, None] = {}
        self._shifted: list[Learned] = []
        self._fading: Iterator[Learned] = iter(())

    def begun(self, attempt: Attempt) -> None:
        """An attempt whose tokens this replica will see."""
        self._attempts[attempt] = None

    def answered(self, attempt: Attempt) -> None:
        """The first token has come."""
        learned = attempt.row.learned
        if attempt.first_at <= attempt.late_at:
            learned.in_time_started_at = max(learned.in_time_started_at, attempt.started_at)

    def streamed(self, attempt: Attempt, now: float) -> None:
        """More tokens came later: the time of the first is one. Called once for an attempt, at most."""
        forecast = attempt.forecast
        learning.observe(
            attempt.row.learned,
            prior_ttft_s=forecast.prior_ttft_s,
            prior_tpot_s=forecast.prior_tpot_s,
            ttft_s=attempt.first_at - attempt.started_at,
            tpot_s=None,
            now=now,
            batch=forecast.batch,
            prompt_tokens=forecast.prompt_tokens,
        )

    def done(self, attempt: Attempt, usage: TokenUsage, tpot_s: float | None, now: float) -> None:
        """The answer is complete."""
        self._attempts.pop(attempt, None)
        if attempt.first_at < 0.0:
            return
        row, forecast, learned = attempt.row, attempt.forecast, attempt.row.learned
        if usage.output == 1 and not attempt.streamed:
            # All of it is its first token.
            self.streamed(attempt, now)
        if tpot_s is not None and usage.output >= LEAST_PACED_TOKENS and attempt.streamed:
            context = forecast.input_tokens + 0.5 * usage.output
            learning.observe(
                learned,
                prior_ttft_s=forecast.prior_ttft_s,
                prior_tpot_s=row.speed.tpot_s(min(forecast.batch + 1.0, row.max_concurrency), context),
                ttft_s=None,
                tpot_s=tpot_s,
                now=now,
                batch=forecast.batch,
                context_tokens=context,
            )
        if not usage.estimated and attempt.events >= LEAST_PACED_TOKENS:
            each = usage.output / attempt.events
            known = learned.tokens_per_event
            learned.tokens_per_event = known + EVENT_RATE * (each - known) if known else each
        length = forecast.length
        cut_off = attempt.finish_reason == "length"
        self._lengths.observe(row.model, usage.output, workload=length.workload, tenant=length.tenant, cut_off=cut_off)

    def gone(self, attempt: Attempt, now: float, *, patient: bool) -> None:
        """The attempt ended without an answer; `patient`: by nobody's fault but its slowness, as far as is known."""
        seen = attempt in self._attempts
        self._attempts.pop(attempt, None)
        if seen and patient and attempt.first_at < 0.0:
            forecast = attempt.forecast
            learning.unfinished(
                attempt.row.learned,
                prior_ttft_s=forecast.prior_ttft_s,
                waited_s=now - attempt.started_at,
                prompt_tokens=forecast.prompt_tokens,
                batch=forecast.batch,
                now=now,
            )

    def tick(self, now: float) -> None:
        """Makes all shifts anew, and leads some beliefs back to their prior by the time that has passed."""
        waiting: dict[Learned, Evidence] = {}
        paced: dict[Learned, Evidence] = {}
        flowing: dict[Learned, Flow] = {}
        backends: dict[Learned, str] = {}
        for attempt in islice(self._attempts, MOST_LOOKED_AT):
            learned = attempt.row.learned
            backends[learned] = attempt.row.id
            if attempt.first_at >= 0.0:
                if learned.tokens_per_event > 0.0:
                    _flow(attempt, learned, flowing, now)
                    _add(paced, learned, _pace(attempt, learned, now))
            elif now >= attempt.late_at and attempt.started_at > learned.in_time_started_at:
                _add(waiting, learned, _wait(attempt, learned, now))
        for learned in self._shifted:
            learned.ttft.shift = learned.tpot.shift = 0.0
        self._shifted = [*waiting, *flowing]
        for learned, seen in waiting.items():
            learned.ttft.shift = _worth(learning.waiting_shift(learned.tail, seen))
            if learned.ttft.shift > 0.0:
                self._fleet.touched(backends[learned])
        for learned, flow in flowing.items():
            # Answers that began before a change are slow in their flow only, a few new ones in their pace only.
            shift = learning.flow_shift(learned, flow.expected, flow.came, flow.variance)
            learned.tpot.shift = _worth(max(shift, learning.pace_shift(paced.get(learned, []))))
            if learned.tpot.shift > 0.0:
                self._fleet.touched(backends[learned])
        self._fade(now)

    def _fade(self, now: float) -> None:
        for _ in range(FADED_AT_ONCE):
            learned = next(self._fading, None)
            if learned is None:
                self._fading = iter(self._fleet.beliefs())
                return
            learning.fade(learned, now)


def _add(evidence: dict[Learned, Evidence], learned: Learned, one: tuple[float, float] | None) -> None:
    if one is not None:
        evidence.setdefault(learned, []).append(one)


def _worth(shift: float) -> float:
    return shift if shift > LEAST_SHIFT else 0.0


def _wait(attempt: Attempt, learned: Learned, now: float) -> tuple[float, float] | None:
    """How much longer than expected an attempt has waited for its first token; None where that is usual."""
    forecast = attempt.forecast
    waited_s = now - attempt.started_at
    if forecast.prior_ttft_s <= 0.0 or waited_s <= 0.0:
        return None
    x1, x2 = learning.ttft_features(forecast.prompt_tokens, forecast.batch)
    sd = math.sqrt(learned.ttft.variance(x1, x2))
    beyond = math.log(waited_s / forecast.prior_ttft_s) - learned.ttft.base(x1, x2)
    return (beyond, sd) if beyond > sd else None


def _pace(attempt: Attempt, learned: Learned, now: float) -> tuple[float, float] | None:
    """How much slower than expected its tokens have come so far; None where they have not."""
    row, forecast = attempt.row, attempt.forecast
    steps = learned.tokens_per_event * (attempt.events - 1)
    if steps < PACED_TOKENS:
        return None
    # A stream that has fallen silent is slower than its last token says.
    until_next = (now - attempt.first_at) * steps / (steps + learned.tokens_per_event)
    pace_s = max(attempt.last_at - attempt.first_at, until_next) / steps
    others = max(forecast.batch, row.live.batch() - 1.0)
    context = forecast.input_tokens + 0.5 * forecast.output_tokens
    prior_s = row.speed.tpot_s(min(others + 1.0, row.max_concurrency), context)
    if pace_s <= prior_s * 1e-3:
        return None
    x1, x2 = learning.tpot_features(others, context)
    beyond = math.log(pace_s / prior_s) - learned.tpot.base(x1, x2)
    return (beyond, math.sqrt(learned.tpot.variance(x1, x2))) if beyond > 0.0 else None


def _flow(attempt: Attempt, learned: Learned, flowing: dict[Learned, Flow], now: float) -> None:
    """Adds what an answer on its way brought lately, and what it should have brought at the present load."""
    if now - attempt.marks[1][0] >= MARK_S:
        attempt.marks = (attempt.marks[1], (now, attempt.events))
    since, events = attempt.marks[0]
    if since < attempt.first_at:
        return
    row, forecast = attempt.row, attempt.forecast
    others = max(0.0, row.live.batch() - 1.0)
    context = forecast.input_tokens + 0.5 * forecast.output_tokens
    x1, x2 = learning.tpot_features(others, context)
    pace_s = row.speed.tpot_s(min(others + 1.0, row.max_concurrency), context) * math.exp(learned.tpot.base(x1, x2))
    if pace_s <= 0.0:
        return
    flow = flowing.get(learned)
    if flow is None:
        flow = flowing[learned] = Flow()
        flow.variance = learned.tpot.variance(x1, x2)
    flow.expected += (now - since) / pace_s
    flow.came += learned.tokens_per_event * (attempt.events - events)
