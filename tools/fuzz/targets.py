"""What is fuzzed, by name: the check, how its streams come apart, and which wires show what they look like."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from tools.fuzz.blocks import EVENT_STREAM, NDJSON, SSE, Framing, mutate
from tools.fuzz.families import check_family
from tools.fuzz.framing import check_event_stream, check_ndjson, check_sse

_FRAMED_AS = {
    "openai_chat": SSE,
    "anthropic": SSE,
    "gemini": SSE,
    "replicate": SSE,
    "ollama": NDJSON,
    "bedrock": EVENT_STREAM,
    "sagemaker": EVENT_STREAM,
}


@dataclass(frozen=True, slots=True)
class Target:
    """`check` takes bytes whose first decides how the rest, a stream, is cut; it raises if something does not hold."""

    name: str
    check: Callable[[bytes], None]
    framing: Framing
    wires: frozenset[str]

    def change(self, stream: bytes, chance: random.Random) -> bytes:
        """The stream with one change that keeps its form."""
        return mutate(stream, self.framing, chance)


def _wires(framing: Framing) -> frozenset[str]:
    return frozenset(name for name, framed in _FRAMED_AS.items() if framed is framing)


DECODERS = (
    Target("sse", check_sse, SSE, _wires(SSE)),
    Target("ndjson", check_ndjson, NDJSON, _wires(NDJSON)),
    Target("event_stream", check_event_stream, EVENT_STREAM, _wires(EVENT_STREAM)),
)
FAMILIES = tuple(
    Target(name, partial(check_family, name), framing, frozenset({name})) for name, framing in _FRAMED_AS.items()
)
TARGETS: Mapping[str, Target] = MappingProxyType({target.name: target for target in (*DECODERS, *FAMILIES)})
