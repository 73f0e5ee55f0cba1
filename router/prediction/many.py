"""Forecasts of thousands of rows at once, for choosing which of them are worth one of their own (`predictor`).

The same formulas, in vectors of single precision, with a simpler normal distribution. Left out is that corrections and
variances have bounds. A row is read when it was changed, never for a request.
"""

from __future__ import annotations

import math

import numpy as np

from router.domain.learned import PER_UNIT, POINTS, REACH
from router.domain.length import Length
from router.domain.rows import Row, Shape
from router.prediction import coefficients as c
from router.prediction.estimates import Each, Estimates, Floats
from router.prediction.predictor import (
    FRESH_S,
    LEAST_TTFT_VAR,
    MAX_AGEING_S,
    MAX_PACE,
    MIN_PACE,
    TPOT_AGEING,
    TTFT_AGEING,
)
from router.prediction.sharing import PREFILL_FELT

HALF = np.float32(0.5)


class Many:
    """The coefficients of rows, by the place of each row in `rows`."""

    def __init__(self, rows: list[Row]) -> None:
        self._name(rows)
        self._at = np.zeros((c.COUNT, len(rows)), dtype=np.float32)
        self._of: list[Floats] = list(self._at)
        # Of what was observed of each, and the share that lies beyond; only where enough was.
        self._tables: Floats | None = None
        self._beyond = np.zeros(len(rows), dtype=np.float32)
        self._tabled = np.zeros(len(rows), dtype=np.bool_)
        self._seen: list[list[float] | None] = [None] * len(rows)
        self._rates: dict[tuple[str, int], tuple[float, Floats]] = {}
        # Of any of the rows; they only become more.
        self._above: set[float] = set()
        self._services: set[str] = set()
        self._hourly = self._windows = self._preempted = False
        for place in range(len(rows)):
            self.put(place)

    def _name(self, rows: list[Row]) -> None:
        self.rows = rows
        self.models = list(dict.fromkeys([row.model for row in rows]))
        number = {model: n for n, model in enumerate(self.models)}
        self.model_of = np.array([number[row.model] for row in rows], dtype=np.intp)

    def move(self, rows: list[Row], before: list[int]) -> None:
        """Other rows, of which each was at a place `before`; those that were not are to be `put`."""
        self._name(rows)
        for name in ("_at", "_tables", "_beyond", "_tabled"):
            if (held := getattr(self, name)) is not None:
                setattr(self, name, held.take(before, axis=0 if name == "_tables" else -1))
        self._of = list(self._at)
        self._seen = [self._seen[place] for place in before]
        self._rates.clear()

    def put(self, place: int) -> None:
        """Takes in a row that came into this place."""
        row = self.rows[place]
        if len(row.rates) > 1 or row.has_context_tiers:
            above = {rate.above_tokens for table in row.rates.values() for rate in table} - {0.0}
            if not above <= self._above:
                self._above |= above
                # By how many of the lengths a prompt exceeds, which is now counted otherwise.
                self._rates.clear()
            self._services |= row.rates.keys() - {""}
        for (service, _), (tokens, rates) in self._rates.items():
            rates[:, place] = _rates(row, service, tokens)
        self._hourly |= row.per_hour
        self._windows |= row.speed.window_s > 0.0
        self._preempted |= row.preemptions_per_s > 0.0
        self.read(place)

    def read(self, place: int) -> None:
        """Reads a row again."""
        row = self.rows[place]
        self._at[:, place] = c.coefficients(row)
        table = row.learned.tail.table()
        if table is self._seen[place]:
            return
        self._seen[place] = table
        self._tabled[place] = bool(table)
        if table:
            if self._tables is None:
                self._tables = np.zeros((len(self.rows), POINTS), dtype=np.float32)
            self._tables[place] = table
            self._beyond[place] = 1.0 - table[-1]

    def estimate(self, shape: Shape, lengths: dict[str, Length], fresh: Each) -> Estimates:
        """The estimates for a request; `fresh` are the prompt tokens that no cache holds, on all or on each."""
        of = self._of
        tokens = self._each([lengths[model].tokens for model in self.models])
        context = shape.input_tokens + 0.5 * tokens
        size = _log(context / 2000.0)

        # In place wherever it can be: a new vector for each step would take as long as the step.
        tpot = of[c.TPOT_CONTEXT_S] * context
        tpot += of[c.TPOT_S]
        if self._windows:
            tpot += of[c.TPOT_WINDOW_S] * np.minimum(of[c.WINDOW], context)
        tpot_var = _square(of[c.TPOT_VAR], of[c.TPOT_VAR_SIZE], of[c.TPOT_VAR_SQUARE], size)
        prefill = of[c.SQUARE_S] * fresh
        prefill += of[c.TOKEN_S]
        prefill *= fresh
        ttft_size = of[c.WAITING] + (fresh + 256.0)
        ttft_size *= 1.0 / 2000.0
        np.log(ttft_size, out=ttft_size)
        ttft_var = _square(of[c.TTFT_VAR], of[c.TTFT_VAR_SIZE], of[c.TTFT_VAR_SQUARE], ttft_size)
        np.maximum(ttft_var, LEAST_TTFT_VAR, out=ttft_var)
        if shape.state_age_s > FRESH_S:
            stale = min(MAX_AGEING_S, shape.state_age_s - FRESH_S)
            ttft_var += TTFT_AGEING * stale
            tpot_var += TPOT_AGEING * stale
        off = of[c.TPOT_W_SIZE] * size
        off += of[c.TPOT_W]
        off += HALF * tpot_var
        tpot *= np.exp(off, out=off)
        decode = tpot * tokens
        pace = ttft_size
        pace *= of[c.TTFT_W_SIZE]
        pace += of[c.TTFT_W]
        np.exp(pace, out=pace)
        median: Floats = of[c.QUEUED] * decode
        median += of[c.TTFT_S]
        median += prefill
        median *= pace
        ttft: Floats = HALF * ttft_var
        np.exp(ttft, out=ttft)
        ttft *= median

        out = Estimates(fresh_tokens=fresh, output_tokens=tokens, context=context, ttft_s=ttft, tpot_s=tpot)
        np.clip(pace, MIN_PACE, MAX_PACE, out=pace)
        prefill *= pace
        out.work_s, out.decode_s = prefill, decode
        after_first = decode - tpot
        out.e2e_s = ttft + after_first
        out.cost_usd = self._cost(shape, out)
        if shape.explore:
            out.tpot_sd = np.sqrt(tpot_var)
        spread = self._each([lengths[model].variance for model in self.models])
        self._chances(out, shape, median, ttft_var, tpot_var, spread)
        return out

    def _chances(
        self, out: Estimates, shape: Shape, median: Floats, ttft_var: Floats, tpot_var: Floats, spread: Each
    ) -> None:
        """`predictor._chances` of each; `spread` is the variance of the answer's tokens."""
        if shape.ttft_slo_s < math.inf:
            t = _odds(shape.ttft_slo_s, median)
            t /= np.sqrt(ttft_var)
            out.p_ttft = self._within(t)
        if shape.tpot_slo_s < math.inf:
            out.p_tpot = _p_within(shape.tpot_slo_s, out.tpot_s, tpot_var)
        if shape.e2e_slo_s < math.inf:
            ttft, tpot = out.ttft_s, out.tpot_s
            after_first = out.e2e_s - ttft
            variance = ttft * ttft * (np.exp(ttft_var) - 1.0)
            variance += after_first * after_first * (np.exp(tpot_var) - 1.0) + tpot * tpot * spread
            variance /= out.e2e_s * out.e2e_s
            variance += 1.0
            out.p_e2e = _p_within(shape.e2e_slo_s, out.e2e_s, np.log(variance, out=variance))

    def energy_j(self, out: Estimates) -> Floats:
        return self._of[c.WORK_J] * out.work_s + self._of[c.DECODE_J] * out.decode_s

    def carbon_g(self, out: Estimates) -> Floats:
        return self.energy_j(out) * self._of[c.G_PER_J]

    def slowed_usd(self, out: Estimates, usual_usd_per_s: float) -> Floats:
        """What those who are slowed lose, by what a second is worth to them; `usual_usd_per_s` where nobody knows."""
        of = self._of
        slope = of[c.SLOPE_CONTEXT_S] * out.context + of[c.SLOPE_S]
        if self._windows:
            slope += of[c.SLOPE_WINDOW_S] * np.minimum(of[c.WINDOW], out.context)
        slope *= out.output_tokens
        slope += PREFILL_FELT * out.work_s
        slope *= of[c.OTHERS]
        slope *= np.where(of[c.SECOND_USD] < 0.0, np.float32(usual_usd_per_s), of[c.SECOND_USD])
        return slope

    def _each(self, values: list[float]) -> Each:
        """Of each row, the value of its model."""
        if len(values) == 1:
            return values[0]
        return np.array(values, dtype=np.float32)[self.model_of]

    def _cost(self, shape: Shape, out: Estimates) -> Floats:
        rates = self._rates_for(shape)
        fresh = out.fresh_tokens
        cached = shape.input_tokens - fresh
        cost: Floats = rates[0] * fresh + rates[2] * out.output_tokens + rates[3]
        if not isinstance(cached, float) or cached > 0.0:
            cost += rates[1] * cached
        of = self._of
        if self._hourly:
            cost += of[c.WORK_USD] * out.work_s + of[c.DECODE_USD] * out.decode_s
        if self._preempted:
            odds = np.expm1(np.minimum(20.0, of[c.PREEMPTIONS_PER_S] * out.e2e_s))
            cost += odds * (cost + of[c.RESTART_USD])
        return cost

    def _rates_for(self, shape: Shape) -> Floats:
        """Input, cached, output and request dollars of each row for the service and the length of a prompt."""
        service = shape.service if shape.service in self._services else ""
        if not service and not self._above:
            return self._at[c.INPUT_USD : c.REQUEST_USD + 1]
        # A row's rate may change above any of these lengths, and only there.
        tier = sum(1 for tokens in self._above if shape.input_tokens > tokens)
        known = self._rates.get((service, tier))
        if known is None:
            rates = np.array([_rates(row, service, shape.input_tokens) for row in self.rows], dtype=np.float32).T.copy()
            known = self._rates[service, tier] = (shape.input_tokens, rates)
        return known[1]

    def _within(self, t: Floats) -> Floats:
        """`Tail.within` of each row."""
        if self._tables is None:
            return self._student(t)
        observed = self._observed(t, self._tables)
        return observed if self._tabled.all() else np.where(self._tabled, observed, self._student(t))

    def _student(self, t: Floats) -> Floats:
        """While little was observed."""
        of = self._of
        z = t * t
        z *= of[c.PER_FREEDOM]
        z += 1.0
        np.log(z, out=z)
        z *= of[c.FREEDOM]
        np.sqrt(z, out=z)
        z *= of[c.NEARLY_ONE]
        return _below(np.copysign(z, t, out=z))

    def _observed(self, t: Floats, tables: Floats) -> Floats:
        """By the table of each. Most are beyond its end, where it goes on as an exponential."""
        p: Floats = np.exp(REACH - t)
        p *= self._beyond
        np.subtract(1.0, p, out=p)
        within = np.flatnonzero(t < REACH)
        if len(within):
            place = (t[within] + REACH) * PER_UNIT
            cell = np.clip(place, 0.0, POINTS - 2.0).astype(np.intp)
            begin = within * POINTS + cell
            flat = tables.reshape(-1)
            low = flat.take(begin)
            inner = low + (place - cell) * (flat.take(begin + 1) - low)
            # Before its beginning, likewise.
            p[within] = np.where(place <= 0.0, low * np.exp(np.minimum(place, 0.0) / PER_UNIT), inner)
        return p


