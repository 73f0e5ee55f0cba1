"""The speakers of Google's wire: the Gemini API, Vertex AI, and Vertex AI by API key alone.

Their bodies are the same. They differ in where a model's path begins, in how a caller proves who it is, and in whether
anybody may list the models for free.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from backends.dialect import Dialect, KeyHeader
from backends.errors import AuthFailed, Overloaded, QuotaExhausted, RateLimited, TimedOut, UpstreamFault
from backends.failures.rules import FailureRules
from backends.probing.plan import ProbePlan

# One code, RESOURCE_EXHAUSTED, means a busy minute, a used-up day or an empty account.
FAILURES: Final = FailureRules(
    words=(
        (
            re.compile(r"prepay|credits? (?:is|are|have been) depleted|spending (?:cap|limit)|limit: 0\b"),
            QuotaExhausted,
        ),
        (re.compile(r"user location is not supported"), AuthFailed),
    ),
    codes={
        "billing_disabled": QuotaExhausted,
        "quota_per_day": QuotaExhausted,
        "quota_per_month": QuotaExhausted,
        "resource_exhausted": RateLimited,
        "unavailable": Overloaded,
        "deadline_exceeded": TimedOut,
        "cancelled": UpstreamFault,
    },
    statuses={503: Overloaded},
)

PARAMETERS: Final = {
    "max_output_tokens": "maxOutputTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "stop": "stopSequences",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
    "reasoning_effort": "thinkingConfig",
}
CAPABILITIES: Final = frozenset({"tools", "json_object", "json_schema", "vision"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinking:
    """How much thought the models of one generation can be asked for: a field of thinkingConfig and its values."""

    models: re.Pattern[str]
    field: str
    values: Mapping[str, str | int]


# The first that matches a model's name counts. Values as Google's own OpenAI-like endpoint translates them.
THINKING: Final = (
    Thinking(
        models=re.compile(r"gemini-[12]\b"),
        field="thinkingBudget",
        values={"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576},
    ),
    Thinking(
        models=re.compile(r"gemini-.*\bpro\b"),
        field="thinkingLevel",
        values={"minimal": "LOW", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "XHIGH"},
    ),
    Thinking(
        models=re.compile(""),
        field="thinkingLevel",
        values={"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "XHIGH"},
    ),
)
# Models before the third generation: they check no signatures, and take no tools beside a JSON answer.
OLDER_MODELS: Final = re.compile(r"gemini-[12]\b|gemma")


@dataclass(frozen=True, slots=True, kw_only=True)
class GeminiDialect(Dialect):
    """One speaker of the wire.

    Attributes:
        version: of the API, where the options name none.
        parent: what the path of a model begins with, out of the options.
        models: the collection of a model that is named without one.
        collections: what a full name of a model may begin with.
        image_schemes: of image addresses that the service fetches itself.
        needs: options that must be given.
    """

    version: str
    models: str
    collections: tuple[str, ...]
    parent: str = ""
    image_schemes: frozenset[str] = frozenset({"http", "https"})
    needs: tuple[str, ...] = ()
    parallel_tool_calls: bool = False


_API_KEY = KeyHeader(name="x-goog-api-key", prefix="")
_CLOUD_IMAGES = frozenset({"http", "https", "gs"})
_ONLY_A_CONNECTION = ProbePlan(models=None)

GEMINI: Final = GeminiDialect(
    name="gemini",
    parameters=PARAMETERS,
    capabilities=CAPABILITIES,
    key=_API_KEY,
    failures=FAILURES,
    probe=ProbePlan(models="/{version}/models?pageSize=1000"),
    version="v1beta",
    models="models/",
    collections=("models/", "tunedModels/"),
)
VERTEX: Final = GeminiDialect(
    name="vertex",
    parameters=PARAMETERS,
    capabilities=CAPABILITIES,
    failures=FAILURES,
    probe=_ONLY_A_CONNECTION,
    version="v1",
    models="publishers/google/models/",
    collections=("publishers/", "endpoints/"),
    parent="projects/{project}/locations/{location}/",
    image_schemes=_CLOUD_IMAGES,
    needs=("project", "location"),
)
VERTEX_EXPRESS: Final = GeminiDialect(
    name="vertex_express",
    parameters=PARAMETERS,
    capabilities=CAPABILITIES,
    key=_API_KEY,
    failures=FAILURES,
    probe=_ONLY_A_CONNECTION,
    version="v1",
    models="publishers/google/models/",
    collections=("publishers/",),
    image_schemes=_CLOUD_IMAGES,
)

DIALECTS: Final[Mapping[str, GeminiDialect]] = {d.name: d for d in (GEMINI, VERTEX, VERTEX_EXPRESS)}
