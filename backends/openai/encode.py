"""A canonical request in the words of one OpenAI-like dialect.

The upstream is always asked to stream, also for callers who want one answer: there is one path to test, and a stream
shows sooner that a server is sick. What a dialect cannot say is refused before anything is sent, because an answer
without the constraint that was asked for looks like a good answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec

from backends.contract import GenerateRequest, ResponseFormat, Tool, ToolChoice
from backends.openai.messages import encode_messages, is_prefilled, unsupported
from backends.openai.profile import Profile

_encode_json = msgspec.json.Encoder().encode

_NO_PARAMETERS = {"type": "object", "properties": {}}
# Fields of Sampling in the order they are looked at; the wire's names come from the profile.
_OPTIONAL = (
    "max_output_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "reasoning_effort",
)


def encode(request: GenerateRequest, *, upstream_model: str, profile: Profile) -> tuple[str, bytes]:
    """Path and body of the request.

    Raises:
        Unsupported: the request asks for something this dialect has no word for.
    """
    body: dict[str, Any] = {**profile.extra_body, "model": upstream_model, "stream": True}
    if request.prompt is not None:
        path = profile.completions_path
        if "text_completion" not in profile.capabilities:
            raise unsupported(profile, "prompt", "messages only")
        body["prompt"] = request.prompt
        if request.tools or request.response_format is not None:
            raise unsupported(profile, "prompt", "tools and structured output need messages")
    else:
        path = profile.chat_path
        body["messages"] = encode_messages(request.messages, profile)
        if profile.prefill == "continue_final_message" and is_prefilled(request.messages):
            body["continue_final_message"] = True
            body["add_generation_prompt"] = False
        _add_tools(body, request, profile)
        if request.response_format is not None:
            body.update(_structured(request.response_format, profile))
    if profile.stream_options:
        body["stream_options"] = dict(profile.stream_options)
    body.update(_sampling(request, profile, is_chat=request.prompt is None))
    if request.end_user is not None and profile.end_user is not None:
        body[profile.end_user] = request.end_user
    if request.service_tier is not None and profile.service_tiers:
        body["service_tier"] = request.service_tier
    if "{model}" in path:
        path = path.replace("{model}", quote(upstream_model, safe=""))
    return path, _encode_json(body)


def _sampling(request: GenerateRequest, profile: Profile, *, is_chat: bool) -> Iterator[tuple[str, Any]]:
    sampling = request.sampling
    for field in _OPTIONAL:
        value = getattr(sampling, field)
        if value is not None:
            name = _name(field, profile)
            # The completions endpoint never learnt the newer name.
            yield name if is_chat or field != "max_output_tokens" else "max_tokens", value
    if sampling.stop:
        name = _name("stop", profile)
        if profile.most_stops is not None and len(sampling.stop) > profile.most_stops:
            raise unsupported(profile, "stop", f"{profile.most_stops} sequences at most")
        if not profile.stops_here:
            yield name, list(sampling.stop)
    if sampling.logprobs:
        name = _name("logprobs", profile)
        if not is_chat:
            yield name, sampling.top_logprobs or 0
            return
        yield name, True
        if sampling.top_logprobs is not None:
            yield _name("top_logprobs", profile), sampling.top_logprobs


def _name(field: str, profile: Profile) -> str:
    name = profile.parameters.get(field)
    if name is None:
        raise unsupported(profile, field)
    return name


def _add_tools(body: dict[str, Any], request: GenerateRequest, profile: Profile) -> None:
    if request.tool_choice is not None and not profile.obeys_choice:
        if request.tool_choice.mode == "none":
            return  # what it does not know it cannot call
        if request.tool_choice.mode != "auto":
            raise unsupported(profile, "tool_choice", "a call cannot be forced")
    if request.tools:
        if "tools" not in profile.capabilities:
            raise unsupported(profile, "tools")
        body["tools"] = [{"type": "function", "function": _function(tool)} for tool in request.tools]
    if request.tool_choice is None:
        if request.tools and profile.tool_choice_auto:
            body["tool_choice"] = "auto"
    elif request.tools or request.tool_choice.mode in ("required", "function"):
        body["tool_choice"] = _tool_choice(request.tool_choice, profile)
        parallel = request.tool_choice.parallel
        if parallel is not None and profile.parallel_tool_calls:
            body["parallel_tool_calls"] = parallel
        elif parallel is False:  # that calls may come together needs no word
            raise unsupported(profile, "parallel_tool_calls")


def _function(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    # Several require a schema, none refuses this one.
    function["parameters"] = _NO_PARAMETERS if tool.parameters is None else tool.parameters
    if tool.strict is not None:
        function["strict"] = tool.strict
    return function


def _tool_choice(choice: ToolChoice, profile: Profile) -> str | dict[str, Any]:
    if choice.mode == "function":
        return {"type": "function", "function": {"name": choice.name}}
    return profile.any_tool if choice.mode == "required" else choice.mode


def _structured(wanted: ResponseFormat, profile: Profile) -> dict[str, Any]:
    """The field that bounds the answer to JSON, or says that it may be text."""
    if wanted.kind != "text" and wanted.kind not in profile.capabilities:
        raise unsupported(profile, "response_format", wanted.kind)
    if profile.schema_field == "json_schema":
        if wanted.kind == "text":
            return {}
        is_any_object = wanted.kind == "json_object" or wanted.schema is None
        return {"json_schema": {"type": "object"} if is_any_object else wanted.schema}
    if wanted.kind != "json_schema":
        return {"response_format": {"type": wanted.kind}}
    schema: dict[str, Any] = {"name": wanted.name or "response"}
    if wanted.description is not None:
        schema["description"] = wanted.description
    if wanted.schema is not None:
        schema["schema"] = wanted.schema
    if wanted.strict is not None:
        schema["strict"] = wanted.strict
    return {"response_format": {"type": "json_schema", "json_schema": schema}}