def _rates(row: Row, service: str, prompt_tokens: float) -> tuple[float, float, float, float]:
    if row.per_hour:
        return 0.0, 0.0, 0.0, 0.0
    rate = row.rate(service, prompt_tokens)
    return rate.input_usd, rate.cached_usd, rate.output_usd, row.request_usd


def _log(value: Each) -> Each:
    if isinstance(value, float):
        return min(8.0, math.log(max(1e-3, value)))
    return np.minimum(np.log(np.maximum(value, 1e-3)), 8.0)


def _odds(limit: float, seconds: Floats) -> Floats:
    """The logarithm of limit over seconds; hopeless where there is no time left."""
    odds: Floats = seconds * (1.0 / max(limit, 1e-30))
    np.log(odds, out=odds)
    np.negative(odds, out=odds)
    return odds


def _p_within(limit: float, mean: Floats, variance: Floats) -> Floats:
    """`predictor.p_within` of each; `variance` of the logarithm."""
    sd: Floats = np.sqrt(variance)
    z = _odds(limit, mean)
    z /= sd
    sd *= 0.5
    z += sd
    return _below(z)


def _below(z: Floats) -> Floats:
    """`normal.below` of each, within 2e-4, by a logistic function; overflows to 0 where nothing is left."""
    x: Floats = z * z
    x *= -0.070566
    x -= 1.5976
    x *= z
    np.exp(x, out=x)
    x += 1.0
    np.divide(1.0, x, out=x)
    return x


def _square(constant: Floats, linear: Floats, square: Floats, x: Each) -> Floats:
    """The variance at x."""
    variance = square * x
    variance += linear
    variance *= x
    variance += constant
    return variance
