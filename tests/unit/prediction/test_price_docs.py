"""The worked example of docs/prices.md, computed by the code that decides and bills."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from router.domain.price_tiers import PriceTier
from router.domain.pricing import Price
from router.prediction import money
from router.prediction.energy import energy_j
from router.prediction.sharing import replica_seconds
from tests.unit.prediction.rows import make_row

DOCS = Path(__file__).parents[3] / "docs" / "prices.md"
BATCH = 256
STEP_S = BATCH / 3821.0
OUTPUT = 500.0


def figures(row: str) -> list[float]:
    """The numbers of a row of the example's tables, the last cell's only."""
    example = DOCS.read_text("utf-8").partition("## A worked example")[2].partition("\n## ")[0]
    line = next(line for line in example.splitlines() if line.startswith(f"| {row}"))
    return [float(text.replace(",", "")) for text in re.findall(r"\d[\d,]*\.?\d*", line.split("|")[2])]


@pytest.mark.parametrize(
    ("row", "position"),
    [("theta", -1), ("rent", 3), ("amortised at 30 %", 0), ("energy", -1), ("marginal", -1), ("cost", -1),
     ("as spot", -1), ("carbon", 0)],
)  # fmt: skip
def test_the_example_of_owned_hardware_is_what_the_code_says(row: str, position: int) -> None:
    """Every figure that the documentation shows of a request on a rented H100 is recomputed, to the digits shown."""
    price = Price(
        backend="a", usd_per_hour=2.95, elastic_fraction=0.1, electricity_usd_per_kwh=0.12, preemptions_per_hour=0.2
    )
    h100 = make_row(price, max_concurrency=BATCH, g_per_kwh=430.0)
    h100.live.utilisation = 0.3
    others = BATCH - 1.0
    theta = replica_seconds(h100, 0.0, OUTPUT, STEP_S, others)
    rent = money.rent_usd(h100, 0.0, OUTPUT, STEP_S, others)
    joules = energy_j(h100, 0.0, OUTPUT, STEP_S, others)
    cost = money.owned_usd(h100, rent, joules)
    computed = {
        "theta": theta,
        "rent": rent,
        "amortised at 30 %": money.amortised_usd(h100, rent),
        "energy": joules,
        "marginal": joules * h100.usd_per_joule,
        "cost": cost,
        "as spot": money.preemption_odds(h100, 34.0) * cost,
        "carbon": joules * h100.grid.g_per_joule,
    }

    assert figures(row)[position] == pytest.approx(computed[row], rel=5e-3)


def test_the_example_per_million_tokens_is_what_the_code_says() -> None:
    """$0.214 with every slot taken, $0.715 when it works three tenths of the time."""
    h100 = make_row(Price(backend="a", usd_per_hour=2.95), max_concurrency=BATCH)
    h100.live.utilisation = 0.3
    rent = money.rent_usd(h100, 0.0, 1e6, STEP_S, BATCH - 1.0)

    assert figures("rent")[-1] == pytest.approx(rent, abs=5e-4)
    assert figures("amortised at 30 %")[-1] == pytest.approx(money.amortised_usd(h100, rent), abs=5e-4)


def test_the_example_of_tiers_is_what_the_code_says() -> None:
    """Long prompts, a cheaper service, and the same request without its cached part."""
    api = make_row(
        Price(
            backend="a",
            input_usd_per_mtok=1.25,
            cached_input_usd_per_mtok=0.125,
            output_usd_per_mtok=10.0,
            tiers=(
                PriceTier(above_tokens=200_000, input_usd_per_mtok=2.5, output_usd_per_mtok=15.0),
                PriceTier(service="flex", factor=0.5),
            ),
        )
    )

    def usd(service: str, cached: float) -> float:
        return money.tokens_usd(api, service, fresh=150e3, cached=cached, written=0.0, output=1e3)

    assert figures("standard")[-1] == pytest.approx(usd("", 100e3))
    assert figures("flex")[-1] == pytest.approx(usd("flex", 100e3))
    assert figures("150,000 tokens in all")[-1] == pytest.approx(usd("", 0.0))
