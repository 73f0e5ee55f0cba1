"""`prices`: what a million tokens cost on each backend, by its price and as it was paid in the last hour."""

from __future__ import annotations

import click

from router.cli.rpc import ADMIN_TIMEOUT_S, admin_address_option, connected, fleet_stub, json_option
from router.cli.show import dollars, hardware, print_message, print_table
from router.v1 import fleet_pb2 as pb

COLUMNS = (
    "backend",
    "hardware",
    "price",
    "3:1 now",
    "full",
    "paid 1h",
    "amortised 1h",
    "in:out",
    "tokens 1h",
    "trend",
    "busy",
    "g/kWh",
)
# Within this of what it was a price is called steady.
STEADY = 0.02


@click.command()
@click.argument("backend", default="")
@click.option("--backends", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many.")
@click.option("--history", is_flag=True, help="With --json: the last hour by the minute, the day by the half hour.")
@admin_address_option
@json_option
def prices(*, backend: str, backends: int, history: bool, address: str, as_json: bool) -> None:
    """Shows dollars per million tokens of every backend, or of one BACKEND, over the last hour of this router.

    \b
    3:1 now    what routing counts for three input tokens to one output token, as busy as it is now
    full       the same with every slot taken and the whole rent counted
    paid       what was billed, or routed on, for the tokens as they came
    amortised  the same with the idle time of owned hardware paid by those who used it
    trend      paid in the last quarter of an hour over paid before; g/kWh with ~ is the world's mean
    """  # noqa: D301 - click takes the escaped character as "do not wrap"
    if history and not as_json:
        raise click.UsageError("--history is for --json")
    with connected(address, as_json=as_json) as channel:
        request = pb.ListTokenPricesRequest(backend=backend, backends=backends, history=history)
        response = fleet_stub(channel).ListTokenPrices(request, timeout=ADMIN_TIMEOUT_S)
    if as_json:
        print_message(response)
        return
    if backend and not response.backends:
        raise click.ClickException(f"no backend is called '{backend}'")
    print_table(
        f"Dollars per million tokens, as {response.replica} served ({len(response.backends)} of"
        f" {response.backend_count} backends, most tokens first)",
        COLUMNS,
        [_row(line) for line in response.backends],
        right=",".join(COLUMNS[3:]),
    )


def _row(line: pb.TokenPrice) -> list[str]:
    tokens = line.input_tokens + line.output_tokens
    mix = f"{line.input_tokens / line.output_tokens:.1f}:1" if line.output_tokens else "-"
    return [
        line.backend,
        hardware(line.hardware),
        line.price or "unknown",
        *(
            dollars(getattr(line, name)) if line.HasField(name) else "-"
            for name in ("usd_per_mtok_blended", "usd_per_mtok_full", "usd_per_mtok_paid", "usd_per_mtok_amortised")
        ),
        mix if tokens else "-",
        f"{tokens:,}" if tokens else "-",
        _trend(line),
        f"{line.utilisation:.0%}",
        f"{'' if line.grid_known else '~'}{line.g_per_kwh:.0f}",
    ]


def _trend(line: pb.TokenPrice) -> str:
    if not line.HasField("trend"):
        return "-"
    change = line.trend - 1.0
    return "steady" if abs(change) < STEADY else f"{change:+.0%}"
