"""What is read of a GenerateContentResponse. Enumerations are names, or numbers for clients that asked so."""

from __future__ import annotations

import msgspec

from backends.counts import Number

Enum = str | int


class FunctionCall(msgspec.Struct, rename="camel"):
    name: str = ""
    id: str | None = None
    args: msgspec.Raw = msgspec.Raw()


class Part(msgspec.Struct, rename="camel"):
    """Text, thought or a call; code that ran and media are not asked for, and are passed over."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: FunctionCall | None = None


class Content(msgspec.Struct):
    parts: list[Part] | None = None


class TokenCandidate(msgspec.Struct, rename="camel"):
    token: str | None = None
    log_probability: Number | None = None


class TopCandidates(msgspec.Struct):
    candidates: list[TokenCandidate] | None = None


class LogprobsResult(msgspec.Struct, rename="camel"):
    chosen_candidates: list[TokenCandidate] | None = None
    top_candidates: list[TopCandidates] | None = None


class Candidate(msgspec.Struct, rename="camel"):
    index: Enum | None = None
    content: Content | None = None
    finish_reason: Enum | None = None
    finish_message: str | None = None
    logprobs_result: LogprobsResult | None = None


class PromptFeedback(msgspec.Struct, rename="camel"):
    block_reason: Enum | None = None


class UsageMetadata(msgspec.Struct, rename="camel"):
    prompt_token_count: Number | None = None
    tool_use_prompt_token_count: Number | None = None
    cached_content_token_count: Number | None = None
    candidates_token_count: Number | None = None
    thoughts_token_count: Number | None = None
    total_token_count: Number | None = None


class Response(msgspec.Struct, rename="camel"):
    candidates: list[Candidate] | None = None
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: UsageMetadata | None = None
    error: msgspec.Raw = msgspec.Raw()


decode_response = msgspec.json.Decoder(Response).decode
decode_responses = msgspec.json.Decoder(list[msgspec.Raw]).decode


def given(value: msgspec.Raw) -> bytes | None:
    """The JSON of a field, None where it is absent or null."""
    found = bytes(value)
    return None if found in (b"", b"null") else found
