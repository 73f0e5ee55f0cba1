"""What a million tokens cost on each backend, for people and for metrics: by its price, and as it was paid lately."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from router.dispatch.fleet import Fleet
from router.dispatch.token_prices import USD_PER_MTOK, Point, Spent, TokenPrices
from router.dispatch.turns import in_turns
from router.domain.decision import HardwareLabel
from router.domain.pricing import Price
from router.domain.rows import Row, Shape
from router.domain.sites import Site
from router.prediction import money
from router.prediction.predictor import forecast, prior_times

# The request that a price per token is blended for: three input tokens to one output token.
REFERENCE_INPUT = 600.0
REFERENCE_OUTPUT = 200.0
REFERENCE_TOKENS = REFERENCE_INPUT + REFERENCE_OUTPUT
REFERENCE = Shape(
    input_tokens=REFERENCE_INPUT,
    cached_tokens=0.0,
    max_output_tokens=REFERENCE_OUTPUT,
    expected_output_tokens=REFERENCE_OUTPUT,
    ttft_slo_s=float("inf"),
    tpot_slo_s=float("inf"),
    e2e_slo_s=float("inf"),
    probability=0.9,
    batch=False,
    quality_task="*",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceLine:
    """One backend, in dollars per million tokens of input and output together; None: nothing to tell it from.

    `blended` is for three input tokens to one output token as things are now, on the cheapest model that it serves;
    `full` the same with every slot taken. `hour` is what the last hour came to, `trend` where that goes. `site` says
    where it stands, `g_per_kwh` how dirty the electricity is there now.
    """

    backend: str
    hardware: HardwareLabel
    price: Price | None
    blended: float | None
    full: float | None
    hour: Spent
    trend: float | None
    utilisation: float
    site: Site
    g_per_kwh: float
    history: tuple[Point, ...] = ()


class PriceBoard:
    """Reads what others keep; costs nothing while nobody looks."""

    def __init__(self, *, fleet: Fleet, token_prices: TokenPrices) -> None:
        self._fleet = fleet
        self._token_prices = token_prices

    async def lines(
        self, *, backend: str, limit: int, history: bool, now: float, unix: float
    ) -> tuple[tuple[PriceLine, ...], int]:
        """At most `limit` backends, those with most tokens in the last hour first, and how many there are."""
        names = [name for name in self._fleet.members if backend in {"", name}]
        tokens = {
            name: spent.tokens
            for name in self._token_prices.backends
            if (spent := self._token_prices.hour(name, now)).tokens > 0.0
        }
        shown = heapq.nsmallest(limit, names, key=lambda name: (-tokens.get(name, 0.0), name))
        found = []
        async for name in in_turns(shown):
            line = self.line(name, now=now, unix=unix, history=history)
            if line is not None:
                found.append(line)
        return tuple(found), len(names)

    def line(self, backend: str, *, now: float, unix: float, history: bool = False) -> PriceLine | None:
        """One backend; None when it is not in the fleet."""
        member = self._fleet.members.get(backend)
        if member is None:
            return None
        rows = [row for served in member.backend.models if (row := self._fleet.row(backend, served.model)) is not None]
        site = self._fleet.catalogue.places.of(backend, member.backend.region)
        return PriceLine(
            backend=backend,
            hardware=self._fleet.label(member.backend),
            price=next((row.price for row in rows if row.price is not None), None),
            blended=blended(rows),
            full=min((full_load(row) for row in rows if row.price_known), default=None),
            hour=self._token_prices.hour(backend, now),
            trend=self._token_prices.trend(backend, now),
            utilisation=member.live.utilisation,
            site=site,
            g_per_kwh=site.g_per_kwh_at(unix),
            history=self._token_prices.history(backend, now) if history else (),
        )

    @property
    def busy(self) -> tuple[str, ...]:
        """The backends that had tokens since they joined."""
        return self._token_prices.backends


def blended(rows: list[Row]) -> float | None:
    """Dollars per million tokens of the reference request on the cheapest model that the backend serves."""
    costs = [forecast(row, REFERENCE, REFERENCE_OUTPUT).cost_usd for row in rows if row.price_known]
    return min(costs) * USD_PER_MTOK / REFERENCE_TOKENS if costs else None


def full_load(row: Row) -> float:
    """The same with every slot taken, and rent counted whole: the least that the hardware can do."""
    if not row.per_hour:
        return forecast(row, REFERENCE, REFERENCE_OUTPUT).cost_usd * USD_PER_MTOK / REFERENCE_TOKENS
    now = forecast(row, REFERENCE, REFERENCE_OUTPUT)
    others = row.max_concurrency - 1.0
    prior = {
        batch: prior_times(row, input_tokens=REFERENCE_INPUT, output_tokens=REFERENCE_OUTPUT, batch=batch)[1]
        for batch in (now.batch, others)
    }
    # What was learnt at the batch of now is taken to hold when all slots are taken.
    tpot = prior[others] * now.tpot_s / max(1e-9, prior[now.batch])
    rent = money.rent_usd(row, REFERENCE_INPUT, REFERENCE_OUTPUT, tpot, others, now.prefill_pace)
    return rent * USD_PER_MTOK / REFERENCE_TOKENS
