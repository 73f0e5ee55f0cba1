"""Prompts for servers that take text only: the model's own chat template, rendered as the library transformers does it.

A template is a builtin one (`chatml`) or the model's own file (`file:PATH`, a .jinja or a tokenizer_config.json). It is
code of the operator's choice: it runs in Jinja's immutable sandbox, and what it writes is bounded. What a template has
no place for is refused, because a prompt that lacks it would look like a good one.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

import msgspec
from jinja2 import nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from backends.chat_templates.sources import Source, read_source
from backends.contract import GenerateRequest, ImagePart, Message, Tool
from backends.errors import Unsupported

MAX_RENDERED_CHARS = 8 * 1024 * 1024
MAX_RENDER_S = 2.0
# Ends with a blank, to see whether a template trims what is said.
_CONTINUE_TAG = "CONTINUE_FINAL_MESSAGE_TAG "
_PROBE = "WHAT_COMES_AFTER_THIS"
_TOKEN = re.compile(r"<[^<>\s]{1,64}>")
_FAILURES = (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)


class ChatTemplate:
    """One compiled template.

    Raises:
        ValueError: when made, for a template that is not valid.

    Attributes:
        bos: what every rendered prompt begins with, "" if nothing is known. Many servers add it by themselves.
        end_of_turn: what the model writes when it has finished, "" if nothing is known: for servers that stop only at
            the tokenizer's own end, which another token may be.
    """

    def __init__(self, source: Source, *, now: Callable[[], datetime] | None = None) -> None:
        self.bos = source.special_tokens.get("bos_token", "")
        self._tokens = source.special_tokens
        self._source = source
        local_now = now or (lambda: datetime.now(UTC).astimezone())
        environment = _environment(local_now)
        try:
            self._template = environment.from_string(source.text)
            self._tool_use = environment.from_string(source.tool_use) if source.tool_use else self._template
        except TemplateError as error:
            raise ValueError(f"options.chat_template: not a valid template: {error}") from error
        self.end_of_turn = self._find_end_of_turn()

    @classmethod
    def load(cls, option: str) -> ChatTemplate:
        """The template that the option `chat_template` names.

        Raises:
            ValueError: there is none of that name, or the file has none.
        """
        return cls(read_source(option))

    def render_request(self, request: GenerateRequest, *, keep_bos: bool = True) -> str:
        """The prompt of a request: its own, or its messages rendered. A trailing assistant message is continued.

        Args:
            request: its tools are not looked at, since reading calls out of an answer in text is the caller's work.
            keep_bos: False for a server that puts the first token before every prompt.

        Raises:
            Unsupported: the template has no place for something in it.
        """
        if request.prompt is not None:
            return request.prompt
        messages = request.messages
        is_continued = bool(messages) and messages[-1].role == "assistant" and not messages[-1].tool_calls
        text = self.render(messages, add_generation_prompt=not is_continued, continue_final_message=is_continued)
        return text if keep_bos or not self.bos else text.removeprefix(self.bos)

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Tool] = (),
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
    ) -> str:
        """The prompt.

        Args:
            messages: the conversation.
            tools: offered to the model, for templates that know tools.
            add_generation_prompt: end with what begins an answer.
            continue_final_message: end inside of the last message, so that the answer goes on from there.

        Raises:
            Unsupported: the template has no place for something in them, or says so itself.
        """
        self._check(messages, tools)
        turns = [_turn(message) for message in messages]
        if continue_final_message:
            turns[-1]["content"] += _CONTINUE_TAG
        template = self._tool_use if tools else self._template
        pieces = template.generate(
            **self._tokens,
            messages=turns,
            tools=[_tool(tool) for tool in tools] or None,
            documents=None,
            add_generation_prompt=add_generation_prompt,
        )
        try:
            text = "".join(_bounded(pieces))
        except _FAILURES as error:
            raise Unsupported(f"the chat template refuses this conversation: {error}", param="messages") from error
        return _cut_at_tag(text) if continue_final_message else text

    def _find_end_of_turn(self) -> str:
        """The token that the template writes after an answer, else the tokenizer's own end."""
        turns = (Message(role="user", content="user"), Message(role="assistant", content=_PROBE))
        try:
            after = self.render(turns, add_generation_prompt=False).partition(_PROBE)[2]
        except Unsupported:
            after = ""
        token = _TOKEN.match(after.strip())
        return token[0] if token else self._tokens.get("eos_token", "")

    def _check(self, messages: Sequence[Message], tools: Sequence[Tool]) -> None:
        """A template ignores what it does not know: that must not pass for an answer to the question."""
        text = self._source.tool_use if tools and self._source.tool_use else self._source.text
        if tools and "tools" not in text:
            raise Unsupported("this chat template knows no tools", param="tools")
        has_calls = any(message.tool_calls for message in messages)
        has_results = any(message.role == "tool" for message in messages)
        if (has_calls and "tool_calls" not in text) or (has_results and "tool" not in text):
            raise Unsupported("this chat template knows no tool calls", param="messages")


