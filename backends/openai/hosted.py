"""Dialects of hosted services, one entry each: nothing of them can be asked but the list of models, and that rarely.

A parameter that is not here is one that the vendor refuses, or is not known to take. Where a vendor has its paths under
one of its own, that belongs to the address: https://api.groq.com/openai, https://api.fireworks.ai/inference,
https://openrouter.ai/api, https://RESOURCE.openai.azure.com/openai for `azure_v1` (but the bare host for `azure`), and
https://generativelanguage.googleapis.com/v1beta/openai; each may end in /v1, as it is written for SDKs.
"""

from __future__ import annotations

from dataclasses import replace

from backends.dialect import KeyHeader, parameters
from backends.failures.rules import BUSY_503
from backends.openai import failure_rules, limits
from backends.openai.profile import Profile
from backends.openai.words import (
    CHAT_ONLY,
    COMMON,
    EVERYTHING,
    LOGPROBS,
    OPEN_SAMPLERS,
    PENALTIES,
)
from backends.probing.plan import ProbePlan

_OPENAI = Profile(
    name="openai",
    capabilities=EVERYTHING,
    parameters=parameters(
        *COMMON, *PENALTIES, *LOGPROBS, "seed", "reasoning_effort", max_output_tokens="max_completion_tokens"
    ),
    most_stops=4,
    failures=failure_rules.OPENAI,
    limits=limits.OPENAI,
)

# The key is in a header of its own. A deployment is one model, called by the name it was given; the lists of models
# there are of what could be deployed, so the classic face is only asked whether it takes a connection.
_AZURE = replace(
    _OPENAI,
    name="azure_v1",
    key=KeyHeader(name="api-key", prefix=""),
    failures=failure_rules.AZURE,
    limits=limits.PAIR,
)
_DEPLOYMENT = "/openai/deployments/{model}"

_AS_ASKED = (("include_usage", True),)

HOSTED: tuple[Profile, ...] = (
    replace(_OPENAI, stream_options=(*_AS_ASKED, ("include_obfuscation", False)), service_tiers=True),
    _AZURE,
    replace(
        _AZURE,
        name="azure",
        api_version="2024-10-21",
        chat_path=f"{_DEPLOYMENT}/chat/completions?api-version={{api_version}}",
        completions_path=f"{_DEPLOYMENT}/completions?api-version={{api_version}}",
        probe=ProbePlan(models=None),
    ),
    replace(
        _OPENAI,
        name="groq",
        service_tiers=True,
        capabilities=CHAT_ONLY,
        parameters=parameters(*COMMON, "seed", "reasoning_effort", max_output_tokens="max_completion_tokens"),
        message_names=False,
        failures=failure_rules.GROQ,
        limits=limits.PAIR,
    ),
    # The limiter reserves the whole bound of the answer up front.
    replace(
        _OPENAI,
        name="cerebras",
        capabilities=EVERYTHING - {"vision"},
        parameters=parameters(
            *COMMON, *LOGPROBS, "seed", "reasoning_effort", max_output_tokens="max_completion_tokens"
        ),
        failures=failure_rules.CEREBRAS,
        limits=limits.CEREBRAS,
    ),
    replace(
        _OPENAI,
        name="mistral",
        most_stops=None,
        capabilities=CHAT_ONLY | {"assistant_prefill"},
        parameters=parameters(
            *COMMON, *PENALTIES, "reasoning_effort", max_output_tokens="max_tokens", seed="random_seed"
        ),
        stream_options=(),
        any_tool="any",
        short_tool_ids=True,
        end_user=None,
        prefill="prefix",
        failures=failure_rules.MISTRAL,
        limits=limits.MISTRAL,
    ),
    replace(
        _OPENAI,
        name="together",
        most_stops=None,
        parameters=parameters(
            *COMMON, *PENALTIES, *OPEN_SAMPLERS, "seed", "reasoning_effort", max_output_tokens="max_tokens"
        ),
        stream_options=(),
        parallel_tool_calls=False,
        end_user=None,
        failures=failure_rules.TOGETHER,
        limits=limits.TOGETHER,
    ),
    replace(
        _OPENAI,
        name="fireworks",
        parameters=parameters(
            *COMMON,
            *PENALTIES,
            *LOGPROBS,
            *OPEN_SAMPLERS,
            "seed",
            "reasoning_effort",
            max_output_tokens="max_tokens",
        ),
        stream_options=(),
        reasoning_back="reasoning_content",
        failures=failure_rules.FIREWORKS,
        limits=limits.FIREWORKS,
    ),
    replace(
        _OPENAI,
        name="openrouter",
        most_stops=None,
        parameters=parameters(
            *COMMON,
            *PENALTIES,
            *LOGPROBS,
            *OPEN_SAMPLERS,
            "seed",
            "reasoning_effort",
            max_output_tokens="max_tokens",
        ),
        reasoning_back="reasoning_details",
        failures=failure_rules.OPENROUTER,
        limits=limits.OPENROUTER,
    ),
    replace(
        _OPENAI,
        name="deepseek",
        most_stops=16,
        capabilities=EVERYTHING - {"json_schema", "vision", "text_completion"},
        parameters=parameters(*COMMON, *PENALTIES, *LOGPROBS, max_output_tokens="max_tokens"),
        parallel_tool_calls=False,
        reasoning_back="reasoning_content",
        failures=BUSY_503,
        limits=(),
    ),
    replace(_OPENAI, name="xai", reasoning_outside_output=True, failures=BUSY_503, limits=limits.PAIR),
    # Gemini's second face; its own is a wire of its own.
    replace(
        _OPENAI,
        name="gemini_openai",
        most_stops=5,
        chat_path="/chat/completions",
        capabilities=CHAT_ONLY,
        parameters=parameters(*COMMON, "reasoning_effort", max_output_tokens="max_tokens"),
        parallel_tool_calls=False,
        end_user=None,
        signed_calls=True,
        reasoning_outside_output=True,
        failures=BUSY_503,
        limits=(),
        probe=ProbePlan(models="/models"),
    ),
    # A broker to many hosts, each with its own habits: what all of them take.
    replace(
        _OPENAI,
        name="huggingface",
        most_stops=None,
        capabilities=CHAT_ONLY,
        parameters=parameters(*COMMON, *PENALTIES, "seed", max_output_tokens="max_tokens"),
        parallel_tool_calls=False,
        failures=BUSY_503,
        limits=limits.HUGGINGFACE,
    ),
)
