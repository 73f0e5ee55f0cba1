"""The messages of a chat, from OpenAI's form to the adapters'."""

from __future__ import annotations

from collections.abc import Sequence

from backends.contract import ImagePart, Message, TextPart, ToolCall
from router.api.wire.checks import Checks
from router.api.wire.openai_reasoning import convert_reasoning, convert_signature
from router.api.wire.openai_schema import (
    AssistantIn,
    AudioPartIn,
    CustomToolCallIn,
    DeveloperIn,
    FilePartIn,
    FunctionIn,
    ImagePartIn,
    RefusalPartIn,
    SystemIn,
    TextPartIn,
    ToolIn,
    UserIn,
)
from router.errors import UnsupportedParameter, Violation

MessageIn = SystemIn | DeveloperIn | UserIn | AssistantIn | ToolIn | FunctionIn
PartIn = TextPartIn | ImagePartIn | RefusalPartIn | AudioPartIn | FilePartIn


def convert_messages(messages: Sequence[MessageIn], checks: Checks, ignored: list[str]) -> tuple[Message, ...]:
    """All turns; `ignored` gains the fields of former answers that are not sent back to a model.

    Raises:
        UnsupportedParameter: for audio, files and the deprecated function calls.
    """
    return tuple([_message(message, f"messages.{n}", checks, ignored) for n, message in enumerate(messages)])


def _message(message: MessageIn, at: str, checks: Checks, ignored: list[str]) -> Message:
    name = checks.text(f"{at}.name", message.name) or None if message.name else None
    if isinstance(message, UserIn):
        return Message(role="user", content=_content(message.content, at, checks, ignored), name=name)
    if isinstance(message, AssistantIn):
        return _assistant(message, at, checks, ignored, name)
    if isinstance(message, ToolIn):
        content = _content(message.content, at, checks, ignored)
        return Message(role="tool", content=content, tool_call_id=message.tool_call_id, name=name)
    if isinstance(message, FunctionIn):
        raise UnsupportedParameter(
            Violation(f"{at}.role", "is not supported: 'function' is the deprecated form; use role tool")
        )
    # "developer" is what newer models call the system's role; engines and templates know the older word.
    return Message(role="system", content=_content(message.content, at, checks, ignored), name=name)


def _assistant(message: AssistantIn, at: str, checks: Checks, ignored: list[str], name: str | None) -> Message:
    if message.function_call is not None:
        raise UnsupportedParameter(
            Violation(f"{at}.function_call", "is not supported: the deprecated form; use tool_calls")
        )
    if message.audio is not None:
        raise UnsupportedParameter(Violation(f"{at}.audio", "is not supported: audio is not offered"))
    calls = _tool_calls(message, at, checks) if message.tool_calls else ()
    content: str | tuple[TextPart | ImagePart, ...] = ""
    if message.content is not None:
        content = _content(message.content, at, checks, ignored)
    elif message.refusal:
        content = message.refusal
    elif not calls:
        checks.add(f"{at}.content", "is required unless there are tool_calls")
    reasoning = convert_reasoning(message, at, ignored)
    return Message(role="assistant", content=content, tool_calls=calls, name=name, reasoning=reasoning)


def _tool_calls(message: AssistantIn, at: str, checks: Checks) -> tuple[ToolCall, ...]:
    calls: list[ToolCall] = []
    for n, call in enumerate(message.tool_calls or ()):
        if isinstance(call, CustomToolCallIn):
            raise UnsupportedParameter(
                Violation(f"{at}.tool_calls.{n}.type", "is not supported: custom tools; use function tools")
            )
        function = call.function
        if function.arguments:
            checks.json_object(f"{at}.tool_calls.{n}.function.arguments", function.arguments)
        # Models write nothing for a call without arguments; engines parse what they are sent back, and refuse "".
        calls.append(
            ToolCall(
                id=call.id,
                name=function.name,
                arguments=function.arguments or "{}",
                signature=convert_signature(call.extra_content),
            )
        )
    return tuple(calls)


def _content(
    content: str | Sequence[PartIn], at: str, checks: Checks, ignored: list[str]
) -> str | tuple[TextPart | ImagePart, ...]:
    if isinstance(content, str):
        return content
    parts = tuple([_part(part, f"{at}.content.{n}", checks, ignored) for n, part in enumerate(content)])
    first = parts[0]
    return first.text if len(parts) == 1 and isinstance(first, TextPart) else parts


def _part(part: PartIn, at: str, checks: Checks, ignored: list[str]) -> TextPart | ImagePart:
    if part.prompt_cache_breakpoint is not None:
        ignored.append(f"{at}.prompt_cache_breakpoint")
    if isinstance(part, TextPartIn):
        return TextPart(text=part.text)
    if isinstance(part, ImagePartIn):
        image = part.image_url
        checks.image_url(f"{at}.image_url.url", image.url)
        return ImagePart(url=image.url, detail=image.detail)
    if isinstance(part, RefusalPartIn):
        return TextPart(text=part.refusal)
    kind = "input_audio" if isinstance(part, AudioPartIn) else "file"
    raise UnsupportedParameter(Violation(f"{at}.{kind}", "is not supported: text and images are what can be sent"))
