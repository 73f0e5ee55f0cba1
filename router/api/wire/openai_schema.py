"""The bodies of the OpenAI API, field by field, as msgspec decodes them.

Every field that the API documents is here, also those the router refuses: a field that is not here is unknown, and an
unknown field is an error. None stands for "not asked".
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from router.api.wire.checks import MAX_NAME
from router.api.wire.openai_routing import RouterOptions
from router.api.wire.proto_request import MAX_MESSAGES, MAX_PARTS, MAX_STOP_CHARS, MAX_STOPS, MAX_TOOLS

_Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
_Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Penalty = Annotated[float, Meta(ge=-2, le=2)]
_TopP = Annotated[float, Meta(gt=0, le=1)]
_Share = Annotated[float, Meta(ge=0, le=1)]
_Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
_Label = Annotated[str, Meta(max_length=MAX_NAME, pattern=r"^[^\x00-\x1f\x7f]*$")]
_StopText = Annotated[str, Meta(min_length=1, max_length=MAX_STOP_CHARS)]
_Stop = _StopText | Annotated[list[_StopText], Meta(max_length=MAX_STOPS)]
_Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]

NO_RAW = msgspec.Raw()


class _Part(msgspec.Struct, tag_field="type", forbid_unknown_fields=True, kw_only=True):
    prompt_cache_breakpoint: Any = None


class TextPartIn(_Part, tag="text"):
    text: str


class ImageUrl(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImagePartIn(_Part, tag="image_url"):
    image_url: ImageUrl


class RefusalPartIn(_Part, tag="refusal"):
    refusal: str


class AudioPartIn(_Part, tag="input_audio"):
    input_audio: Any = None


class FilePartIn(_Part, tag="file"):
    file: Any = None


_PARTS = Meta(min_length=1, max_length=MAX_PARTS)
_TextContent = str | Annotated[list[TextPartIn], _PARTS]
_AssistantContent = str | Annotated[list[TextPartIn | RefusalPartIn], _PARTS]
_UserContent = str | Annotated[list[TextPartIn | ImagePartIn | AudioPartIn | FilePartIn], _PARTS]


class _ReasoningIn(msgspec.Struct, tag_field="type", forbid_unknown_fields=True, kw_only=True):
    """A detail of reasoning, in the form of OpenRouter's answers and of ours."""

    id: str | None = None
    format: str | None = None
    index: int | None = None


class ReasoningTextIn(_ReasoningIn, tag="reasoning.text"):
    text: str | None = None
    signature: str | None = None


class ReasoningEncryptedIn(_ReasoningIn, tag="reasoning.encrypted"):
    data: str


class ReasoningSummaryIn(_ReasoningIn, tag="reasoning.summary"):
    summary: str