def _bounded(pieces: Iterator[str]) -> Iterator[str]:
    size = 0
    deadline = time.monotonic() + MAX_RENDER_S
    for piece in pieces:
        size += len(piece)
        if size > MAX_RENDERED_CHARS:
            raise ValueError(f"it makes more than {MAX_RENDERED_CHARS} characters of it")
        if time.monotonic() > deadline:
            raise ValueError(f"it takes more than {MAX_RENDER_S:g} s")
        yield piece


def _cut_at_tag(text: str) -> str:
    """Everything before the tag that ends the last message; blanks before it go where the template trims messages."""
    at = text.rfind(_CONTINUE_TAG.strip())
    if at < 0:
        raise Unsupported("this chat template does not show the last message", param="messages")
    is_kept = text.startswith(_CONTINUE_TAG, at)
    return text[:at] if is_kept else text[:at].rstrip()


def _turn(message: Message) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": _content(message)}
    if message.name is not None:
        turn["name"] = message.name
    if message.tool_call_id is not None:
        turn["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "type": "function",
                "id": call.id,
                "function": {"name": call.name, "arguments": _arguments(call.arguments)},
            }
            for call in message.tool_calls
        ]
    reasoning = "".join(block.text for block in message.reasoning)
    if reasoning:
        turn["reasoning_content"] = reasoning
    return turn


def _content(message: Message) -> str:
    if isinstance(message.content, str):
        return message.content
    if any(isinstance(part, ImagePart) for part in message.content):
        raise Unsupported("a prompt in text has no images", param="messages[].content")
    return "\n".join(part.text for part in message.content if not isinstance(part, ImagePart))


def _arguments(text: str) -> object:
    """Templates expect the object itself; what is none is shown as it was written."""
    try:
        found: object = msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        return text
    return found if isinstance(found, dict) else text


def _tool(tool: Tool) -> dict[str, Any]:
    parameters = (
        {"type": "object", "properties": {}} if tool.parameters is None else msgspec.json.decode(tool.parameters)
    )
    function = {"name": tool.name, "description": tool.description or "", "parameters": parameters}
    return {"type": "function", "function": function}


def _environment(now: Callable[[], datetime]) -> ImmutableSandboxedEnvironment:
    """As transformers makes it: the same blanks, the same filters and functions."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: now().strftime(form)
    return environment


def _tojson(
    value: object,
    ensure_ascii: bool = False,  # noqa: FBT001,FBT002 - templates pass it as they like
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001,FBT002 - likewise
) -> str:
    """Jinja's own filter would escape `<` for HTML and sort the keys."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


class _GenerationTag(Extension):
    """`{% generation %}` marks what the assistant says, for training; to a prompt it means nothing."""

    tags = {"generation"}  # noqa: RUF012 - the attribute is Jinja's

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)
