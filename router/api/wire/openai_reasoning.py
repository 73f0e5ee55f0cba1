"""Reasoning on OpenAI's wire, which has no word of its own for what vendors want back.

`reasoning_content` is the text. `reasoning_details` are the blocks with their vendor's signatures, in the form that
OpenRouter gave them; a call's signature is where Google's OpenAI face has it. A client that sends none of it back goes
on without.
"""

from __future__ import annotations

from typing import Any

from backends.contract import ReasoningBlock
from router.api.wire.openai_schema import AssistantIn, ExtraContentIn, ReasoningEncryptedIn, ReasoningTextIn

Json = dict[str, Any]


def convert_reasoning(message: AssistantIn, at: str, ignored: list[str]) -> tuple[ReasoningBlock, ...]:
    """What a former answer thought: its blocks, or where it has none its text."""
    blocks: list[ReasoningBlock] = []
    for n, detail in enumerate(message.reasoning_details or ()):
        if isinstance(detail, ReasoningTextIn):
            if detail.text or detail.signature:
                blocks.append(ReasoningBlock(text=detail.text or "", signature=detail.signature or None))
        elif isinstance(detail, ReasoningEncryptedIn):
            blocks.append(ReasoningBlock(signature=detail.data, redacted=True))
        else:
            ignored.append(f"{at}.reasoning_details.{n}")
    if blocks:
        return tuple(blocks)
    text = message.reasoning_content or message.reasoning
    return (ReasoningBlock(text=text),) if text else ()


def reasoning_detail(block: ReasoningBlock, index: int) -> Json:
    """A block as an answer has it; the index tells SDKs that join the pieces of a stream that it is another one."""
    if block.redacted:
        return {"type": "reasoning.encrypted", "data": block.signature, "index": index}
    return {"type": "reasoning.text", "text": block.text, "signature": block.signature, "index": index}


def convert_signature(extra: ExtraContentIn | None) -> str | None:
    """The signature of a call."""
    return (extra.google.thought_signature or None) if extra is not None and extra.google is not None else None


def extra_content(signature: str) -> Json:
    """A call's signature as an answer has it."""
    return {"google": {"thought_signature": signature}}
