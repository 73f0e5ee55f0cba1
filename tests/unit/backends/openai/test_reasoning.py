"""Blocks of reasoning and signatures of calls: together out of pieces, and back as they came."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.contract import Message, ReasoningBlock, ToolCall
from backends.openai.messages import encode_messages
from backends.openai.profiles import PROFILES
from backends.openai.reasoning import NOT_GOOGLES_CALL, DetailAssembler
from backends.signatures import marked


def back(profile: str, *blocks: ReasoningBlock) -> dict[str, Any]:
    (wire,) = encode_messages((Message(role="assistant", content="x", reasoning=blocks),), PROFILES[profile])
    return {name: value for name, value in wire.items() if name not in ("role", "content")}


DETAILS: list[dict[str, Any]] = [
    {"type": "reasoning.text", "index": 0, "format": "anthropic-claude-v1", "text": "let me", "signature": "c2ln"},
    {"type": "reasoning.encrypted", "index": 1, "format": "openai-responses-v1", "id": "rs_1", "data": "ZW5j"},
    {"type": "reasoning.summary", "index": 2, "format": "openai-responses-v1", "id": "rs_2", "summary": "in short"},
]


def test_details_go_back_as_they_came() -> None:
    """Text, encrypted data and a summary, each with what its provider knows it by."""
    assembler = DetailAssembler()
    assert assembler.take(DETAILS) == "let mein short"
    blocks = assembler.signed()
    assert [(block.text, block.redacted) for block in blocks] == [("let me", False), ("", True), ("in short", False)]
    assert back("openrouter", *blocks) == {"reasoning_details": DETAILS}


@given(st.lists(st.text(max_size=5), min_size=1), st.integers(0, 3))
def test_any_cut_of_a_block_is_the_same_block(pieces: list[str], after: int) -> None:
    """The text may come in any pieces, and the signature alone after them."""
    assembler = DetailAssembler()
    kind = {"type": "reasoning.text", "index": 0}
    told = [assembler.take([{**kind, "text": piece}]) for piece in pieces]
    told += [assembler.take([{**kind, "text": None}]) for _ in range(after)]
    assert assembler.take([{**kind, "signature": "c2ln"}]) == ""
    (block,) = assembler.signed()
    assert block.text == "".join(pieces) == "".join(told)
    assert msgspec.json.decode((block.signature or "").partition(":")[2]) == {**kind, "signature": "c2ln"}


def test_a_block_without_a_proof_is_text_only() -> None:
    """There is nothing to keep of it."""
    assembler = DetailAssembler()
    assembler.take([{"type": "reasoning.text", "text": "a"}, {"type": "reasoning.summary", "summary": "b"}])
    assert assembler.signed() == []


@pytest.mark.parametrize("signature", [None, "c2ln", marked("anthropic", "c2ln"), marked("openrouter", "{"), "{}"])
def test_a_block_of_another_vendor_goes_back_as_text(signature: str | None) -> None:
    """Its proof means nothing here."""
    block = ReasoningBlock(text="hm", signature=signature)
    assert back("openrouter", block) == {"reasoning": "hm"}
    assert back("vllm", block) == {"reasoning_content": "hm"}
    assert back("openai", block) == {}


def test_a_redacted_block_has_no_text_to_give_back() -> None:
    """So nothing goes where only text does."""
    assert back("deepseek", ReasoningBlock(signature="c2ln", redacted=True)) == {}


@pytest.mark.parametrize(
    ("signatures", "proofs"),
    [
        (("c2ln", None), ("c2ln", None)),
        ((marked("gemini", "c2ln"),), ("c2ln",)),
        ((marked("anthropic", "x"), None), (NOT_GOOGLES_CALL, None)),
        ((None,), (NOT_GOOGLES_CALL,)),
    ],
)
def test_google_wants_its_signatures_on_calls(
    signatures: tuple[str | None, ...], proofs: tuple[str | None, ...]
) -> None:
    """Its own, or its word for a call of another model; only the first of calls made together has one."""
    calls = tuple(
        ToolCall(id=str(n), name="f", arguments="{}", signature=signature) for n, signature in enumerate(signatures)
    )
    (wire,) = encode_messages((Message(role="assistant", tool_calls=calls),), PROFILES["gemini_openai"])
    found = [call.get("extra_content", {}).get("google", {}).get("thought_signature") for call in wire["tool_calls"]]
    assert tuple(found) == proofs
    (wire,) = encode_messages((Message(role="assistant", tool_calls=calls),), PROFILES["openai"])
    assert not any("extra_content" in call for call in wire["tool_calls"])
