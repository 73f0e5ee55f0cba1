"""Settings that every gRPC family of text prompts has."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from backends.chat_templates.sources import HELP, PATTERN
from backends.wire import Option

SCHEMES = frozenset({"http", "https", "grpc", "grpcs"})
DEFAULT_MAX_TOKENS = 1024
OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        "chat_template": Option(help=HELP, pattern=PATTERN, required=True),
        "bos": Option(
            help="who puts the first token before a prompt: server (the default; its tokenizer does) or prompt",
            pattern=r"server|prompt",
        ),
        "default_max_tokens": Option(
            help=f"tokens where a request sets no limit; {DEFAULT_MAX_TOKENS} if unset", pattern=r"[1-9]\d{0,6}"
        ),
        "metrics_url": Option(help="the whole URL of its Prometheus metrics, http or https", pattern=r"https?://\S+"),
        "ca_file": Option(help="a file of PEM certificates to trust"),
    }
)


def default_max_tokens(options: Mapping[str, str]) -> int:
    return int(options.get("default_max_tokens", DEFAULT_MAX_TOKENS))
