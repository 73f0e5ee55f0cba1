"""What each backend has done lately, for people who watch; nothing decides by it.

Counted per attempt: requests, tokens and money of the last minute, and how far predictions are from what happened.
"""

from __future__ import annotations

from dataclasses import dataclass

from router.domain.outcome import AttemptOutcome
from router.domain.rows import Forecast

SLOT_S = 5.0
SLOTS = 12
WINDOW_S = SLOT_S * SLOTS
# Of one more observation.
GAIN = 0.1


class _Slot:
    __slots__ = ("cost_usd", "failed", "number", "requests", "tokens")

    def __init__(self, number: int) -> None:
        self.number = number
        self.requests = 0
        self.failed = 0
        self.tokens = 0
        self.cost_usd = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Over the last minute; the times are moving averages, None where there was nothing to average."""

    requests_per_s: float = 0.0
    tokens_per_s: float = 0.0
    usd_per_hour: float = 0.0
    failure_rate: float = 0.0
    ttft_predicted_s: float | None = None
    ttft_actual_s: float | None = None
    tpot_predicted_s: float | None = None
    tpot_actual_s: float | None = None


class _Lately:
    """One backend's last minute, in slots that are used again."""

    __slots__ = ("slots", "tpot_actual", "tpot_predicted", "ttft_actual", "ttft_predicted")

    def __init__(self) -> None:
        self.slots = [_Slot(-1) for _ in range(SLOTS)]
        self.ttft_predicted: float | None = None
        self.ttft_actual: float | None = None
        self.tpot_predicted: float | None = None
        self.tpot_actual: float | None = None

    def slot(self, number: int) -> _Slot:
        found = self.slots[number % SLOTS]
        if found.number != number:
            found = self.slots[number % SLOTS] = _Slot(number)
        return found


class Traffic:
    """Grows with the backends that had traffic; `forget` those that left the fleet."""

    def __init__(self, *, now: float) -> None:
        self._started = now
        self._lately: dict[str, _Lately] = {}

    def record(self, forecast: Forecast, outcome: AttemptOutcome, now: float) -> None:
        lately = self._lately.get(outcome.backend)
        if lately is None:
            lately = self._lately[outcome.backend] = _Lately()
        slot = lately.slot(int(now / SLOT_S))
        slot.requests += 1
        slot.failed += outcome.counts_against_health
        slot.tokens += outcome.usage.output
        slot.cost_usd += outcome.cost_usd
        if outcome.ttft_s is not None:
            lately.ttft_predicted = _moved(lately.ttft_predicted, forecast.ttft_s)
            lately.ttft_actual = _moved(lately.ttft_actual, outcome.ttft_s)
        if outcome.tpot_s is not None:
            lately.tpot_predicted = _moved(lately.tpot_predicted, forecast.tpot_s)
            lately.tpot_actual = _moved(lately.tpot_actual, outcome.tpot_s)

    def forget(self, backend: str) -> None:
        self._lately.pop(backend, None)

    def rates(self, backend: str, now: float) -> Rates:
        lately = self._lately.get(backend)
        if lately is None:
            return Rates()
        newest = int(now / SLOT_S)
        slots = [slot for slot in lately.slots if newest - SLOTS < slot.number <= newest]
        seconds = max(1.0, min(WINDOW_S, now - self._started))
        requests = sum(slot.requests for slot in slots)
        return Rates(
            requests_per_s=requests / seconds,
            tokens_per_s=sum(slot.tokens for slot in slots) / seconds,
            usd_per_hour=sum(slot.cost_usd for slot in slots) * 3600.0 / seconds,
            failure_rate=sum(slot.failed for slot in slots) / requests if requests else 0.0,
            ttft_predicted_s=lately.ttft_predicted,
            ttft_actual_s=lately.ttft_actual,
            tpot_predicted_s=lately.tpot_predicted,
            tpot_actual_s=lately.tpot_actual,
        )


def _moved(old: float | None, new: float) -> float:
    return new if old is None else old + GAIN * (new - old)
