"""The size of a prompt, as routing takes it."""

from __future__ import annotations

import msgspec

from backends.contract import GenerateRequest, ImagePart, Message, ResponseFormat, TextPart, Tool, ToolCall
from router.api.wire.estimate import estimate_input_tokens


def test_text_counts_a_token_for_four_characters() -> None:
    """A raw prompt is its characters over four, and never less than one token."""
    assert estimate_input_tokens(GenerateRequest(model="m", prompt="x" * 400)) == 100.0
    assert estimate_input_tokens(GenerateRequest(model="m", prompt="x")) == 1.0


def test_messages_count_their_frame() -> None:
    """Each message adds the four tokens of the chat template around it."""
    messages = (Message(role="system", content="x" * 40), Message(role="user", content="x" * 40))

    assert estimate_input_tokens(GenerateRequest(model="m", messages=messages)) == 28.0


def test_images_count_flat() -> None:
    """An image counts the same whether it is named or carried, however long its URL is."""
    messages = (
        Message(role="user", content=(TextPart(text="x" * 40), ImagePart(url="data:image/png;base64," + "A" * 9_000))),
    )

    assert estimate_input_tokens(GenerateRequest(model="m", messages=messages)) == 814.0


def test_tools_calls_and_schemas_count() -> None:
    """Tool definitions, earlier calls and the response schema are part of the prompt."""
    request = GenerateRequest(
        model="m",
        messages=(
            Message(role="assistant", tool_calls=(ToolCall(id="ignored", name="look", arguments="{" + "x" * 35),)),
        ),
        tools=(Tool(name="look", description="x" * 16, parameters=msgspec.Raw(b"{" + b" " * 19)),),
        response_format=ResponseFormat(kind="json_schema", name="s", schema=msgspec.Raw(b"{" + b" " * 39)),
    )

    assert estimate_input_tokens(request) == 4.0 + (40 + 40 + 40) / 4
