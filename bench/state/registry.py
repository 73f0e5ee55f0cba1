"""Every row, in the order of the table."""

from __future__ import annotations

from bench.state.row import Row
from bench.state.rows import killed, limits, linearisable, outage, price_change, scale, skew, soak, wiped

ROWS: tuple[Row, ...] = (
    *price_change.ROWS,
    *outage.ROWS,
    *wiped.ROWS,
    *killed.ROWS,
    *linearisable.ROWS,
    *scale.ROWS,
    *limits.ROWS,
    *skew.ROWS,
    *soak.ROWS,
)
