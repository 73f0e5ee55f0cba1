"""prices.yaml: what backends cost when the state store is new; the admin API changes prices later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Annotated, ClassVar

from pydantic import BeforeValidator

from router.domain.pricing import Price
from router.settings.strict import Problem, Share, Strict, Usd, UsdPerHour, UsdPerKwh, UsdPerMtok, nearest, shown
from router.settings.yaml_text import Document

_PRICE = Price(backend="")


def _unix(value: object) -> object:
    """A date or time of YAML (UTC unless it says otherwise), or Unix seconds."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"expected a date such as 2026-11-01, got {shown(value)}") from None
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    raise ValueError(f"expected a date such as 2026-11-01, got {shown(value)}")


Moment = Annotated[float | None, BeforeValidator(_unix)]


class PriceEntry(Strict):
    """One price, of a backend or of one model on it."""

    synonyms: ClassVar = {
        "input": "input_usd_per_mtok",
        "output": "output_usd_per_mtok",
        "cached": "cached_input_usd_per_mtok",
        "hourly": "usd_per_hour",
    }

    backend: str
    model: str = ""
    input_usd_per_mtok: UsdPerMtok | None = None
    cached_input_usd_per_mtok: UsdPerMtok | None = None
    cache_write_usd_per_mtok: UsdPerMtok | None = None
    output_usd_per_mtok: UsdPerMtok | None = None
    request_usd: Usd | None = None
    usd_per_hour: UsdPerHour | None = None
    elastic_fraction: Share = _PRICE.elastic_fraction
    electricity_usd_per_kwh: UsdPerKwh = _PRICE.electricity_usd_per_kwh
    batch_discount: Share = _PRICE.batch_discount
    source: str = _PRICE.source
    effective_at: Moment = None
    expires_at: Moment = None


class PricesFile(Strict):
    prices: list[PriceEntry]


def contradictions(price: Price) -> Iterator[tuple[str, str]]:
    """The rules between the fields of one price that it breaks, each as (field or "", what is wrong)."""
    if not price.known:
        yield "", "needs one of usd_per_hour, output_usd_per_mtok and request_usd"
    per_token = (price.input_usd_per_mtok, price.output_usd_per_mtok)
    if price.usd_per_hour is not None and any(amount is not None for amount in per_token):
        yield "usd_per_hour", "a price is per hour or per token, not both"
    elif (price.input_usd_per_mtok is None) != (price.output_usd_per_mtok is None):
        yield "", "input_usd_per_mtok and output_usd_per_mtok go together"
    if price.effective_at is not None and price.expires_at is not None and price.expires_at <= price.effective_at:
        yield "expires_at", "must be after effective_at"


def build_prices(
    parsed: PricesFile,
    document: Document,
    served: Mapping[str, frozenset[str]],
    problems: list[Problem],
    *,
    file: str = "prices.yaml",
) -> list[Price]:
    """Every price; `served` is the models of every backend that fleet.yaml names, skipped ones too."""
    prices: list[Price] = []
    seen: dict[tuple[str, str], int] = {}
    for index, entry in enumerate(parsed.prices):
        path = f"prices[{index}]"

        def wrong(field: str, what: str, path: str = path) -> None:
            where = f"{path}.{field}" if field else path
            problems.append(Problem(file, where, what, document.lines.get(where, document.lines.get(path, 0))))

        price = Price(**entry.model_dump())
        if entry.backend not in served:
            wrong("backend", f"unknown backend '{entry.backend}'{nearest(entry.backend, served)}")
        elif entry.model and entry.model not in served[entry.backend]:
            near = nearest(entry.model, served[entry.backend])
            wrong("model", f"backend '{entry.backend}' does not serve '{entry.model}'{near}")
        for field, what in contradictions(price):
            wrong(field, what)
        key = (entry.backend, entry.model)
        if key in seen:
            wrong("", f"the same backend and model as prices[{seen[key]}]")
        seen.setdefault(key, index)
        prices.append(price)
    return prices
