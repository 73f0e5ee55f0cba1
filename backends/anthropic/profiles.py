"""The dialects of the Messages wire, as data.

The vendor has two versions of it that differ in what they refuse: the newer takes no sampling parameters, not even at
their defaults, and its key goes where everybody's goes. Engines that offer the wire beside their own take its words and
refuse less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from backends.anthropic.profile import Profile
from backends.contract import TokensOf
from backends.dialect import KeyHeader
from backends.errors import AuthFailed, ModelNotServed, QuotaExhausted, TimedOut
from backends.failures.rules import BUSY_503, FailureRules
from backends.openai.profiles import PROFILES as OPENAI
from backends.probing.plan import ProbePlan
from backends.signals import LimitHeaders


def _names(*names: str) -> Mapping[str, str]:
    wire = {"max_output_tokens": "max_tokens", "stop": "stop_sequences", "reasoning_effort": "output_config.effort"}
    return MappingProxyType({name: wire.get(name, name) for name in names})


_COUNTS: Mapping[str, TokensOf] = MappingProxyType({"input-tokens": "input", "output-tokens": "output"})


def _limit(what: str) -> LimitHeaders:
    name = f"anthropic-ratelimit-{what}"
    return LimitHeaders(
        what="requests" if what == "requests" else "tokens",
        limit=f"{name}-limit",
        remaining=f"{name}-remaining",
        reset=f"{name}-reset",
        counts=_COUNTS.get(what, "all"),
    )


_FAILURES = FailureRules(
    codes={
        "authentication_error": AuthFailed,
        "permission_error": AuthFailed,
        "not_found_error": ModelNotServed,
        "timeout_error": TimedOut,
        "billing_error": QuotaExhausted,
        "contract_spend_limit_reached": QuotaExhausted,
        "linked_organization_spend_limit_reached": QuotaExhausted,
        "linked_organization_billing_unavailable": QuotaExhausted,
        "organization_on_hold": AuthFailed,
    }
)

_VENDOR = Profile(
    name="anthropic",
    parameters=_names("max_output_tokens", "temperature", "top_p", "top_k", "stop", "reasoning_effort"),
    capabilities=frozenset({"tools", "json_schema", "vision", "assistant_prefill"}),
    key=KeyHeader(name="x-api-key", prefix=""),
    failures=_FAILURES,
    # Pages are of 20 unless more are asked for.
    probe=ProbePlan(models="/v1/models?limit=1000"),
    limits=tuple(_limit(what) for what in ("requests", "tokens", "input-tokens", "output-tokens")),
)

_TABLE = (
    _VENDOR,
    replace(
        _VENDOR,
        name="anthropic_2026",
        version="2026-10-21",
        parameters=_names("max_output_tokens", "stop", "reasoning_effort"),
        key=KeyHeader(),
    ),
    Profile(
        name="vllm",
        parameters=_VENDOR.parameters,
        capabilities=frozenset({"tools", "json_schema", "vision"}),
        failures=BUSY_503,
        probe=OPENAI["vllm"].probe,
        is_lenient=True,
    ),
    Profile(
        name="llama_cpp",
        parameters=_names("max_output_tokens", "temperature", "top_p", "top_k", "stop"),
        capabilities=frozenset({"tools", "vision"}),
        probe=OPENAI["llama_cpp"].probe,
        is_lenient=True,
        obeys_choice=False,
    ),
)

PROFILES: Mapping[str, Profile] = MappingProxyType({profile.name: profile for profile in _TABLE})
