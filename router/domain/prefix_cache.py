"""How servers keep prompts that they have read, and the blocks in which the router counts prompts.

A block is named by the hash of the prompt up to its end, so that equal names mean equal beginnings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

# Tokens of one block. Engines keep finer ones (16 to 64); what is saved by a block is what makes a difference.
BLOCK_TOKENS: Final = 512
# As many blocks of a prompt as are looked at: 65,536 tokens.
MAX_BLOCKS: Final = 128
# The option, of every wire, in which an operator says what a server keeps.
OPTION: Final = "prefix_cache"
OFF: Final = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixCache:
    """What one server keeps of prompts.

    `tokens`: as many; None: as many as its memory has room for beside the weights. Beginnings below `minimum_tokens`
    are not kept, and what nobody asked for in `ttl_s` seconds is gone. `slots`: the last prompt of each sequence that
    it runs at once, and nothing else. `billed`: only where its price list has a lower price for cached input. `told`:
    its usage always counts what came from the cache; otherwise none may also mean that it does not say.
    """

    tokens: float | None = None
    ttl_s: float = math.inf
    minimum_tokens: float = 0.0
    slots: bool = False
    billed: bool = False
    told: bool = False


NO_PREFIX_CACHE: Final = PrefixCache(tokens=0.0)
# A server that somebody else runs: no published service promises less, and none more.
BILLED: Final = PrefixCache(tokens=math.inf, ttl_s=300.0, minimum_tokens=1024.0, billed=True, told=True)


def configured(rule: PrefixCache, text: str) -> PrefixCache:
    """`rule` with what an operator wrote over it: "off", or "tokens=200000,ttl_s=300,minimum_tokens=1024".

    Raises:
        ValueError: neither of them.
    """
    if text == OFF:
        return NO_PREFIX_CACHE
    said: dict[str, float] = {}
    for part in text.split(","):
        name, _, amount = part.partition("=")
        if name.strip() not in {"tokens", "ttl_s", "minimum_tokens"}:
            raise ValueError(f"'{name.strip()}' is none of tokens, ttl_s, minimum_tokens")
        said[name.strip()] = float(amount)
    return replace(
        rule,
        tokens=said.get("tokens", rule.tokens),
        ttl_s=said.get("ttl_s", rule.ttl_s),
        minimum_tokens=said.get("minimum_tokens", rule.minimum_tokens),
        # Who says how much is kept speaks of tokens, and knows that there is a cache.
        slots=rule.slots and "tokens" not in said,
        billed=False,
    )
