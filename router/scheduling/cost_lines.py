"""What the dollars of a forecast are made of, for people: made when somebody reads a decision, never to take it."""

from __future__ import annotations

from router.domain.rows import Forecast


def cost_lines(forecast: Forecast) -> tuple[tuple[str, float], ...]:
    """The cost line by line, in dollars; the lines add up to `cost_usd` where the price is known."""
    row = forecast.row
    if row.per_hour:
        lines = [
            ("rent", row.elastic * forecast.rent_usd),
            ("electricity", (1.0 - row.elastic) * forecast.energy_j * row.usd_per_joule),
        ]
    else:
        cached = max(0.0, forecast.input_tokens - forecast.fresh_tokens)
        rate = row.rate(forecast.service, forecast.fresh_tokens + cached)
        lines = [
            ("input", forecast.fresh_tokens * rate.input_usd),
            ("cached_input", cached * rate.cached_usd),
            ("output", forecast.output_tokens * rate.output_usd),
            ("request", row.request_usd),
        ]
    lines.append(("preemption", forecast.preemption_usd))
    return tuple([line for line in lines if line[1] != 0.0])
