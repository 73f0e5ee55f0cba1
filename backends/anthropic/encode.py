"""A canonical request in the words of one dialect of the Messages wire.

The upstream is always asked to stream. What a dialect cannot say is refused before anything is sent, and so is what the
vendor is known to refuse although it has a word for it (a temperature above 1, a blank stop sequence, sampling beside
thinking): the refusal then leaves the request to another backend, where the vendor's 400 would end it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from backends.anthropic.conversation import conversation
from backends.anthropic.profile import Profile
from backends.anthropic.refusal import unsupported
from backends.anthropic.settings import Settings
from backends.anthropic.thinking import thinking
from backends.anthropic.tools import add_tools
from backends.closed_schema import closed
from backends.contract import GenerateRequest, ResponseFormat, Sampling

_encode_json = msgspec.json.Encoder().encode

_UNKNOWN = ("seed", "presence_penalty", "frequency_penalty", "repetition_penalty", "min_p", "top_logprobs")
_CACHED = {"type": "ephemeral"}


def encode(request: GenerateRequest, *, upstream_model: str, profile: Profile, settings: Settings) -> bytes:
    """The body of the request.

    Raises:
        Unsupported: the request asks for something this dialect has no word for.
    """
    if request.prompt is not None:
        raise unsupported(profile, "prompt", "messages only")
    system, messages = conversation(request.messages, profile)
    sampling = request.sampling
    thoughts = thinking(request, profile, settings)
    body: dict[str, Any] = {
        "model": upstream_model,
        "stream": True,
        "max_tokens": thoughts.max_tokens,
        "messages": messages,
    }
    if system:
        body["system"] = system
    add_tools(body, request, profile)
    if thoughts.config is not None:
        body["thinking"] = thoughts.config
    output: dict[str, Any] = {}
    if thoughts.effort is not None:
        output["effort"] = thoughts.effort
    if request.response_format is not None and request.response_format.kind != "text":
        output["format"] = _format(request.response_format, profile)
    if output:
        body["output_config"] = output
    body.update(_sampling(sampling, profile))
    if request.end_user is not None:
        body["metadata"] = {"user_id": request.end_user}
    if settings.is_caching:
        _mark_prefix(body)
    return _encode_json(body)


def _sampling(sampling: Sampling, profile: Profile) -> Mapping[str, Any]:
    for field in _UNKNOWN:
        if getattr(sampling, field) is not None:
            raise unsupported(profile, field)
    if sampling.logprobs:
        raise unsupported(profile, "logprobs")
    found: dict[str, Any] = {}
    for field in ("temperature", "top_p", "top_k"):
        value = getattr(sampling, field)
        if value is not None:
            if field not in profile.parameters:
                raise unsupported(profile, field)
            found[field] = value
    if not profile.is_lenient and sampling.temperature is not None and sampling.temperature > 1:
        raise unsupported(profile, "temperature", "1 at most")
    if sampling.stop:
        if not profile.is_lenient and not all(stop.strip() for stop in sampling.stop):
            raise unsupported(profile, "stop", "a sequence of blanks alone")
        found["stop_sequences"] = list(sampling.stop)
    return found


def _format(wanted: ResponseFormat, profile: Profile) -> dict[str, Any]:
    """The schema alone: here it has no name, and it always holds strictly."""
    if wanted.kind not in profile.capabilities or wanted.schema is None:
        raise unsupported(profile, "response_format", wanted.kind)
    schema = msgspec.json.decode(wanted.schema)
    if wanted.description is not None and isinstance(schema, dict):
        schema.setdefault("description", wanted.description)
    return {"type": "json_schema", "schema": schema if profile.is_lenient else closed(schema)}


def _mark_prefix(body: dict[str, Any]) -> None:
    """Marks the end of what is the same in every request of an application: tools come before the system prompt."""
    blocks = body.get("system") or body.get("tools")
    if blocks:
        blocks[-1]["cache_control"] = _CACHED
