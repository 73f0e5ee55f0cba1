"""A canonical request in the words of ConverseStream.

What Converse has no word for, or the model behind it, is refused before anything is sent: the refusal leaves the
request to another backend, where the service's 400 would end it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from backends.anthropic.profiles import PROFILES as ANTHROPIC
from backends.anthropic.settings import Settings
from backends.anthropic.thinking import thinking
from backends.aws.bedrock.conversation import conversation, has_calls
from backends.aws.bedrock.models import ModelFamily, family_of
from backends.aws.bedrock.refusal import unsupported
from backends.closed_schema import closed
from backends.contract import GenerateRequest, ResponseFormat, Tool, ToolChoice

_encode_json = msgspec.json.Encoder().encode
_NO_PARAMETERS = {"type": "object", "properties": {}}
_UNKNOWN = ("seed", "presence_penalty", "frequency_penalty", "repetition_penalty", "min_p", "top_logprobs")
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high"}
STOP_FIELD = "/stop_sequence"

Fields = dict[str, Any]


def path_of(model: str) -> str:
    """The path of a model id or ARN, all of which is one segment."""
    return f"/model/{quote(model, safe='')}/converse-stream"


def encode(request: GenerateRequest, *, upstream_model: str, options: Mapping[str, str]) -> bytes:
    """The body of the request.

    Args:
        request: to say.
        upstream_model: its id or ARN; it is in the path, and says here what may be asked.
        options: of the backend.

    Raises:
        Unsupported: the request asks for something that Converse or this model has no word for.
    """
    if request.prompt is not None:
        raise unsupported("prompt", "messages only")
    family = family_of(upstream_model, named=options.get("model_family"))
    system, messages = conversation(request.messages, family)
    body: Fields = {"messages": messages}
    if system:
        body["system"] = system
    tools = _tools(request, has_history=has_calls(messages))
    if tools:
        body["toolConfig"] = tools
    inference = _inference(request, family)
    additional: Fields = {}
    output: Fields = {}
    _add_top_k(additional, request, family)
    _add_thinking(inference, additional, output, request, family)
    if request.response_format is not None and request.response_format.kind != "text":
        output["textFormat"] = _text_format(request.response_format)
    for name, fields in (
        ("inferenceConfig", inference),
        ("additionalModelRequestFields", additional),
        ("outputConfig", output),
    ):
        if fields:
            body[name] = fields
    if request.sampling.stop and family.names_stop:
        body["additionalModelResponseFieldPaths"] = [STOP_FIELD]
    body.update(_settings(options))
    return _encode_json(body)


def _inference(request: GenerateRequest, family: ModelFamily) -> Fields:
    sampling = request.sampling
    for field in _UNKNOWN:
        if getattr(sampling, field) is not None:
            raise unsupported(field)
    if sampling.logprobs:
        raise unsupported("logprobs")
    if sampling.temperature is not None and sampling.temperature > 1:
        raise unsupported("temperature", "1 at most")
    if not all(stop if family.blank_stops else stop.strip() for stop in sampling.stop):
        raise unsupported("stop", "a sequence without characters, or for this model of blanks alone")
    fields = {
        "maxTokens": sampling.max_output_tokens,
        "temperature": sampling.temperature,
        "topP": sampling.top_p,
        "stopSequences": list(sampling.stop) or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _add_top_k(additional: Fields, request: GenerateRequest, family: ModelFamily) -> None:
    if request.sampling.top_k is None:
        return
    if not family.top_k:
        raise unsupported("top_k", "for this model")
    *places, name = family.top_k
    for place in places:
        additional = additional.setdefault(place, {})
    additional[name] = request.sampling.top_k


def _add_thinking(
    inference: Fields, additional: Fields, output: Fields, request: GenerateRequest, family: ModelFamily
) -> None:
    effort = request.sampling.reasoning_effort
    if effort is None:
        return
    match family.thinking:
        case "budget" | "adaptive":
            thoughts = thinking(request, ANTHROPIC["anthropic"], Settings(thinking=family.thinking))
            if thoughts.config is not None:
                additional["thinking"] = thoughts.config
            if family.thinking == "budget":  # its tokens are a part of these
                inference["maxTokens"] = thoughts.max_tokens
            if thoughts.effort is not None:
                output["effort"] = thoughts.effort
        case "nova":
            additional["reasoningConfig"] = (
                {"type": "disabled"} if effort == "none" else {"type": "enabled", "maxReasoningEffort": _effort(effort)}
            )
        case "effort":
            additional["reasoning_effort"] = _effort(effort)
        case "none":
            if effort != "none":
                raise unsupported("reasoning_effort", "for this model")


def _effort(effort: str) -> str:
    word = _EFFORTS.get(effort)
    if word is None:
        raise unsupported("reasoning_effort", f"{effort!r} is not one of this model's efforts")
    return word


def _tools(request: GenerateRequest, *, has_history: bool) -> Fields:
    choice = request.tool_choice or ToolChoice()
    if choice.parallel is False:
        raise unsupported("parallel_tool_calls")
    if not request.tools or choice.mode == "none":
        if has_history:  # the service wants the tools of calls that were made, and has no word against making more
            raise unsupported("tool_choice" if request.tools else "tools", "earlier calls without tools to call")
        if not request.tools and choice.mode in ("required", "function"):
            raise unsupported("tool_choice", "a forced call without tools")
        return {}
    config: Fields = {"tools": [{"toolSpec": _tool(tool)} for tool in request.tools]}
    if choice.mode == "function":
        config["toolChoice"] = {"tool": {"name": choice.name}}
    elif choice.mode == "required":
        config["toolChoice"] = {"any": {}}
    return config


def _tool(tool: Tool) -> Fields:
    spec: Fields = {"name": tool.name, "inputSchema": {"json": _parameters(tool)}}
    if tool.description:
        spec["description"] = tool.description
    if tool.strict:
        spec["strict"] = True
    return spec


def _parameters(tool: Tool) -> Any:
    """As they were written, but for what must be said of every one: that it is an object."""
    schema = msgspec.json.decode(tool.parameters) if tool.parameters is not None else None
    if not isinstance(schema, dict) or not schema:
        return _NO_PARAMETERS
    return tool.parameters if "type" in schema else {"type": "object", **schema}


def _text_format(wanted: ResponseFormat) -> Fields:
    if wanted.kind != "json_schema" or wanted.schema is None:
        raise unsupported("response_format", "JSON without a schema")
    # The service takes closed schemas only; one that is closed goes as it was written.
    parsed = msgspec.json.decode(wanted.schema)
    written = bytes(wanted.schema) if (shut := closed(parsed)) == parsed else _encode_json(shut)
    schema: Fields = {"schema": written.decode(), "name": wanted.name or "response"}
    if wanted.description:
        schema["description"] = wanted.description
    return {"type": "json_schema", "structure": {"jsonSchema": schema}}


def _settings(options: Mapping[str, str]) -> Fields:
    """What the operator set for every request of the backend."""
    fields: Fields = {}
    if "service_tier" in options:
        fields["serviceTier"] = {"type": options["service_tier"]}
    if "performance" in options:
        fields["performanceConfig"] = {"latency": options["performance"]}
    if "guardrail" in options:
        guardrail, _, version = options["guardrail"].rpartition(":")
        fields["guardrailConfig"] = {"guardrailIdentifier": guardrail, "guardrailVersion": version}
    return fields
