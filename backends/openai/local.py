"""Dialects of servers on a desk or in a pocket, and of a server that nobody has told us about.

`generic` trusts an unknown server with everything it is asked for, and lets it refuse. `local` trusts least: LM Studio,
Foundry Local, GenieX and Nexa share this much, and the backend's options say what one of them has or lacks. None of
them promises a JSON schema, and what is not promised is not asked for. They load a model when it is first asked for:
the first token may take minutes.
"""

from __future__ import annotations

from dataclasses import replace

from backends.dialect import SLOT_CACHE, parameters
from backends.openai.failure_rules import MLX
from backends.openai.profile import Profile
from backends.openai.words import (
    COMMON,
    EVERYTHING,
    LOGPROBS,
    OPEN_SAMPLERS,
    PENALTIES,
    STRUCTURED,
)
from backends.probing.plan import ProbePlan

GENERIC = Profile(
    name="generic",
    capabilities=EVERYTHING | {"assistant_prefill"},
    parameters=parameters(
        *COMMON, *PENALTIES, *LOGPROBS, *OPEN_SAMPLERS, "seed", "reasoning_effort", max_output_tokens="max_tokens"
    ),
    probe=ProbePlan(models_every_s=5.0),
)

_LOCAL = replace(
    GENERIC,
    name="local",
    capabilities=EVERYTHING - STRUCTURED,
    parameters=parameters(*COMMON, *PENALTIES, "top_k", "seed", max_output_tokens="max_tokens"),
    parallel_tool_calls=False,
)

LOCAL: tuple[Profile, ...] = (
    GENERIC,
    _LOCAL,
    replace(
        _LOCAL,
        name="lmstudio",
        capabilities=EVERYTHING - {"json_object"},
        parameters=parameters(
            *COMMON,
            *PENALTIES,
            "top_k",
            "seed",
            max_output_tokens="max_tokens",
            repetition_penalty="repeat_penalty",
        ),
    ),
    # HTTP/1.0: a body ends with its connection, and a request must say its length. Whatever goes wrong before the first
    # token is a 404, and a tool choice is passed over in silence.
    replace(
        _LOCAL,
        name="mlx",
        prefix_cache=SLOT_CACHE,
        capabilities=EVERYTHING - STRUCTURED - {"vision"},
        parameters=parameters(*COMMON, *PENALTIES, *OPEN_SAMPLERS, "seed", max_output_tokens="max_tokens"),
        obeys_choice=False,
        stops_here=True,
        failures=MLX,
        probe=ProbePlan(liveness="/health"),
    ),
)
