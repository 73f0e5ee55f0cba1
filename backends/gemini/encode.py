"""A canonical request as a GenerateContentRequest.

What the wire has no word for is refused before anything is sent, because an answer without the constraint that was
asked for looks like a good answer. Nothing names the caller's user here: Google has no field for one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from backends.contract import GenerateRequest, ImagePart, ResponseFormat, Tool, ToolChoice
from backends.gemini.contents import Contents, unsupported
from backends.gemini.dialects import OLDER_MODELS, THINKING, GeminiDialect
from backends.gemini.openapi_schema import as_openapi

_encode_json = msgspec.json.Encoder().encode

# Fields of Sampling that are a value and nothing more; the wire's names come from the dialect.
_PLAIN = (
    "max_output_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
)
_MOST_STOPS = 5
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "function": "ANY"}
_RESOLUTIONS = {"low": "MEDIA_RESOLUTION_LOW", "high": "MEDIA_RESOLUTION_HIGH"}

Wire = dict[str, Any]


def encode(
    request: GenerateRequest, *, upstream_model: str, dialect: GeminiDialect, openapi_schemas: bool = False
) -> bytes:
    """The body of the request.

    Raises:
        Unsupported: the request asks for something that this wire has no word for.
    """
    if request.prompt is not None:
        raise unsupported(dialect, "prompt", "messages only")
    older = OLDER_MODELS.search(upstream_model) is not None
    system, contents = Contents(dialect, older=older).encode(request.messages)
    body: Wire = {"contents": contents}
    if system:
        body["systemInstruction"] = {"parts": system}
    if request.tools:
        body["tools"] = [
            {"functionDeclarations": [_function(tool, dialect, openapi_schemas) for tool in request.tools]}
        ]
    calling = _calling(request, dialect)
    if calling:
        body["toolConfig"] = {"functionCallingConfig": calling}
    config = dict(_sampling(request, upstream_model, dialect))
    config.update(_resolution(request, dialect))
    if request.response_format is not None and request.response_format.kind != "text":
        if older and request.tools:
            raise unsupported(dialect, "response_format", f"{upstream_model} takes no tools beside it")
        config.update(_format(request.response_format, dialect, openapi_schemas))
    if config:
        body["generationConfig"] = config
    return _encode_json(body)


def _sampling(request: GenerateRequest, model: str, dialect: GeminiDialect) -> Iterator[tuple[str, Any]]:
    sampling = request.sampling
    for field in _PLAIN:
        value = getattr(sampling, field)
        if value is not None:
            yield _name(field, dialect), value
    if len(sampling.stop) > _MOST_STOPS:
        raise unsupported(dialect, "stop", f"{_MOST_STOPS} sequences at most")
    if sampling.stop:
        yield _name("stop", dialect), list(sampling.stop)
    if sampling.logprobs:
        yield _name("logprobs", dialect), True
        if sampling.top_logprobs is not None:
            yield _name("top_logprobs", dialect), sampling.top_logprobs
    if sampling.reasoning_effort is not None:
        yield _name("reasoning_effort", dialect), _thinking(sampling.reasoning_effort, model, dialect)


def _name(field: str, dialect: GeminiDialect) -> str:
    name = dialect.parameters.get(field)
    if name is None:
        raise unsupported(dialect, field)
    return name


def _thinking(effort: str, model: str, dialect: GeminiDialect) -> Wire:
    thinking = next(kind for kind in THINKING if kind.models.search(model))
    value = thinking.values.get(effort)
    if value is None:
        raise unsupported(dialect, "reasoning_effort", f"{effort!r} with {model}")
    return {thinking.field: value} if value == 0 else {thinking.field: value, "includeThoughts": True}


def _resolution(request: GenerateRequest, dialect: GeminiDialect) -> Iterator[tuple[str, Any]]:
    """How closely images are looked at, which is one answer for all of them."""
    images = [
        part
        for message in request.messages
        if not isinstance(message.content, str)
        for part in message.content
        if isinstance(part, ImagePart)
    ]
    asked = {image.detail for image in images}
    if asked.isdisjoint(_RESOLUTIONS):
        return
    if len(asked) > 1:
        raise unsupported(dialect, "messages[].content", "the detail of images is one for all")
    yield "mediaResolution", _RESOLUTIONS[str(asked.pop())]


def _function(tool: Tool, dialect: GeminiDialect, openapi_schemas: bool) -> Wire:  # noqa: FBT001 - handed through
    function: Wire = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.parameters is not None:
        if openapi_schemas:
            function["parameters"] = as_openapi(tool.parameters, dialect, "tools[].function.parameters")
        else:
            function["parametersJsonSchema"] = tool.parameters
    return function


def _calling(request: GenerateRequest, dialect: GeminiDialect) -> Wire:
    choice = request.tool_choice or ToolChoice()
    if choice.mode in ("required", "function") and not request.tools:
        raise unsupported(dialect, "tool_choice", "there are no tools")
    if not request.tools:
        return {}
    if choice.parallel is False:
        raise unsupported(dialect, "parallel_tool_calls", "how many calls are made is the model's choice")
    mode = _MODES[choice.mode]
    if mode == "AUTO" and any(tool.strict for tool in request.tools):
        mode = "VALIDATED"  # a call is the model's choice, its arguments are held to the schema
    if request.tool_choice is None and mode == "AUTO":
        return {}
    return {"mode": mode, "allowedFunctionNames": [choice.name]} if choice.mode == "function" else {"mode": mode}


def _format(wanted: ResponseFormat, dialect: GeminiDialect, openapi_schemas: bool) -> Iterator[tuple[str, Any]]:  # noqa: FBT001 - handed through
    yield "responseMimeType", "application/json"
    if wanted.kind == "json_schema" and wanted.schema is not None:
        if openapi_schemas:
            yield "responseSchema", as_openapi(wanted.schema, dialect, "response_format")
        else:
            yield "responseJsonSchema", wanted.schema
