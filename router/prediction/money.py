"""Dollars of a request: what is billed, what owned hardware costs, and what it costs the others in the batch.

A forecast and the bill after the fact are made by the same functions; docs/prices.md explains each term.
"""

from __future__ import annotations

import math
from typing import Final

from router.domain.rows import Forecast, Row, Shape
from router.prediction.energy import energy_j
from router.prediction.sharing import replica_seconds, slowed_s

UTILISATION_FLOOR: Final = 0.05
# Beyond so many expected preemptions nothing changes any more: nobody would run there.
MOST_PREEMPTIONS: Final = 20.0


class Bill:
    """What one attempt has really cost: dollars, joules at the wall, grams of CO2 equivalent."""

    def __init__(self, *, cost_usd: float, amortised_usd: float, energy_j: float, carbon_g: float) -> None:
        self.cost_usd = cost_usd
        self.amortised_usd = amortised_usd
        self.energy_j = energy_j
        self.carbon_g = carbon_g


def price(out: Forecast, shape: Shape, *, fresh: float, batch: float, output_p90: float) -> None:
    """Fills in the money, energy and carbon of a forecast; `fresh` are the prompt tokens that no cache holds."""
    row = out.row
    out.service = shape.service
    out.fresh_tokens = fresh
    output, tpot, pace = out.output_tokens, out.tpot_s, out.prefill_pace
    longest = max(output_p90, output)
    out.energy_j = energy_j(row, fresh, output, tpot, batch, pace)
    out.carbon_g = out.energy_j * row.grid.g_per_joule
    if row.per_hour:
        rent = rent_usd(row, fresh, output, tpot, batch, pace)
        out.cost_amortised_usd = amortised_usd(row, rent)
        out.cost_marginal_usd = out.energy_j * row.usd_per_joule
        out.rent_usd = rent
        out.cost_usd = owned_usd(row, rent, out.energy_j)
        longest_j = energy_j(row, fresh, longest, tpot, batch, pace)
        out.cost_p90_usd = owned_usd(row, rent_usd(row, fresh, longest, tpot, batch, pace), longest_j)
    else:
        cached = max(0.0, shape.input_tokens - fresh)
        out.cost_usd = tokens_usd(row, shape.service, fresh=fresh, cached=cached, written=0.0, output=output)
        out.cost_p90_usd = tokens_usd(row, shape.service, fresh=fresh, cached=cached, written=0.0, output=longest)
        out.cost_marginal_usd = out.cost_usd
        out.cost_amortised_usd = out.cost_usd
    if row.preemptions_per_s > 0.0:
        odds = preemption_odds(row, out.e2e_s)
        out.preemption_usd = odds * (out.cost_usd + row.restart_usd)
        out.cost_usd += out.preemption_usd
        out.cost_p90_usd += odds * (out.cost_p90_usd + row.restart_usd)
    context = shape.input_tokens + 0.5 * output
    out.slowed_s = slowed_s(
        row, context_tokens=context, fresh=fresh, output_tokens=output, batch=batch, prefill_pace=pace
    )


def bill(out: Forecast, *, prompt: int, cached: int, written: int, output: int, tpot_s: float) -> Bill:
    """What was really used, by the rules of its forecast.

    Of `prompt` tokens `cached` were read from a cache and `written` to one; counts that contradict each other are cut
    to what fits. The risk of a preemption is no part of it: a preempted attempt has a bill of its own.
    """
    row = out.row
    read = float(max(0, cached))
    fresh = max(0.0, prompt - read)
    energy = energy_j(row, fresh, output, tpot_s, out.batch, out.prefill_pace)
    if row.per_hour:
        rent = rent_usd(row, fresh, output, tpot_s, out.batch, out.prefill_pace)
        cost, amortised = owned_usd(row, rent, energy), amortised_usd(row, rent)
    else:
        kept = min(float(max(0, written)), fresh)
        cost = tokens_usd(row, out.service, fresh=fresh - kept, cached=read, written=kept, output=output)
        amortised = cost
    return Bill(cost_usd=cost, amortised_usd=amortised, energy_j=energy, carbon_g=energy * row.grid.g_per_joule)


def tokens_usd(row: Row, service: str, *, fresh: float, cached: float, written: float, output: float) -> float:
    """What is billed by the token: `fresh`, `cached` and `written` make up the prompt, whose length picks the rate."""
    if not service and not row.has_context_tiers:
        prompt = fresh * row.input_usd + cached * row.cached_usd + written * row.cache_write_usd
        return prompt + output * row.output_usd + row.request_usd
    rate = row.rate(service, fresh + cached + written)
    prompt = fresh * rate.input_usd + cached * rate.cached_usd + written * rate.cache_write_usd
    return prompt + output * rate.output_usd + row.request_usd


def rent_usd(
    row: Row, fresh: float, output_tokens: float, tpot_s: float, batch: float, prefill_pace: float = 1.0
) -> float:
    """Rent of the request's replica-seconds."""
    return row.usd_per_s * replica_seconds(row, fresh, output_tokens, tpot_s, batch, prefill_pace)


def amortised_usd(row: Row, rent: float) -> float:
    """Rent with its part of the time in which nobody used the backend: together its users pay the whole rent."""
    return rent / max(UTILISATION_FLOOR, row.live.utilisation)


def owned_usd(row: Row, rent: float, energy: float) -> float:
    """What a request on owned hardware costs: the elastic share of its rent, and for the rest its electricity.

    Rent is not divided by utilisation here, unlike the amortised cost that is reported: idle backends would look dear,
    stay idle and look dearer still.
    """
    return row.elastic * rent + (1.0 - row.elastic) * energy * row.usd_per_joule


def preemption_odds(row: Row, seconds: float) -> float:
    """How often a request is done again, pi / (1 - pi), where pi is the chance of a preemption within `seconds`."""
    return math.expm1(min(MOST_PREEMPTIONS, row.preemptions_per_s * seconds))
