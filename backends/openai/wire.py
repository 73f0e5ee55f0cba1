"""What an OpenAI-like server sends, as far as it is read.

One set of types covers a stream event, a whole JSON answer and both endpoints, since servers mix them (a `text` beside
the `delta`, a `message` inside a stream). Fields that somebody sends in more than one form say so in their type; all
else a server adds is skipped without being built.
"""

from __future__ import annotations

from typing import Any

import msgspec

from backends.counts import Number


class FunctionPart(msgspec.Struct, gc=False):
    """`arguments` is a piece of a string, a whole object, or null for none; an empty list is an empty object of PHP."""

    name: str | None = None
    arguments: str | dict[str, Any] | list[Any] | None = None


class GoogleExtra(msgspec.Struct, gc=False):
    thought_signature: str | None = None


class ExtraContent(msgspec.Struct, gc=False):
    """What Gemini adds to a tool call on this wire."""

    google: GoogleExtra | None = None


class ToolCallPart(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: FunctionPart | None = None
    extra_content: ExtraContent | None = None


class ThinkingPiece(msgspec.Struct, gc=False):
    text: str | None = None


class ContentPiece(msgspec.Struct, gc=False):
    """A part of a content that is a list: `text`, or `thinking` (a string, or pieces of text)."""

    type: str = "text"
    text: str | None = None
    thinking: str | list[ThinkingPiece] | None = None


class Delta(msgspec.Struct, gc=False):
    """A `delta` of a stream or the `message` of a whole answer."""

    content: str | list[ContentPiece] | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None
    refusal: str | None = None
    tool_calls: list[ToolCallPart] | None = None
    function_call: FunctionPart | None = None


class TopLogprob(msgspec.Struct):
    token: str = ""
    logprob: float = 0.0
    bytes: list[int] | None = None


class LogprobEntry(msgspec.Struct):
    token: str = ""
    logprob: float = 0.0
    bytes: list[int] | None = None
    top_logprobs: list[TopLogprob] | None = None


class Logprobs(msgspec.Struct):
    """`content` on the chat endpoint, the parallel lists on the completions endpoint."""

    content: list[LogprobEntry] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


class Choice(msgspec.Struct, gc=False):
    """One answer. The stop string, or the id of a stop token, is `stop_reason` for vLLM, `matched_stop` for SGLang.

    `logprobs` may be one number (Together), which does not say whose it is; `error` is a broker's, of this answer.
    """

    index: Any = None
    delta: Delta | None = None
    message: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    matched_stop: str | int | list[int] | None = None
    logprobs: Logprobs | float | None = None
    error: Any = None


class PromptDetails(msgspec.Struct, gc=False):
    """What was written to a cache is `created_cache_tokens` for vLLM."""

    cached_tokens: Number | None = None
    created_cache_tokens: Number | None = None
    cache_write_tokens: Number | None = None


class CompletionDetails(msgspec.Struct, gc=False):
    reasoning_tokens: Number | None = None


class WireUsage(msgspec.Struct, gc=False):
    """Counts under every name in use; times in seconds where a server adds them."""

    prompt_tokens: Number | None = None
    completion_tokens: Number | None = None
    total_tokens: Number | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    cached_tokens: Number | None = None
    prompt_cache_hit_tokens: Number | None = None
    reasoning_tokens: Number | None = None
    queue_time: Number | None = None
    prompt_time: Number | None = None
    completion_time: Number | None = None


class GroqExtra(msgspec.Struct, gc=False):
    usage: WireUsage | None = None
    error: Any = None


class LlamaTimings(msgspec.Struct, gc=False):
    """`prompt_n` leaves out the `cache_n` tokens that were still in the cache."""

    cache_n: Number | None = None
    prompt_n: Number | None = None
    predicted_n: Number | None = None
    prompt_ms: Number | None = None
    predicted_ms: Number | None = None


class TimeInfo(msgspec.Struct, gc=False):
    """Cerebras, in seconds."""

    queue_time: Number | None = None
    prompt_time: Number | None = None
    completion_time: Number | None = None


class Event(msgspec.Struct, gc=False):
    """One event. `error` and `object` only tell that it is a failure; its body is read again by `failures`."""

    choices: list[Choice] | None = None
    usage: WireUsage | None = None
    error: Any = None
    object: str | None = None
    x_groq: GroqExtra | None = None
    timings: LlamaTimings | None = None
    time_info: TimeInfo | None = None


decode_event = msgspec.json.Decoder(Event).decode
