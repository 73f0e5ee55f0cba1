"""The one dialect of Converse. What single models lack beyond it is in `models`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from backends.aws.failures import FAILURES
from backends.dialect import Dialect
from backends.probing.plan import ProbePlan

_BEDROCK = Dialect(
    name="bedrock",
    parameters=MappingProxyType(
        {
            "max_output_tokens": "maxTokens",
            "temperature": "temperature",
            "top_p": "topP",
            "stop": "stopSequences",
            "top_k": "additionalModelRequestFields",
            "reasoning_effort": "additionalModelRequestFields",
        }
    ),
    capabilities=frozenset({"tools", "json_schema", "vision", "assistant_prefill"}),
    parallel_tool_calls=False,
    failures=FAILURES,
    # The runtime has nothing that may be asked without a bill.
    probe=ProbePlan(models=None, models_every_s=10.0),
)

DIALECTS: Mapping[str, Dialect] = MappingProxyType({_BEDROCK.name: _BEDROCK})
