"""Replicate's dialect and the settings of one backend, as data.

The inputs of a prediction are its model's own; the names here are those of Replicate's language models, and what one
model calls otherwise is set with its backend. There is no chat on this wire, no tools and no structured output. An
answer that a model's own bound cut looks complete: only where the caller set a bound can the end be told from it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from backends.chat_templates import sources as chat_templates
from backends.dialect import Dialect, parameters
from backends.errors import ContentFiltered, ModelNotServed, Overloaded
from backends.failures.rules import FailureRules
from backends.probing.plan import ProbePlan
from backends.signals import LimitHeaders
from backends.wire import Option

VENDOR_HOSTS = ("*.replicate.com", "*.replicate.net", "*.replicate.delivery")

REPLICATE = Dialect(
    name="replicate",
    parameters=parameters(
        *("temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty"),
        max_output_tokens="max_tokens",
        stop="stop_sequences",
    ),
    failures=FailureRules(
        words=(
            (re.compile(r"flagged as sensitive|nsfw content"), ContentFiltered),
            (re.compile(r"version does not exist|invalid version"), ModelNotServed),
            (re.compile(r"due to high demand"), Overloaded),
        )
    ),
    # Says that the API is there and takes our token; models are too many to list.
    probe=ProbePlan(models="/v1/account"),
    limits=(LimitHeaders(what="requests", remaining="ratelimit-remaining", reset="ratelimit-reset"),),
)

DIALECTS: Mapping[str, Dialect] = MappingProxyType({REPLICATE.name: REPLICATE})

_FIELD = r"[A-Za-z_][A-Za-z0-9_]*"
_HOST = r"(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*(?::[0-9]{1,5})?"

OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        "deployment": Option(help="true if the upstream model's name is that of a deployment", pattern=r"true|false"),
        "prompt_field": Option(help="the model's input for the prompt (prompt)", pattern=_FIELD),
        "system_field": Option(help="the model's input for the system's message (system_prompt)", pattern=_FIELD),
        "max_tokens_field": Option(help="the model's input for the longest answer (max_tokens)", pattern=_FIELD),
        "chat_template": Option(
            help=f"{chat_templates.HELP}; without it a request has one turn", pattern=chat_templates.PATTERN
        ),
        "cancel_after": Option(
            help="how long a prediction may run at most, such as 90s or 5m", pattern=r"[1-9][0-9]*(?:s|m|h)"
        ),
        "allowed_hosts": Option(
            help=f"hosts beside the address's own that the token may be sent to ({', '.join(VENDOR_HOSTS)}), as "
            "host, host:port or *.domain, with commas between",
            pattern=rf"{_HOST}(?:\s*,\s*{_HOST})*",
        ),
    }
)
