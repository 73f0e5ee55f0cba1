"""What sets one speaker of a wire apart from the others, as data: a new host of a known wire is an entry, not code.

Capabilities and parameters are what the *family* can be asked for. A request that needs more is filtered out before
anything is sent; the adapter refuses it again (`Unsupported`), so that nothing a caller asked for is dropped silently.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from backends.failures.rules import COMMON, FailureRules
from backends.probing.plan import ProbePlan
from backends.signals import LimitHeaders

# Fields of contract.Sampling that are a parameter of a wire; `logprobs` with `top_logprobs` is a capability too.
SAMPLING_FIELDS = frozenset(
    {
        "max_output_tokens",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "stop",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "repetition_penalty",
        "logprobs",
        "top_logprobs",
        "reasoning_effort",
    }
)
# Fields of contract.ToolChoice that a family may have no word for: a call that must be made, and one call at a time.
TOOL_FIELDS = frozenset({"tool_choice", "parallel_tool_calls"})
# What a request may need of a family beside its parameters. The names are the router's capabilities.
CAPABILITIES = frozenset(
    {
        "tools",
        "json_object",
        "json_schema",
        "vision",
        "logprobs",
        "text_completion",
        "assistant_prefill",
        "reasoning",
        "seed",
        "batch",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What can be asked of a family at all: capabilities by name, fields of `Sampling`, and `TOOL_FIELDS`."""

    capabilities: frozenset[str]
    parameters: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHeader:
    """How the secret goes upstream: in which header, behind which prefix."""

    name: str = "authorization"
    prefix: str = "Bearer "


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixCache:
    """What a server keeps of prompts that it has read.

    `tokens`: as many; None: as many as its memory has room for beside the weights. Beginnings below `minimum_tokens`
    are not kept, and what nobody asked for in `ttl_s` seconds is gone. `slots`: the last prompt of each sequence that
    it runs at once, and nothing else. `billed`: only where its price list has a lower price for cached input. `told`:
    its usage always counts what came from the cache.
    """

    tokens: float | None = None
    ttl_s: float = math.inf
    minimum_tokens: float = 0.0
    slots: bool = False
    billed: bool = False
    told: bool = False


# Of services: none of the vendors keeps shorter beginnings, or for longer without being paid for it.
SERVICE_CACHE = PrefixCache(tokens=math.inf, ttl_s=300.0, minimum_tokens=1024.0, billed=True, told=True)
# Engines with paged attention keep whatever has room; they say what was cached only when they were started so.
PAGED_CACHE = PrefixCache()
SLOT_CACHE = PrefixCache(slots=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One dialect of one wire. Wires add their own fields in a subclass.

    Attributes:
        name: the profile's name in the configuration.
        parameters: field of `Sampling` -> its name on this wire. A field that is absent cannot be asked for.
        capabilities: what the family can do; `seed`, `logprobs` and `reasoning` follow from the parameters.
        obeys_choice: of tools: whether a call can be forced, and calls be forbidden.
        parallel_tool_calls: of tools: whether one call at a time can be asked for.
        key: where the credential goes.
        failures: what its codes and statuses mean, where they mean something of their own.
        probe: where it may be asked how it is.
        limits: the headers that say how much of a rate limit is left.
        prefix_cache: what its servers keep of prompts.
    """

    name: str
    parameters: Mapping[str, str]
    capabilities: frozenset[str] = frozenset()
    obeys_choice: bool = True
    parallel_tool_calls: bool = True
    key: KeyHeader = KeyHeader()
    failures: FailureRules = COMMON
    probe: ProbePlan = field(default_factory=ProbePlan)
    limits: tuple[LimitHeaders, ...] = ()
    prefix_cache: PrefixCache = SERVICE_CACHE

    @property
    def features(self) -> Features:
        derived = {"seed", "logprobs"} & self.parameters.keys()
        if "reasoning_effort" in self.parameters:
            derived.add("reasoning")
        of_tools = {"tool_choice": self.obeys_choice, "parallel_tool_calls": self.parallel_tool_calls}
        words = {name for name, taken in of_tools.items() if taken and "tools" in self.capabilities}
        return Features(capabilities=self.capabilities | derived, parameters=frozenset(self.parameters) | words)


def parameters(*names: str, **renamed: str) -> Mapping[str, str]:
    """Fields of `Sampling` by their names on the wire: most are called the same."""
    return MappingProxyType({**{name: name for name in names}, **renamed})
