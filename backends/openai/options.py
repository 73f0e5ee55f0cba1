"""Settings of one backend of the OpenAI chat wire, and what they make of its profile.

A profile says how a family speaks; what one server of it lacks, or has elsewhere, is said here, so that no server needs
a profile of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, get_args
from urllib.parse import quote

import msgspec

from backends.dialect import CAPABILITIES, SAMPLING_FIELDS, TOOL_FIELDS
from backends.openai.profile import Profile, ReasoningField
from backends.probing.plan import ProbePlan
from backends.spec import BackendSpec
from backends.wire import Option

_PATH = r"/[!-~]*"
_PATH_OR_NONE = rf"none|{_PATH}"
_NAMES = "|".join(sorted(CAPABILITIES | SAMPLING_FIELDS | TOOL_FIELDS))

# Fields of a request that are the adapter's own: an `extra_body` that set them would change what was asked.
_OURS = frozenset({"model", "messages", "prompt", "stream", "stream_options", "tools", "tool_choice"})
_REASONING: Mapping[str, ReasoningField] = {name: name for name in get_args(ReasoningField)}

OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        "api_version": Option(
            help="the value of `api-version` in the address (profile azure)", pattern=r"[0-9A-Za-z.-]{1,40}"
        ),
        "chat_path": Option(help="path of chat completions, such as /v1/chat/completions", pattern=_PATH),
        "completions_path": Option(help="path of plain completions", pattern=_PATH),
        "models_path": Option(help="path of the list of models; 'none' asks for no list", pattern=_PATH_OR_NONE),
        "health_path": Option(help="path that answers 200 in health; 'none' has none", pattern=_PATH_OR_NONE),
        "usage": Option(
            help="'asked' sends stream_options, 'unasked' leaves the field out for a server that refuses it",
            pattern="asked|unasked",
        ),
        "without": Option(
            help="capabilities and parameters that this server refuses, separated by commas: top_k,logprobs",
            pattern=rf"(?:{_NAMES})(?:,(?:{_NAMES}))*",
        ),
        "reasoning_back": Option(
            help="the field in which earlier reasoning goes back: " + ", ".join(_REASONING),
            pattern="|".join(_REASONING),
        ),
        "extra_body": Option(
            help="a JSON object whose fields go with every request, such as a service tier", pattern=r"(?s)\s*\{.*\}\s*"
        ),
    }
)


def bound(profile: Profile, spec: BackendSpec) -> Profile:
    """The profile as this one backend has it.

    Raises:
        ValueError: an `extra_body` that is no JSON object, or sets a field of the adapter's own.
    """
    options = spec.options
    lacks = frozenset(options.get("without", "").split(","))
    version = quote(options.get("api_version", profile.api_version), safe="")
    chat, completions = (
        options.get(name) or getattr(profile, name).replace("{api_version}", version)
        for name in ("chat_path", "completions_path")
    )
    return replace(
        profile,
        chat_path=chat,
        completions_path=completions,
        probe=_probe(profile, options),
        capabilities=profile.capabilities - lacks,
        parameters=MappingProxyType({name: word for name, word in profile.parameters.items() if name not in lacks}),
        obeys_choice=profile.obeys_choice and "tool_choice" not in lacks,
        parallel_tool_calls=profile.parallel_tool_calls and "parallel_tool_calls" not in lacks,
        stream_options=profile.stream_options if options.get("usage") != "unasked" else (),
        reasoning_back=_REASONING.get(options.get("reasoning_back", ""), profile.reasoning_back),
        extra_body=_extra_body(options, profile),
    )


def _probe(profile: Profile, options: Mapping[str, str]) -> ProbePlan:
    plan = profile.probe
    models = options.get("models_path", plan.models)
    liveness = options.get("health_path", plan.liveness)
    return replace(plan, models=None if models == "none" else models, liveness=None if liveness == "none" else liveness)


def _extra_body(options: Mapping[str, str], profile: Profile) -> Mapping[str, Any]:
    text = options.get("extra_body")
    if text is None:
        return profile.extra_body
    try:
        extra = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ValueError(f"options.extra_body: {error}") from error
    if ours := _OURS & extra.keys():
        raise ValueError(f"options.extra_body: {', '.join(sorted(ours))} is the router's own to set")
    return MappingProxyType({**profile.extra_body, **extra})
