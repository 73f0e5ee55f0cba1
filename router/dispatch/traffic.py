"""What each backend has done lately, for people who watch; nothing decides by it.

Counted per attempt: requests, tokens and money of the last minute, and how far predictions are from what happened.
"""

from __future__ import annotations

from dataclasses import dataclass

from router.dispatch.token_prices import TokenPrices
from router.domain.outcome import AttemptOutcome
from router.domain.rows import Forecast

SLOT_S = 5.0
SLOTS = 12
WINDOW_S = SLOT_S * SLOTS


class _Slot:
    """Sums; those of predictions and times are over the attempts that had a first, and a second, token."""

    __slots__ = (
        "cost_usd",
        "failed",
        "number",
        "requests",
        "tokens",
        "tpot_actual",
        "tpot_predicted",
        "tpots",
        "ttft_actual",
        "ttft_predicted",
        "ttfts",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.requests = 0
        self.failed = 0
        self.tokens = 0
        self.cost_usd = 0.0
        self.ttfts = 0
        self.ttft_predicted = 0.0
        self.ttft_actual = 0.0
        self.tpots = 0
        self.tpot_predicted = 0.0
        self.tpot_actual = 0.0


UNUSED = _Slot(-2 * SLOTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Over the last minute; the times are means, None where there was nothing to average."""

    requests_per_s: float = 0.0
    tokens_per_s: float = 0.0
    usd_per_hour: float = 0.0
    failure_rate: float = 0.0
    ttft_predicted_s: float | None = None
    ttft_actual_s: float | None = None
    tpot_predicted_s: float | None = None
    tpot_actual_s: float | None = None


IDLE = Rates()


class Traffic:
    """Grows with the backends that had traffic; `forget` those that left the fleet."""

    def __init__(self, *, now: float) -> None:
        self._started = now
        # Each backend's last minute, in slots that are used again.
        self._lately: dict[str, list[_Slot]] = {}
        self.token_prices = TokenPrices()

    @property
    def backends(self) -> tuple[str, ...]:
        """Those that had traffic and were not forgotten, lately or long ago."""
        return tuple(self._lately)

    def record(self, forecast: Forecast, outcome: AttemptOutcome, now: float) -> None:
        self.token_prices.record(outcome, now)
        slots = self._lately.get(outcome.backend)
        if slots is None:
            slots = self._lately[outcome.backend] = [UNUSED] * SLOTS
        number = int(now / SLOT_S)
        slot = slots[number % SLOTS]
        if slot.number != number:
            slot = slots[number % SLOTS] = _Slot(number)
        slot.requests += 1
        slot.failed += outcome.counts_against_health
        slot.tokens += outcome.usage.output
        slot.cost_usd += outcome.cost_usd
        if outcome.ttft_s is not None:
            slot.ttfts += 1
            slot.ttft_predicted += forecast.ttft_s
            slot.ttft_actual += outcome.ttft_s
        if outcome.tpot_s is not None:
            slot.tpots += 1
            slot.tpot_predicted += forecast.tpot_s
            slot.tpot_actual += outcome.tpot_s

    def forget(self, backend: str) -> None:
        self._lately.pop(backend, None)
        self.token_prices.forget(backend)

    def rates(self, backend: str, now: float) -> Rates:
        newest = int(now / SLOT_S)
        oldest = newest - SLOTS + 1
        slots = [slot for slot in self._lately.get(backend, ()) if oldest <= slot.number <= newest]
        if not slots:
            return IDLE
        # The newest slot has only begun: what is remembered goes back to where the oldest one began.
        seconds = max(1.0, now - max(oldest * SLOT_S, self._started))
        requests = sum(slot.requests for slot in slots)
        ttfts, tpots = sum(slot.ttfts for slot in slots), sum(slot.tpots for slot in slots)
        return Rates(
            requests_per_s=requests / seconds,
            tokens_per_s=sum(slot.tokens for slot in slots) / seconds,
            usd_per_hour=sum(slot.cost_usd for slot in slots) * 3600.0 / seconds,
            failure_rate=sum(slot.failed for slot in slots) / requests,
            ttft_predicted_s=sum(slot.ttft_predicted for slot in slots) / ttfts if ttfts else None,
            ttft_actual_s=sum(slot.ttft_actual for slot in slots) / ttfts if ttfts else None,
            tpot_predicted_s=sum(slot.tpot_predicted for slot in slots) / tpots if tpots else None,
            tpot_actual_s=sum(slot.tpot_actual for slot in slots) / tpots if tpots else None,
        )
