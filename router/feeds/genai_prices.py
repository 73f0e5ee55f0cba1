"""List prices of hosted models, from the catalogue of the package genai-prices; the least of all sources.

Which provider a backend is follows from its wire and profile, or from its address. With `refresh` the package's newest
data is fetched each time, and without a network the data that the package came with may still confirm prices, or be the
first; without `refresh` that data is all. Emulated backends have no list price: nobody is billed for them. Work is done
by `genai_lookup`, a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import structlog

from router.clock import Clock
from router.domain.fleet import Backend
from router.domain.price_feed import FeedSettings
from router.domain.price_tiers import PriceTier
from router.domain.pricing import Source
from router.feeds.contract import FeedFailed, NothingToAsk, Quote

log = structlog.get_logger(__name__)
HOSTED = "hosted"
PROGRAM = Path(__file__).with_name("genai_lookup.py")
# Wires of one provider, where the hardware is hosted: the same wire may be spoken by an engine of one's own.
PROVIDERS_OF_WIRES = {"anthropic": "anthropic", "gemini": "google", "bedrock": "aws"}
# The providers whose dialects have profiles of their own; the address decides of the others.
PROVIDERS = {
    "openai": "openai",
    "azure": "azure",
    "azure_v1": "azure",
    "groq": "groq",
    "cerebras": "cerebras",
    "together": "together",
    "fireworks": "fireworks",
    "mistral": "mistral",
    "deepseek": "deepseek",
    "openrouter": "openrouter",
    "xai": "x-ai",
}
_NUMBERS = (
    "input_usd_per_mtok",
    "cached_input_usd_per_mtok",
    "cache_write_usd_per_mtok",
    "output_usd_per_mtok",
    "request_usd",
    "batch_discount",
)


class GenaiPricesFeed:
    """`backends` are those of the fleet as it is when the feed is read."""

    source_kind = Source.CATALOGUE

    def __init__(
        self,
        settings: FeedSettings,
        *,
        backends: Callable[[], Iterable[Backend]],
        clock: Clock,
        program: Path = PROGRAM,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._backends = backends
        self._program = program
        self._refusal = ""

    async def fetch(self) -> Sequence[Quote]:
        asked = list(questions(self._backends(), self.settings.backends))
        if not asked:
            raise NothingToAsk
        answer = await self._ask(
            {
                "at": self._clock.time(),
                "timeout_s": math.ceil(self.settings.timeout_s),
                "url": self.settings.url,
                "refresh": self.settings.refresh,
                "asked": [[provider, url, upstream] for _, _, provider, url, upstream in asked],
            }
        )
        if answer["error"] != self._refusal:
            self._refusal = answer["error"]
            log.info("price_list_fetched", feed=self.settings.name, error=self._refusal)
        state = "today's" if answer["refreshed"] else "as released"
        is_second_best = self.settings.refresh and not answer["refreshed"]
        quotes = [
            Quote(
                backend=backend,
                model=model,
                **{name: found.get(name) for name in _NUMBERS},
                tiers=tuple(PriceTier(**tier) for tier in found["tiers"]),
                source=f"genai-prices {answer['version']}, {state}: {found['name']}",
                fallback=is_second_best,
            )
            for (backend, model, *_), found in zip(asked, answer["found"], strict=True)
            if found is not None
        ]
        if not quotes:
            raise FeedFailed("the list has a price of none of the models of the fleet")
        return quotes

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The program's answer; the program ends with this call, however that ends."""
        # -P: the folder of the program has modules with the names of packages.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", str(self._program)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            out, err = await process.communicate(json.dumps(request).encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            last = err.decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise FeedFailed(f"looking prices up failed: {last[:200] or f'exit status {process.returncode}'}")
        answer: dict[str, Any] = json.loads(out)
        return answer


def questions(backends: Iterable[Backend], only: Sequence[str]) -> Iterable[tuple[str, str, str, str, str]]:
    """(backend, model, provider or "", base URL, the provider's name of the model) of all that may be in the list."""
    for backend in backends:
        if backend.emulated or (only and backend.id not in only):
            continue
        provider = PROVIDERS.get(backend.profile, "")
        if backend.hardware == HOSTED:
            provider = PROVIDERS_OF_WIRES.get(backend.wire, provider)
        if provider or backend.address.startswith("https://"):
            for served in backend.models:
                yield backend.id, served.model, provider, backend.address, served.name_upstream
