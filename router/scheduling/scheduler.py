"""One decision: rows in, a ranking out. A pure function of request, rows, time and random numbers.

The predictor comes in from outside (`Predict`), so that this frame knows nothing of how times are estimated. The
ranking stays in its raw form until somebody reads it: `reporting` turns it into words and values.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from router.domain.policies import WorkloadClass
from router.domain.request import RequestProfile
from router.domain.rows import Forecast, Row, Shape
from router.scheduling import filters, picker
from router.scheduling.filters import Constraints
from router.scheduling.objective import Weights, score

Predict = Callable[[list[Row], Shape, dict[str, float]], list[Forecast]]


class Ranking:
    """A decision in its raw form.

    `ordered` holds the choice first, then the fallbacks as `picker.order` puts them; `dropped` a code of `filters` for
    each row.
    """

    def __init__(
        self,
        *,
        ordered: list[Forecast],
        dropped: list[tuple[Row, int, Forecast | None]],
        constraints: Constraints,
        slo_infeasible: bool,
        panic: bool,
        now: float,
    ) -> None:
        self.ordered = ordered
        self.dropped = dropped
        self.constraints = constraints
        self.slo_infeasible = slo_infeasible
        self.panic = panic
        self.now = now


def shape_of(profile: RequestProfile, workload: WorkloadClass, *, time_left_s: float) -> Shape:
    """The request in numbers: its objectives, the class's where it has none; a deadline is an end-to-end objective."""
    asked, default = profile.slo, workload.slo
    probability = asked.probability if asked.probability is not None else default.probability
    return Shape(
        input_tokens=profile.input_tokens,
        cached_tokens=min(float(profile.shared_prefix_tokens), profile.input_tokens) if profile.session_key else 0.0,
        max_output_tokens=float(profile.max_output_tokens or 1_000_000),
        expected_output_tokens=profile.expected_output_tokens or 0.0,
        ttft_slo_s=_first(asked.ttft_s, default.ttft_s),
        tpot_slo_s=_first(asked.tpot_s, default.tpot_s),
        e2e_slo_s=min(_first(asked.e2e_s, default.e2e_s), time_left_s),
        probability=probability if probability is not None else 0.9,
        batch=workload.batch,
        quality_task=profile.task,
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
    output_tokens: Callable[[str, float], float],
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
    lengths: dict[str, float] = {}
    for row in kept:
        if row.model not in lengths:
            length = shape.expected_output_tokens or output_tokens(row.model, shape.max_output_tokens)
            lengths[row.model] = min(length, shape.max_output_tokens)
    forecasts: list[Forecast] = []
    predicted = predict(kept, shape, lengths)
    _assume_unknown_prices(predicted)
    for forecast in predicted:
        if filters.over_cap(forecast, want):
            dropped.append((forecast.row, filters.COST_CAP, forecast))
            continue
        score(forecast, shape, weights)
        forecasts.append(forecast)
    if forecasts:
        forecasts = picker.order(forecasts, shape, session=profile.session_key, uniform=uniform)
    return Ranking(
        ordered=forecasts,
        dropped=dropped,
        constraints=want,
        slo_infeasible=bool(forecasts) and not forecasts[0].feasible,
        panic=panic,
        now=now,
    )


def _assume_unknown_prices(forecasts: list[Forecast]) -> None:
    """An unknown price is not zero: it counts as the worst of those that are known."""
    worst = 0.0
    unknown = False
    for forecast in forecasts:
        if not forecast.row.price_known:
            unknown = True
        elif forecast.cost_usd > worst:
            worst = forecast.cost_usd
    if unknown:
        for forecast in forecasts:
            if not forecast.row.price_known:
                forecast.cost_usd = worst


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
