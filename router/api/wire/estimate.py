"""How many tokens a prompt has, before any tokenizer has seen it.

The router knows no model's tokenizer, and loading a dozen of them would cost more than the guess is wrong: over English
prose and code, four characters a token is right within a third. Routing needs the size, not the number; the prediction
carries the spread. What no character shows is charged flat: the chat template around each message, and images, whose
cost depends on the model (85 to 1,600 tokens for one of common size).
"""

from __future__ import annotations

import msgspec

from backends.contract import GenerateRequest, ImagePart

CHARS_PER_TOKEN = 4.0
TOKENS_PER_MESSAGE = 4.0
TOKENS_PER_IMAGE = 800.0


def estimate_input_tokens(request: GenerateRequest) -> float:
    """Tokens that the request's messages or prompt, its tools and its response schema come to; at least 1."""
    chars = len(request.prompt or "")
    images = 0
    for message in request.messages:
        content = message.content
        if isinstance(content, str):
            chars += len(content)
        else:
            for part in content:
                if isinstance(part, ImagePart):
                    images += 1
                else:
                    chars += len(part.text)
        for call in message.tool_calls:
            chars += len(call.name) + len(call.arguments)
    for tool in request.tools:
        chars += len(tool.name) + len(tool.description or "") + _size(tool.parameters)
    if request.response_format is not None:
        chars += _size(request.response_format.schema)
    tokens = chars / CHARS_PER_TOKEN + TOKENS_PER_MESSAGE * len(request.messages) + TOKENS_PER_IMAGE * images
    return max(tokens, 1.0)


def _size(document: msgspec.Raw | None) -> int:
    return len(memoryview(document)) if document is not None else 0
