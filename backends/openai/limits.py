"""The headers in which hosted vendors of the OpenAI chat wire say how much of their limits is left.

The names tell requests from tokens, but never alike: OpenAI's pair without a window, one triple per minute, hour and
day, a window's length in the middle of the name. A vendor that renamed its headers keeps the older ones as well.
"""

from __future__ import annotations

from typing import Literal

from backends.contract import TokensOf
from backends.signals import LimitHeaders

_MINUTE, _HOUR, _DAY, _MONTH = 60.0, 3600.0, 86_400.0, 30 * 86_400.0


def _triple(
    what: Literal["requests", "tokens"],
    name: str,
    *,
    prefix: str = "x-ratelimit",
    window_s: float | None = None,
    counts: TokensOf = "all",
) -> LimitHeaders:
    """`prefix`-limit-`name` and so on; without a name, just `prefix`-limit."""
    end = f"-{name}" if name else ""
    return LimitHeaders(
        what=what,
        limit=f"{prefix}-limit{end}",
        remaining=f"{prefix}-remaining{end}",
        reset=f"{prefix}-reset{end}",
        window_s=window_s,
        counts=counts,
    )


# OpenAI, Azure, Groq, xAI. The resets say of what window: Groq's requests are of a day, its tokens of a minute.
PAIR = (_triple("requests", "requests"), _triple("tokens", "tokens"))
OPENAI = (*PAIR, _triple("tokens", "project-tokens"))
CEREBRAS = tuple(
    _triple(what, f"{what}-{window}", window_s=length)
    for what in ("requests", "tokens")
    for window, length in (("minute", _MINUTE), ("hour", _HOUR), ("day", _DAY))
)
MISTRAL = (
    _triple("requests", "req-10-second", window_s=10.0),
    _triple("requests", "req-minute", window_s=_MINUTE),
    _triple("tokens", "tokens-minute", window_s=_MINUTE),
    _triple("tokens", "tokens-month", window_s=_MONTH),
    # Two older generations.
    _triple("tokens", "minute", prefix="x-ratelimitbysize", window_s=_MINUTE),
    _triple("tokens", "month", prefix="x-ratelimitbysize", window_s=_MONTH),
    _triple("tokens", "", prefix="ratelimitbysize"),
)
TOGETHER = (_triple("requests", ""), _triple("tokens", "", prefix="x-tokenlimit"))
FIREWORKS = (
    _triple("requests", "requests"),
    *(_triple("tokens", f"tokens-{kind}", counts="input") for kind in ("prompt", "cache-adjusted-prompt")),
    _triple("tokens", "tokens-generated", counts="output"),
)
OPENROUTER = (_triple("requests", ""),)
# The header fields of the IETF draft: parameters of one structured value.
HUGGINGFACE = (LimitHeaders(what="requests", limit="ratelimit-policy;q", remaining="ratelimit;r", reset="ratelimit;t"),)
