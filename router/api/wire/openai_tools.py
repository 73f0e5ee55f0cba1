"""Tools, tool choice and response format, from OpenAI's form to the adapters'."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from backends.contract import ResponseFormat, Tool, ToolChoice
from router.api.wire.checks import Checks
from router.api.wire.openai_schema import (
    ChatBody,
    CustomTool,
    FunctionTool,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedToolChoice,
    TextFormat,
)
from router.errors import UnsupportedParameter, Violation


def convert_tools(tools: Sequence[FunctionTool | CustomTool], checks: Checks) -> tuple[Tool, ...]:
    converted: list[Tool] = []
    names: set[str] = set()
    for n, tool in enumerate(tools):
        if isinstance(tool, CustomTool):
            raise UnsupportedParameter(
                Violation(f"tools.{n}.type", "is not supported: custom tools; use a function tool with one string")
            )
        function = tool.function
        if function.name in names:
            checks.add(f"tools.{n}.function.name", "is the name of an earlier tool")
        names.add(function.name)
        converted.append(
            Tool(
                name=function.name,
                description=function.description or None,
                parameters=_schema(function.parameters, f"tools.{n}.function.parameters", checks),
                strict=function.strict,
            )
        )
    return tuple(converted)


def convert_tool_choice(chat: ChatBody, checks: Checks) -> ToolChoice | None:
    choice = chat.tool_choice
    if choice is not None and not isinstance(choice, str | NamedToolChoice):
        raise UnsupportedParameter(
            Violation("tool_choice.type", "is not supported: offer in tools only what may be called")
        )
    if not chat.tools:
        if choice not in {None, "auto", "none"}:
            checks.add("tool_choice", "is allowed only when tools are given")
        return None  # without tools, "auto" and "none" say nothing, and some engines refuse them
    if isinstance(choice, NamedToolChoice):
        name = choice.function.name
        if all(name != tool.function.name for tool in chat.tools if isinstance(tool, FunctionTool)):
            checks.add("tool_choice.function.name", "is not the name of a tool of this request")
        return ToolChoice(mode="function", name=name, parallel=chat.parallel_tool_calls)
    if choice is None and chat.parallel_tool_calls is None:
        return None
    return ToolChoice(mode=choice or "auto", parallel=chat.parallel_tool_calls)


def convert_response_format(
    form: TextFormat | JsonObjectFormat | JsonSchemaFormat, checks: Checks
) -> ResponseFormat | None:
    if isinstance(form, TextFormat):
        return None
    if isinstance(form, JsonObjectFormat):
        return ResponseFormat(kind="json_object")
    wanted = form.json_schema
    at = "response_format.json_schema.schema"
    schema = _schema(wanted.schema, at, checks)
    if schema is None:
        checks.add(at, "is required")
    return ResponseFormat(
        kind="json_schema",
        name=wanted.name,
        schema=schema,
        strict=wanted.strict,
        description=wanted.description or None,
    )


def _schema(raw: msgspec.Raw, at: str, checks: Checks) -> msgspec.Raw | None:
    """A JSON object as it was written; None where there was none."""
    text = bytes(raw)
    if not text or text == b"null":
        return None
    try:
        checks.json_object(at, text.decode())
    except UnicodeDecodeError:
        checks.add(at, "must be UTF-8")
    return raw
