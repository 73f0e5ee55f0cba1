"""Log-probabilities of both endpoints in one form."""

from __future__ import annotations

from collections.abc import Iterator

from backends.contract import TokenLogprob
from backends.openai.wire import Logprobs


def token_logprobs(wire: Logprobs) -> Iterator[TokenLogprob]:
    """Chat sends a list of entries, completions send parallel lists whose first values may be null."""
    for entry in wire.content or ():
        yield TokenLogprob(
            token=entry.token,
            logprob=entry.logprob,
            bytes=_bytes(entry.bytes),
            top=tuple(
                TokenLogprob(token=top.token, logprob=top.logprob, bytes=_bytes(top.bytes))
                for top in entry.top_logprobs or ()
            ),
        )
    tops = wire.top_logprobs or []
    values = wire.token_logprobs or []
    for position, token in enumerate(wire.tokens or ()):
        value = values[position] if position < len(values) else None
        if value is None:
            continue
        top = (tops[position] if position < len(tops) else None) or {}
        yield TokenLogprob(
            token=token,
            logprob=value,
            top=tuple(TokenLogprob(token=name, logprob=logprob) for name, logprob in top.items()),
        )


def _bytes(values: list[int] | None) -> tuple[int, ...] | None:
    return None if values is None else tuple(values)
