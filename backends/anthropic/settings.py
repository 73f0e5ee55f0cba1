"""What an operator may set for one backend of this wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from backends.wire import Option

# The wire wants a bound in every request; this one every model of the vendor takes.
DEFAULT_MAX_TOKENS = 8192

OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        "max_tokens": Option(
            help="max_tokens of a request whose caller gives none: a whole number above 0, "
            f"{DEFAULT_MAX_TOKENS} if unset",
            pattern=r"[1-9][0-9]{0,6}",
        ),
        "thinking": Option(
            help="how reasoning_effort is said: adaptive (models from 4.6 on; the default), budget (older ones: "
            "a number of tokens) or effort (output_config.effort alone)",
            pattern="adaptive|budget|effort",
        ),
        "cache": Option(
            help="auto marks the end of the system prompt and the tools for the vendor's prompt cache, "
            "whose writes cost extra; off if unset",
            pattern="auto|off",
        ),
        "beta": Option(
            help="names for the anthropic-beta header, separated by commas", pattern=r"[\w.-]+(?:,[\w.-]+)*"
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of one backend, read."""

    max_tokens: int = DEFAULT_MAX_TOKENS
    thinking: str = "adaptive"
    is_caching: bool = False
    beta: str = ""

    @classmethod
    def read(cls, options: Mapping[str, str]) -> Settings:
        """Options that `OPTIONS` has let pass."""
        return cls(
            max_tokens=int(options.get("max_tokens", DEFAULT_MAX_TOKENS)),
            thinking=options.get("thinking", "adaptive"),
            is_caching=options.get("cache", "off") == "auto",
            beta=options.get("beta", ""),
        )

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        return ((b"anthropic-beta", self.beta.encode()),) if self.beta else ()
