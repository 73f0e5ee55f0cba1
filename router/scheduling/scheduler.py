"""One decision: rows in, a ranking out. A pure function of request, rows, time and random numbers.

The predictor comes in from outside (`Predict`), so that this frame knows nothing of how times are estimated. The
ranking stays in its raw form until somebody reads it: `reporting` turns it into words and values.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from router.domain.length import Length
from router.domain.policies import WorkloadClass
from router.domain.request import RequestProfile
from router.domain.rows import Forecast, Row, Shape
from router.scheduling import filters, picker
from router.scheduling.filters import Constraints
from router.scheduling.objective import Weights, score

# How likely an objective has to be met where neither request nor class says: who sets a deadline throws away what comes
# later, so that one has to be surer.
PROBABILITY: Final = 0.9
DEADLINE_PROBABILITY: Final = 0.95

Predict = Callable[[list[Row], Shape, dict[str, Length]], list[Forecast]]


class Ranking:
    """A decision in its raw form.

    `ordered` holds the choice first, then the fallbacks as `picker.order` puts them; `dropped` a code of `filters` for
    each row; `shape` is what they were predicted and scored for. `partial`: of a large fleet, only those that were
    looked at (`dispatch.large`) are in either. `candidates` and `drops` are how many there are, about, where partial.
    """

    def __init__(
        self,
        *,
        ordered: list[Forecast],
        dropped: list[tuple[Row, int, Forecast | None]],
        constraints: Constraints,
        shape: Shape,
        slo_infeasible: bool,
        panic: bool,
        now: float,
    ) -> None:
        self.ordered = ordered
        self.dropped = dropped
        self.constraints = constraints
        self.shape = shape
        self.slo_infeasible = slo_infeasible
        self.panic = panic
        self.now = now
        self.partial = False
        self.candidates = len(ordered)
        self.drops = len(dropped)


def shape_of(
    profile: RequestProfile,
    workload: WorkloadClass,
    *,
    time_left_s: float,
    now: float = 0.0,
    state_age_s: float = 0.0,
    money_multiplier: float = 1.0,
    explore: bool = False,
) -> Shape:
    """The request in numbers: its objectives, the class's where it has none; a deadline is an end-to-end objective.

    A probability that the request names holds for all its objectives, the deadline included, unless it names another
    for one of them.
    """
    asked, default = profile.slo, workload.slo
    probability = default.probability if default.probability is not None else PROBABILITY
    ttft, tpot, e2e = default.ttft_probability, default.tpot_probability, default.e2e_probability
    e2e_slo_s = _first(asked.e2e_s, default.e2e_s)
    if time_left_s < e2e_slo_s and e2e is None:
        e2e = max(probability, DEADLINE_PROBABILITY)
    if asked.probability is not None:
        probability = asked.probability
        ttft, tpot, e2e = asked.ttft_probability, asked.tpot_probability, asked.e2e_probability
    headroom = default.headroom if asked.probability is None else asked.headroom
    return Shape(
        input_tokens=profile.input_tokens,
        cached_tokens=min(float(profile.shared_prefix_tokens), profile.input_tokens) if profile.session_key else 0.0,
        max_output_tokens=float(profile.max_output_tokens or 1_000_000),
        expected_output_tokens=profile.expected_output_tokens or 0.0,
        ttft_slo_s=_first(asked.ttft_s, default.ttft_s),
        tpot_slo_s=_first(asked.tpot_s, default.tpot_s),
        e2e_slo_s=min(e2e_slo_s, time_left_s),
        probability=probability,
        batch=workload.batch,
        quality_task=profile.task,
        service_tier=profile.service_tier or workload.service_tier,
        ttft_probability=probability if ttft is None else ttft,
        tpot_probability=probability if tpot is None else tpot,
        e2e_probability=probability if e2e is None else e2e,
        headroom=headroom if headroom is not None else math.inf,
        money_multiplier=money_multiplier,
        explore=explore,
        now=now,
        state_age_s=state_age_s,
        tenant=profile.tenant,
        workload=workload.name,
        seed=profile.session_key or (f"{profile.blocks[0]:x}" if profile.blocks else ""),
    )


def _first(asked: float | None, default: float | None) -> float:
    """The limit that holds; infinite when there is none."""
    if asked is not None:
        return asked
    return default if default is not None else math.inf


def rank(
    rows: list[Row],
    profile: RequestProfile,
    shape: Shape,
    weights: Weights,
    *,
    predict: Predict,
    length_of: Callable[[str, Shape], Length],
    uniform: Callable[[], float],
    now: float,
    avoid: frozenset[str] = frozenset(),
) -> Ranking:
    """Filters, predicts, scores and orders `rows`. `avoid` are backends that this request has already tried."""
    want = Constraints(profile, avoid=avoid)
    panic = False
    kept, dropped, sick = _sift(rows, want, now, ignore_health=False)
    if not kept and sick:
        # Never shut out the last backends that could serve: a probe may be wrong, and refusing helps nobody.
        kept, dropped, _ = _sift(rows, want, now, ignore_health=True)
        panic = bool(kept)
    lengths: dict[str, Length] = {}
    for row in kept:
        if row.model not in lengths:
            lengths[row.model] = length_of(row.model, shape)
    forecasts: list[Forecast] = []
    predicted = predict(kept, shape, lengths)
    for forecast in predicted:
        if filters.over_cap(forecast, want):
            dropped.append((forecast.row, filters.COST_CAP, forecast))
            continue
        score(forecast, shape, weights)
        forecasts.append(forecast)
    if forecasts:
        forecasts = picker.order(forecasts, shape, session=shape.seed, uniform=uniform)
    return Ranking(
        ordered=forecasts,
        dropped=dropped,
        constraints=want,
        shape=shape,
        slo_infeasible=bool(forecasts) and not forecasts[0].feasible,
        panic=panic,
        now=now,
    )


def _sift(
    rows: list[Row], want: Constraints, now: float, *, ignore_health: bool
) -> tuple[list[Row], list[tuple[Row, int, Forecast | None]], bool]:
    kept: list[Row] = []
    dropped: list[tuple[Row, int, Forecast | None]] = []
    sick = False
    for row in rows:
        code = filters.check(row, want, now, ignore_health=ignore_health)
        if code == filters.KEEP:
            kept.append(row)
        else:
            dropped.append((row, code, None))
            sick = sick or code in {filters.HEALTH, filters.CIRCUIT_OPEN}
    return kept, dropped, sick
