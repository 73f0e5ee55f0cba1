"""Rows of service tiers and long prompts from the price list that genai-prices comes with."""

from __future__ import annotations

import httpx

from router.domain.fleet import Backend, ServedModel
from router.domain.price_feed import FeedKind, FeedSettings
from router.domain.price_rules import contradictions
from router.domain.price_tiers import PriceTier
from router.domain.pricing import Price
from router.feeds.build import build_feeds
from router.feeds.contract import Quote


async def quotes(wire: str, profile: str, *models: str) -> dict[str, Quote]:
    """What the list that the package came with says of models, by name."""
    backend = Backend(
        id="b",
        wire=wire,
        profile=profile,
        address="https://b.example",
        models=tuple(ServedModel(model=model) for model in models),
    )
    settings = FeedSettings(name="list", kind=FeedKind.GENAI_PRICES, refresh=False, timeout_s=20.0)
    async with httpx.AsyncClient() as client:
        (feed,) = build_feeds([settings], client=client, secret=lambda _: None, backends=lambda: [backend])
        return {quote.model: quote for quote in await feed.fetch()}


async def test_long_prompts_have_their_own_row() -> None:
    """Gemini 1.5 Pro is twice as dear beyond 128,000 tokens, Claude Sonnet 4.5 beyond 200,000, its cache included."""
    gemini = (await quotes("gemini", "gemini", "gemini-1.5-pro"))["gemini-1.5-pro"]
    claude = (await quotes("anthropic", "anthropic", "claude-sonnet-4-5"))["claude-sonnet-4-5"]

    assert gemini.tiers is not None
    assert PriceTier(above_tokens=128_000, input_usd_per_mtok=2.5, output_usd_per_mtok=10.0) in gemini.tiers
    assert claude.tiers is not None
    long = next(tier for tier in claude.tiers if tier.key == ("", 200_000))
    assert (long.input_usd_per_mtok, long.cached_input_usd_per_mtok, long.output_usd_per_mtok) == (6.0, 0.6, 22.5)


async def test_services_have_their_own_rows() -> None:
    """GPT-4o has a priority price, GPT-5 a flex price too, and both a batch price."""
    found = await quotes("openai_chat", "openai", "gpt-4o", "gpt-5")

    services = {name: {tier.service for tier in quote.tiers or ()} for name, quote in found.items()}
    assert services == {"gpt-4o": {"batch", "priority"}, "gpt-5": {"batch", "flex", "priority"}}
    priority = next(tier for tier in found["gpt-4o"].tiers or () if tier.service == "priority")
    assert (priority.input_usd_per_mtok, priority.output_usd_per_mtok) == (4.25, 17.0)


async def test_every_listed_row_keeps_the_rules_of_a_price() -> None:
    """What the list says is a price that may be written."""
    for quote in (await quotes("openai_chat", "openai", "gpt-4", "gpt-4o", "gpt-4o-mini", "gpt-5")).values():
        price = Price(
            backend="b",
            input_usd_per_mtok=quote.input_usd_per_mtok,
            output_usd_per_mtok=quote.output_usd_per_mtok,
            tiers=quote.tiers or (),
        )
        assert list(contradictions(price)) == []