class GoogleExtraIn(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    thought_signature: str | None = None


class ExtraContentIn(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Where Google's own OpenAI face has a call's signature."""

    google: GoogleExtraIn | None = None


class FunctionCallIn(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    name: _Name
    arguments: str


class _CallIn(msgspec.Struct, tag_field="type", forbid_unknown_fields=True, kw_only=True):
    id: _Name
    index: int | None = None
    extra_content: ExtraContentIn | None = None


class FunctionToolCallIn(_CallIn, tag="function"):
    function: FunctionCallIn


class CustomToolCallIn(_CallIn, tag="custom"):
    custom: Any = None


class _MessageIn(msgspec.Struct, tag_field="role", forbid_unknown_fields=True, kw_only=True):
    name: str | None = None


class SystemIn(_MessageIn, tag="system"):
    content: _TextContent


class DeveloperIn(_MessageIn, tag="developer"):
    content: _TextContent


class UserIn(_MessageIn, tag="user"):
    content: _UserContent


class AssistantIn(_MessageIn, tag="assistant"):
    """A former answer, as our own responses and the SDK's `model_dump()` give it back."""

    content: _AssistantContent | None = None
    refusal: str | None = None
    tool_calls: list[FunctionToolCallIn | CustomToolCallIn] | None = None
    function_call: Any = None
    audio: Any = None
    annotations: Any = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: (
        Annotated[list[ReasoningTextIn | ReasoningEncryptedIn | ReasoningSummaryIn], Meta(max_length=MAX_PARTS)] | None
    ) = None
    parsed: Any = None


class ToolIn(_MessageIn, tag="tool"):
    content: _TextContent
    tool_call_id: _Name


class FunctionIn(_MessageIn, tag="function"):
    content: str | None = None


class FunctionDefinition(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    name: _Name
    description: str | None = None
    parameters: msgspec.Raw = NO_RAW
    strict: bool | None = None


class FunctionTool(msgspec.Struct, tag_field="type", tag="function", forbid_unknown_fields=True, kw_only=True):
    function: FunctionDefinition


class CustomTool(msgspec.Struct, tag_field="type", tag="custom", forbid_unknown_fields=True, kw_only=True):
    custom: Any = None


class FunctionName(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    name: _Name


class NamedToolChoice(msgspec.Struct, tag_field="type", tag="function", forbid_unknown_fields=True, kw_only=True):
    function: FunctionName


class AllowedToolsChoice(
    msgspec.Struct, tag_field="type", tag="allowed_tools", forbid_unknown_fields=True, kw_only=True
):
    allowed_tools: Any = None


class CustomToolChoice(msgspec.Struct, tag_field="type", tag="custom", forbid_unknown_fields=True, kw_only=True):
    custom: Any = None


class TextFormat(msgspec.Struct, tag_field="type", tag="text", forbid_unknown_fields=True, kw_only=True):
    pass


class JsonObjectFormat(msgspec.Struct, tag_field="type", tag="json_object", forbid_unknown_fields=True, kw_only=True):
    pass


class JsonSchema(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    description: str | None = None
    schema: msgspec.Raw = NO_RAW
    strict: bool | None = None


class JsonSchemaFormat(msgspec.Struct, tag_field="type", tag="json_schema", forbid_unknown_fields=True, kw_only=True):
    json_schema: JsonSchema


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class CommonBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What both endpoints take; `top_k`, `min_p` and `repetition_penalty` are extensions that many engines share."""

    model: _Name
    max_tokens: _Count | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: _TopP | None = None
    top_k: _Count | None = None
    min_p: _Share | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    repetition_penalty: Annotated[float, Meta(gt=0)] | None = None
    stop: _Stop | None = None
    seed: _Int64 | None = None
    n: _Count | None = None
    logit_bias: Any = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: _Label | None = None
    router: RouterOptions | None = None


class ChatBody(CommonBody):
    messages: Annotated[
        list[SystemIn | DeveloperIn | UserIn | AssistantIn | ToolIn | FunctionIn],
        Meta(min_length=1, max_length=MAX_MESSAGES),
    ]
    max_completion_tokens: _Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: Annotated[list[FunctionTool | CustomTool], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: (
        Literal["auto", "none", "required"] | NamedToolChoice | AllowedToolsChoice | CustomToolChoice | None
    ) = None
    parallel_tool_calls: bool | None = None
    response_format: TextFormat | JsonObjectFormat | JsonSchemaFormat | None = None
    reasoning_effort: _Effort | None = None
    safety_identifier: _Label | None = None
    prompt_cache_key: _Label | None = None
    prompt_cache_options: Any = None
    prompt_cache_retention: str | None = None
    store: bool | None = None
    metadata: dict[str, str] | None = None
    service_tier: str | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    modalities: list[str] | None = None
    audio: Any = None
    prediction: Any = None
    web_search_options: Any = None
    moderation: Any = None
    functions: Any = None
    function_call: Any = None


class CompletionBody(CommonBody):
    prompt: Any
    best_of: _Count | None = None
    echo: bool | None = None
    suffix: str | None = None
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
