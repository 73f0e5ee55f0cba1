"""What was learnt about a backend with a model. Plain typed attributes: it compiles to native code unchanged.

`Belief` is a Bayesian regression on ln(observed / prior), `Tail` the shape of what it leaves over, `Learned` both for
TTFT and TPOT. They only hold and answer; what changes them is in `router.prediction.learning`. With slots all of it
is less than 4 KB.
"""

from __future__ import annotations

import math
from array import array
from typing import Final

from router.domain import normal
from router.domain.live import NEVER

# How far a correction may carry, in the logarithm: e^12 is 160,000 times.
MAX_CORRECTION: Final = 12.0
# Standardised residuals that are kept, and from how many on they are used. On streams of real APIs eight are better
# than fifty: the Brier score of P(TTFT <= S) is 2 to 10 % lower (python -m simulation.predictor_streams).
RESIDUALS: Final = 200
ENOUGH: Final = 8
# The distribution of residuals is kept at points this far apart, from -REACH to REACH.
REACH: Final = 4.0
PER_UNIT: Final = 4.0
POINTS: Final = 33
# Observations that Student's t counts for beside the real ones.
SHAPE_WEIGHT: Final = 10.0
# Beyond so many standard deviations it is never surer than Student's t with so many degrees: queues are calm before
# they are not, and two hundred answers of a calm have no tail.
FAR: Final = 2.5
LIGHTEST: Final = 8.0


class Belief:
    """z = ln(observed / prior) = w0 + w1 x1 + w2 x2 + e, where w ~ N(w, P) and e ~ N(0, noise).

    `shift` is added to the mean while attempts that have not ended say that it is slower than that. `scale` is the mean
    square of what observations were off by over what they were expected to be. `up` and `down` are the two sums of
    change detection, `streak` the surprises in a row, negative for those below. `count` are the observations, `at` the
    time up to which it has faded.
    """

    __slots__ = (
        "at",
        "count",
        "down",
        "intercept_var",
        "noise",
        "p00",
        "p01",
        "p02",
        "p11",
        "p12",
        "p22",
        "scale",
        "shift",
        "slope_var",
        "streak",
        "up",
        "w0",
        "w1",
        "w2",
    )

    def __init__(self, *, intercept_sd: float, slope_sd: float, noise_sd: float) -> None:
        self.intercept_var = intercept_sd * intercept_sd
        self.slope_var = slope_sd * slope_sd
        self.w0 = 0.0
        self.w1 = 0.0
        self.w2 = 0.0
        self.p00 = self.intercept_var
        self.p01 = 0.0
        self.p02 = 0.0
        self.p11 = self.slope_var
        self.p12 = 0.0
        self.p22 = self.slope_var
        self.noise = noise_sd * noise_sd
        self.shift = 0.0
        self.scale = 1.0
        self.up = 0.0
        self.down = 0.0
        self.streak = 0
        self.count = 0
        self.at = NEVER

    def base(self, x1: float, x2: float) -> float:
        """Expected z by what has ended."""
        return self.w0 + self.w1 * x1 + self.w2 * x2

    def mean(self, x1: float, x2: float) -> float:
        """Expected z by all that is known; within bounds, so that its exponential is finite."""
        z = self.w0 + self.w1 * x1 + self.w2 * x2 + self.shift
        return min(MAX_CORRECTION, max(-MAX_CORRECTION, z))

    def variance(self, x1: float, x2: float) -> float:
        """Variance of the z of one more observation."""
        known = self.p00 + 2.0 * (self.p01 * x1 + self.p02 * x2 + self.p12 * x1 * x2)
        return self.scale * (known + self.p11 * x1 * x1 + self.p22 * x2 * x2 + self.noise)

    def reopen(self) -> None:
        """What is believed may no longer hold: as uncertain as in the beginning, about the same mean."""
        self.p00 = self.intercept_var
        self.p11 = self.p22 = self.slope_var
        self.p01 = self.p02 = self.p12 = 0.0
        self.up = self.down = 0.0
        self.streak = 0


