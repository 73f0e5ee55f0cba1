"""Hosted vendors of the OpenAI chat wire, emulated, as they were recorded or as their SDKs have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from simulation.wires import openai_problems as problems
from simulation.wires import openai_shapes as shapes
from simulation.wires.openai_problems import Problem, encode
from simulation.wires.openai_vendor import MODEL, Vendor, fields

_JSON = "application/json"
_LISTED = {"id": MODEL, "object": "model", "created": 0, "owned_by": "emulated", "type": "chat"}


def models_page(*, bare: bool = False) -> tuple[int, bytes, str]:
    return 200, encode([_LISTED] if bare else {"object": "list", "data": [_LISTED]}), _JSON


_OPENAI = Vendor(
    name="openai",
    shape=shapes.obfuscated,
    headers={"x-request-id": "req_emulated", "openai-processing-ms": "12"},
    limits={
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-limit-tokens": "200000",
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-remaining-tokens": "199992",
        "x-ratelimit-reset-requests": "12ms",
        "x-ratelimit-reset-tokens": "1m12s",
    },
    pages={"/v1/models": models_page()},
    words={
        401: Problem(status=401, message="Incorrect API key provided: sk-emul****6789.", code="invalid_api_key"),
        429: Problem(
            status=429,
            message="Rate limit reached for emulated-model in organization org-x on tokens per min (TPM).",
            kind="tokens",
            code="rate_limit_exceeded",
        ),
    },
)

_AZURE = replace(
    _OPENAI,
    name="azure_v1",
    chat_path=r"/openai/v1/chat/completions",
    key_header="api-key",
    key_prefix="",
    shape=shapes.filtered,
    first=(
        {
            "choices": [],
            "created": 0,
            "id": "",
            "model": "",
            "object": "",
            "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": shapes.SAFE}],
        },
    ),
    error=problems.azure,
    stream_error=problems.azure,
    headers={"apim-request-id": "emulated", "x-ms-region": "Nowhere"},
    limits={
        "x-ratelimit-limit-requests": "250",
        "x-ratelimit-limit-tokens": "250000",
        "x-ratelimit-remaining-requests": "249",
        "x-ratelimit-remaining-tokens": "249988",
        "x-ratelimit-reset-requests": "1",
        "x-ratelimit-reset-tokens": "0",
        "x-ratelimit-renewalperiod-requests": "60",
    },
    words={
        401: Problem(status=401, message="Access denied due to invalid subscription key or wrong API endpoint."),
        404: Problem(status=404, message="The API deployment does not exist.", code="DeploymentNotFound"),
        429: Problem(status=429, message="Your requests have exceeded rate limit.", code="RateLimitReached"),
    },
    pages={"/openai/v1/models": models_page()},
)

_CEREBRAS_LIMITS = {
    f"x-ratelimit-{what}-{unit}-{window}": value
    for unit, window, limit, left, reset in (
        ("requests", "minute", "30", "29", "11.24"),
        ("requests", "day", "14400", "14399", "33011.38"),
        ("tokens", "minute", "60000", "30000", "11.24"),
        ("tokens", "day", "1000000", "999000", "33011.38"),
    )
    for what, value in (("limit", limit), ("remaining", left), ("reset", reset))
}

_TABLE = (
    _OPENAI,
    _AZURE,
    replace(
        _AZURE,
        name="azure",
        chat_path=r"/openai/deployments/(?P<model>[^/]+)/chat/completions",
        query="api-version=2024-10-21",
        pages={},
    ),
    Vendor(
        name="groq",
        chat_path=r"/openai/v1/chat/completions",
        thought_field="reasoning",
        shape=shapes.groq,
        shape_whole=lambda whole, told: {**whole, "usage": shapes.groq_usage(told), "x_groq": {"id": "req_emulated"}},
        fields=fields(
            "model messages stream stream_options temperature top_p stop seed tools tool_choice parallel_tool_calls "
            "response_format reasoning_effort max_tokens max_completion_tokens user n service_tier"
        ),
        error=problems.short,
        stream_error=problems.short,
        headers={"x-groq-region": "nowhere"},
        limits={
            "x-ratelimit-limit-requests": "14400",
            "x-ratelimit-limit-tokens": "18000",
            "x-ratelimit-remaining-requests": "14370",
            "x-ratelimit-remaining-tokens": "17997",
            "x-ratelimit-reset-requests": "2m59.56s",
            "x-ratelimit-reset-tokens": "7.66s",
        },
        words={
            401: Problem(status=401, message="Invalid API Key", code="invalid_api_key"),
            429: Problem(status=429, message="Rate limit reached.", kind="tokens", code="rate_limit_exceeded"),
            498: Problem(status=498, message="Flex tier is at capacity.", kind="internal", code="capacity_exceeded"),
        },
        pages={"/openai/v1/models": models_page()},
    ),
    Vendor(
        name="cerebras",
        thought_field="reasoning",
        usage_at="finish",
        shape=shapes.cerebras,
        shape_whole=shapes.timed,
        error=problems.flat,
        stream_error=problems.nested,
        headers={"inference-id": "chatcmpl-emulated"},
        limits=_CEREBRAS_LIMITS,
        words={
            401: Problem(status=401, message="Wrong API Key", code="wrong_api_key"),
            429: Problem(
                status=429,
                message="Tokens per minute limit exceeded - too many tokens processed.",
                kind="too_many_tokens_error",
                param="quota",
                code="token_quota_exceeded",
            ),
        },
        pages={"/v1/models": models_page(), "/v1/tcp_warming": (200, b"{}", _JSON)},
    ),
    Vendor(
        name="mistral",
        fields=fields(
            "model messages stream temperature top_p stop random_seed tools tool_choice parallel_tool_calls n "
            "response_format reasoning_effort max_tokens presence_penalty frequency_penalty safe_prompt"
        ),
        any_tool=frozenset({"any", "required"}),
        call_id="emulate{:02d}",
        wants_call_id="[a-zA-Z0-9]{9}",
        usage_at="finish",
        shape=shapes.padded,
        error=problems.mistral,
        invalid=422,
        headers={"mistral-correlation-id": "emulated"},
        limits={
            "x-ratelimit-limit-req-minute": "100",
            "x-ratelimit-remaining-req-minute": "96",
            "x-ratelimit-limit-tokens-minute": "100000",
            "x-ratelimit-remaining-tokens-minute": "99867",
            "x-ratelimit-tokens-query-cost": "133",
        },
        words={
            401: Problem(status=401, message="Invalid API Key"),
            429: Problem(status=429, message="Rate limit exceeded", kind="rate_limited", code="1300"),
        },
        pages={"/v1/models": models_page()},
    ),
    Vendor(
        name="together",
        thought_field="reasoning",
        usage=shapes.together_usage,
        usage_at="finish",
        shape=shapes.together,
        shape_whole=shapes.together_whole,
        limits={"x-ratelimit-limit": "2", "x-ratelimit-remaining": "1", "x-ratelimit-reset": "2"},
        words={503: Problem(status=503, message="The server is currently overloaded.", kind="service_unavailable")},
        pages={"/v1/models": models_page(bare=True)},
    ),
    Vendor(
        name="fireworks",
        chat_path=r"/inference/v1/chat/completions",
        usage_at="finish",
        headers={"fireworks-prompt-tokens": "9", "fireworks-server-time-to-first-token": "0.021"},
        limits={
            "x-ratelimit-limit-tokens-prompt": "60000",
            "x-ratelimit-remaining-tokens-prompt": "59000",
            "x-ratelimit-limit-tokens-generated": "6000",
            "x-ratelimit-remaining-tokens-generated": "600",
            "x-ratelimit-over-limit": "no",
        },
        pages={"/inference/v1/models": models_page()},
    ),
    Vendor(
        name="openrouter",
        chat_path=r"/api/v1/chat/completions",
        thought_field="reasoning",
        shape=shapes.openrouter,
        error=problems.numbered,
        stream_error=problems.numbered,
        pages={"/api/v1/models": models_page()},
    ),
    Vendor(
        name="deepseek",
        usage=shapes.deepseek_usage,
        usage_at="finish",
        words={402: Problem(status=402, message="Insufficient Balance", kind="unknown_error")},
        pages={"/v1/models": models_page()},
    ),
    Vendor(
        name="xai",
        usage=shapes.apart_usage,
        error=problems.xai,
        words={
            401: Problem(status=400, message="Incorrect API key provided.", code="invalid-argument"),
            429: Problem(status=429, message="Too many requests.", code="resource-exhausted"),
        },
        limits={
            "x-ratelimit-limit-requests": "1800",
            "x-ratelimit-limit-tokens": "10000000",
            "x-ratelimit-remaining-requests": "1799",
            "x-ratelimit-remaining-tokens": "9999000",
        },
        pages={"/v1/models": models_page()},
    ),
    Vendor(
        name="gemini_openai",
        chat_path=r"/v1beta/openai/chat/completions",
        usage=shapes.total_only_usage,
        shape=shapes.google,
        error=problems.google,
        words={
            401: Problem(
                status=400, message="API key not valid. Please pass a valid API key.", code="INVALID_ARGUMENT"
            ),
            429: Problem(status=429, message="Resource has been exhausted.", code="RESOURCE_EXHAUSTED"),
        },
        pages={"/v1beta/openai/models": models_page()},
    ),
)

VENDORS: Mapping[str, Vendor] = MappingProxyType({vendor.name: vendor for vendor in _TABLE})
