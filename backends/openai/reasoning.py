"""Earlier reasoning, and a vendor's proofs of it, in the fields that OpenAI-like servers have for them.

Most take the text back beside the content. OpenRouter keeps each block as an object with whatever its provider needs to
recognise it (a signature, an id, a format, encrypted data): here that object without its text is the block's signature,
so that it goes back exactly as it came. Google signs tool calls. A block or a call that another vendor signed goes back
without its proof, which nobody else could check.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from backends.contract import ReasoningBlock, ToolCall
from backends.errors import ProtocolViolation
from backends.openai.profile import Profile
from backends.signatures import marked, own

_BROKER = "openrouter"
_GOOGLE = "gemini"  # both faces of it take each other's
# Google's own word for a call of another model.
NOT_GOOGLES_CALL = "skip_thought_signature_validator"
_TEXT_KEYS = ("text", "summary")
_PROOFS = ("signature", "data", "id")
_MAX_DETAILS = 1024


@dataclass(slots=True)
class _Detail:
    kept: dict[str, Any] = field(default_factory=dict)
    text: list[str] = field(default_factory=list)


class DetailAssembler:
    """Puts blocks of `reasoning_details` together out of the pieces of a stream, by their index and type."""

    __slots__ = ("_details",)

    def __init__(self) -> None:
        self._details: dict[tuple[str, str], _Detail] = {}

    def take(self, pieces: list[dict[str, Any]]) -> str:
        """The text in these pieces."""
        told: list[str] = []
        for piece in pieces:
            if len(self._details) > _MAX_DETAILS:
                raise ProtocolViolation(f"more than {_MAX_DETAILS} blocks of reasoning")
            detail = self._details.setdefault((str(piece.get("index")), str(piece.get("type"))), _Detail())
            for name, value in piece.items():
                if name in _TEXT_KEYS and isinstance(value, str):
                    told.append(value)
                    detail.text.append(value)
                elif value is not None:
                    detail.kept[name] = value
        return "".join(told)

    def signed(self) -> list[ReasoningBlock]:
        """The blocks that hold a proof of whose they are."""
        return [
            ReasoningBlock(
                text="".join(detail.text),
                signature=marked(_BROKER, msgspec.json.encode(detail.kept).decode()),
                redacted="data" in detail.kept,
            )
            for detail in self._details.values()
            if any(detail.kept.get(proof) for proof in _PROOFS)
        ]


def reasoning_fields(blocks: tuple[ReasoningBlock, ...], profile: Profile) -> dict[str, Any]:
    """The fields of a message that give earlier reasoning back, none where the server has no place for it."""
    if not blocks or profile.reasoning_back == "none":
        return {}
    if profile.reasoning_back == "reasoning_details":
        details = [_detail_of(block) for block in blocks]
        return {"reasoning_details": details} if all(details) else {"reasoning": _text(blocks)}
    text = _text(blocks)
    return {profile.reasoning_back: text} if text else {}


def call_fields(call: ToolCall, profile: Profile, *, is_first: bool) -> dict[str, Any]:
    """The fields of a tool call that prove whose it is; of calls made together only the first is signed."""
    if not profile.signed_calls:
        return {}
    proof = own(_GOOGLE, call.signature, unmarked=True) or (NOT_GOOGLES_CALL if is_first else None)
    return {} if proof is None else {"extra_content": {"google": {"thought_signature": proof}}}


def _text(blocks: tuple[ReasoningBlock, ...]) -> str:
    return "".join(block.text for block in blocks)


def _detail_of(block: ReasoningBlock) -> dict[str, Any] | None:
    """The object that the block came from; None if it came from another vendor."""
    try:
        kept = msgspec.json.decode(own(_BROKER, block.signature, unmarked=False) or "", type=dict[str, Any])
    except msgspec.DecodeError:
        return None
    kind = kept.get("type")
    if not isinstance(kind, str) or not kind.startswith("reasoning."):
        return None
    if not block.text:
        return kept
    return {**kept, "summary" if kind == "reasoning.summary" else "text": block.text}
