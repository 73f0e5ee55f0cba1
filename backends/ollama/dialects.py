"""The dialects of Ollama's wire, and what may be set for one backend, as data.

No dialect offers `assistant_prefill`: whether a last message of the assistant is continued or answered is decided by
the template of each model. Tools can be offered but not forced, since the wire has no tool choice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from backends.dialect import SERVICE_CACHE, SLOT_CACHE, Dialect, parameters
from backends.errors import Overloaded, Unsupported
from backends.failures.rules import FailureRules
from backends.probing.plan import ProbePlan
from backends.wire import Option

# What one model cannot do another may: the request itself is not at fault.
_NOT_THIS_MODEL = re.compile(r"does not support (?:tools|thinking|generate|chat|completion|vision|multimodal)")

OLLAMA = Dialect(
    name="ollama",
    prefix_cache=SLOT_CACHE,
    parameters=parameters(
        *("temperature", "top_p", "top_k", "min_p", "stop", "seed"),
        *("presence_penalty", "frequency_penalty", "logprobs", "top_logprobs"),
        max_output_tokens="num_predict",
        repetition_penalty="repeat_penalty",
        reasoning_effort="think",
    ),
    capabilities=frozenset({"tools", "json_object", "json_schema", "vision", "text_completion", "batch"}),
    obeys_choice=False,
    parallel_tool_calls=False,
    failures=FailureRules(words=((_NOT_THIS_MODEL, Unsupported),), statuses={503: Overloaded}),
    probe=ProbePlan(liveness="/api/version", models="/api/tags", loaded="/api/ps", models_every_s=30.0),
)

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        OLLAMA.name: OLLAMA,
        # A fleet of its vendor's: what is in whose memory is not ours to see.
        "ollama_cloud": replace(
            OLLAMA,
            name="ollama_cloud",
            prefix_cache=SERVICE_CACHE,
            probe=ProbePlan(liveness="/api/version", models="/api/tags", models_every_s=300.0),
        ),
    }
)

OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        "num_ctx": Option(
            help="tokens of the context window the model is loaded with; without it the server's own default holds",
            pattern=r"[1-9][0-9]{2,7}",
        ),
        "keep_alive": Option(
            help="how long the model stays in memory after a request: a duration such as 30m, or -1 for ever",
            pattern=r"-1|0|(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h))+",
        ),
    }
)