class Tail:
    """The distribution of standardised residuals, (z - mean) / sd: the last `RESIDUALS` of them.

    Student's t with n + 3 degrees of freedom while there are fewer than `ENOUGH`, then their own distribution with a
    little of that.
    """

    __slots__ = ("_counts", "_fresh", "_next", "_ring", "_table")

    def __init__(self) -> None:
        self._ring = array("f")
        self._next = 0
        self._counts = array("H")
        self._table: list[float] = []
        self._fresh = False

    def __len__(self) -> int:
        return len(self._ring)

    def add(self, residual: float) -> None:
        """Takes one more; the oldest goes when there are enough."""
        ring = self._ring
        place = self._next
        if len(ring) < RESIDUALS:
            ring.append(residual)
        else:
            self._counts[_cell(ring[place])] -= 1
            ring[place] = residual
        if not self._counts:
            self._counts = array("H", [0] * (POINTS + 1))
        # By what the ring holds: rounded to single precision it may lie in another cell.
        self._counts[_cell(ring[place])] += 1
        self._next = place + 1 if place + 1 < RESIDUALS else 0
        self._fresh = False

    def within(self, t: float) -> float:
        """P(residual <= t)."""
        n = len(self._ring)
        if n < ENOUGH:
            return _student(t, n + 3.0)
        if not self._fresh:
            self._refresh()
        table = self._table
        place = (t + REACH) * PER_UNIT
        if place <= 0.0:
            return table[0] * math.exp(max(-700.0, place / PER_UNIT))
        if place >= POINTS - 1.0:
            return 1.0 - (1.0 - table[POINTS - 1]) * math.exp(max(-700.0, (POINTS - 1.0 - place) / PER_UNIT))
        cell = int(place)
        below = table[cell]
        return below + (place - cell) * (table[cell + 1] - below)

    def table(self) -> list[float]:
        """`within` at each point; none while there are fewer than `ENOUGH`."""
        if len(self._ring) < ENOUGH:
            return []
        if not self._fresh:
            self._refresh()
        return self._table

    def quantile(self, q: float) -> float:
        """The t at which `within` is q; for reports, since it searches."""
        low, high = -64.0, 64.0
        for _ in range(40):
            middle = 0.5 * (low + high)
            if self.within(middle) < q:
                low = middle
            else:
                high = middle
        return 0.5 * (low + high)

    def _refresh(self) -> None:
        """The table of P(residual <= t), never 0, never 1, never falling."""
        n = len(self._ring)
        table: list[float] = []
        below = 0
        within = 0.0
        for cell in range(POINTS):
            point = cell / PER_UNIT - REACH
            below += self._counts[cell]
            p = (below + SHAPE_WEIGHT * _student(point, n + 3.0)) / (n + SHAPE_WEIGHT)
            within = max(within, min(p, _student(point, LIGHTEST)) if point >= FAR else p)
            table.append(within)
        self._table = table
        self._fresh = True


def _student(t: float, freedom: float) -> float:
    """P(T <= t) for Student's t, by Wallace's normal approximation: within 0.003 for 3 degrees of freedom and more."""
    z = (8.0 * freedom + 1.0) / (8.0 * freedom + 3.0) * math.sqrt(freedom * math.log(1.0 + t * t / freedom))
    return normal.below(z if t > 0.0 else -z)


def _cell(residual: float) -> int:
    """Which interval of the table a residual lies in: 0 below the first point, POINTS above the last."""
    place = (residual + REACH) * PER_UNIT
    if place <= 0.0:
        return 0
    return POINTS if place > POINTS - 1.0 else math.ceil(place)


class Learned:
    """How far a (backend, model) is from its prior. `observations` are the answers that moved it.

    `tokens_per_event` is what its events of output hold, 0 while unknown; `flow_var` the variance of the logarithm of
    how fast all answers on their way go on, from moment to moment. `in_time_started_at` is when the attempt began that
    got its first token in time and began last: an older one that still waits says nothing of the backend.
    """

    __slots__ = ("flow_var", "in_time_started_at", "observations", "tail", "tokens_per_event", "tpot", "ttft")

    def __init__(
        self,
        *,
        prior_sd_log: float,
        slope_sd_log: float = 0.15,
        ttft_noise_sd: float = 0.25,
        tpot_noise_sd: float = 0.05,
    ) -> None:
        self.ttft = Belief(intercept_sd=prior_sd_log, slope_sd=slope_sd_log, noise_sd=ttft_noise_sd)
        self.tpot = Belief(intercept_sd=prior_sd_log, slope_sd=slope_sd_log, noise_sd=tpot_noise_sd)
        self.tail = Tail()
        self.observations = 0
        self.tokens_per_event = 0.0
        self.flow_var = 0.04
        self.in_time_started_at = NEVER
