"""Dollars of a request: what is billed, what owned hardware costs, and what it costs the others in the batch."""

from __future__ import annotations

from typing import Final

from router.domain.rows import Forecast, Row, Shape
from router.prediction.energy import energy_j
from router.prediction.sharing import replica_seconds

UTILISATION_FLOOR: Final = 0.05


def price(out: Forecast, shape: Shape, *, fresh: float, batch: float, output_p90: float) -> None:
    """Fills in the money and energy of a forecast; `fresh` are the prompt tokens that no cache holds."""
    row = out.row
    out.energy_j = energy_j(row, fresh, out.output_tokens, out.tpot_s, batch)
    if row.per_hour:
        longest = max(output_p90, out.output_tokens)
        energy_p90 = energy_j(row, fresh, longest, out.tpot_s, batch)
        rent = rent_usd(row, fresh, out.output_tokens, out.tpot_s, batch)
        out.cost_amortised_usd = rent / max(UTILISATION_FLOOR, row.live.utilisation)
        out.cost_marginal_usd = out.energy_j * row.usd_per_joule
        out.cost_usd = owned_usd(row, rent, out.energy_j)
        out.cost_p90_usd = owned_usd(row, rent_usd(row, fresh, longest, out.tpot_s, batch), energy_p90)
    else:
        factor = 1.0 - row.batch_discount if shape.batch else 1.0
        out.price_factor = factor
        prompt = fresh * row.input_usd + shape.cached_tokens * row.cached_usd
        out.cost_usd = factor * (prompt + out.output_tokens * row.output_usd) + row.request_usd
        out.cost_p90_usd = factor * (prompt + max(output_p90, out.output_tokens) * row.output_usd) + row.request_usd
        out.cost_marginal_usd = out.cost_usd
        out.cost_amortised_usd = out.cost_usd
    # What this request costs the others in its batch, in user-seconds: slower steps, and a prefill in between.
    slope = row.speed.sequence_s + row.speed.context_s * (fresh + 0.5 * out.output_tokens)
    out.slowed_s = batch * (slope * out.output_tokens + 0.5 * row.speed.prefill_token_s * fresh)


def rent_usd(row: Row, fresh: float, output_tokens: float, tpot_s: float, batch: float) -> float:
    """Rent of the request's replica-seconds."""
    return row.usd_per_s * replica_seconds(row, fresh, output_tokens, tpot_s, batch)


def owned_usd(row: Row, rent: float, energy: float) -> float:
    """What a request on owned hardware costs: the elastic share of its rent, and for the rest its electricity.

    Rent is not divided by utilisation here, unlike the amortised cost that is reported: idle backends would look dear,
    stay idle and look dearer still.
    """
    return row.elastic * rent + (1.0 - row.elastic) * energy * row.usd_per_joule
