"""What a backend is to the router: one request in, a stream of chunks out.

Adapters translate between these values and a vendor's wire. They know nothing of routing, and every failure that leaves
an adapter is a `backends.errors.BackendError`. The values are msgspec structs because one is made per upstream read.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from enum import StrEnum
from typing import Literal, Protocol

import msgspec

from backends.spec import BackendSpec

# How long an adapter that is no longer wanted goes on with what it has begun.
LAST_ANSWERS_S = 60.0

Role = Literal["system", "user", "assistant", "tool"]


class FinishReason(StrEnum):
    """Why an answer ended, in the words of the OpenAI wire."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    ERROR = "error"


class TextPart(msgspec.Struct, frozen=True, kw_only=True, tag="text"):
    text: str


class ImagePart(msgspec.Struct, frozen=True, kw_only=True, tag="image"):
    """An image by its http(s) or data URL; raw bytes arrive here as a data URL."""

    url: str
    detail: str | None = None


class ReasoningBlock(msgspec.Struct, frozen=True, kw_only=True):
    """What a model thought in an earlier turn, as its vendor wants it back.

    `signature` is the vendor's own proof that the text is its model's; of a redacted block only that is there.
    """

    text: str = ""
    signature: str | None = None
    redacted: bool = False


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call the model made; `arguments` is the JSON object as it was written, `signature` its vendor's own."""

    id: str
    name: str
    arguments: str
    signature: str | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn. `content` is plain text, or parts where images are mixed in."""

    role: Role
    content: str | tuple[TextPart | ImagePart, ...] = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    reasoning: tuple[ReasoningBlock, ...] = ()


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    description: str | None = None
    parameters: msgspec.Raw | None = None
    strict: bool | None = None


class ToolChoice(msgspec.Struct, frozen=True, kw_only=True):
    mode: Literal["auto", "none", "required", "function"] = "auto"
    name: str | None = None
    parallel: bool | None = None


class ResponseFormat(msgspec.Struct, frozen=True, kw_only=True):
    kind: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    schema: msgspec.Raw | None = None
    strict: bool | None = None
    description: str | None = None


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """Sampling parameters; None is "not asked", and is not sent."""

    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    min_p: float | None = None
    logprobs: bool = False
    top_logprobs: int | None = None
    reasoning_effort: str | None = None


class GenerateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to generate. Either `messages` or `prompt` is set, never both.

    `service_tier` is the vendor's own word for the service to be charged by; wires without one leave it out.
    """

    model: str
    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    response_format: ResponseFormat | None = None
    sampling: Sampling = Sampling()
    end_user: str | None = None
    service_tier: str | None = None


class ToolCallDelta(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a tool call; id, name and signature come once, in the first piece of an index."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    signature: str | None = None


class TokenLogprob(msgspec.Struct, frozen=True, kw_only=True):
    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top: tuple[TokenLogprob, ...] = ()


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens. `cached_input` and `cache_write_input` are parts of `input`, `reasoning` is a part of `output`."""

    input: int = 0
    cached_input: int = 0
    cache_write_input: int = 0
    output: int = 0
    reasoning: int = 0
    estimated: bool = False


class UpstreamTimings(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine itself says of one request, in seconds."""

    queue_s: float | None = None
    prefill_s: float | None = None
    decode_s: float | None = None


class LoadReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a probe learnt. None is "the engine does not say", never zero.

    `models` can be asked for; `loaded` are those in memory now, where a server loads them as they are asked for.
    """

    healthy: bool
    warming: bool = False
    reason: str = ""
    rtt_s: float | None = None
    running: int | None = None
    waiting: int | None = None
    kv_cache_usage: float | None = None
    models: tuple[str, ...] | None = None
    loaded: tuple[str, ...] | None = None


TokensOf = Literal["all", "input", "output"]


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """How much of one rate limit is left, and how many seconds until it is full again; None where nobody says.

    `counts` says whose tokens: some vendors limit those of prompts and of answers apart.
    """

    remaining: float
    limit: float | None = None
    reset_s: float | None = None
    counts: TokensOf = "all"


class Headroom(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of a vendor's limits, each by its tightest window."""

    requests: Window | None = None
    tokens: Window | None = None


class Signals(msgspec.Struct, frozen=True, kw_only=True):
    """What the head of an answer says beside the answer: rate limits, and the load of the engine that gave it."""

    headroom: Headroom | None = None
    load: LoadReport | None = None


class Chunk(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Everything that one read from the upstream brought, in order: reasoning, text, tool calls, then the end.

    A read whose events would break that order becomes several chunks. `events` counts the upstream events that carried
    output (text, reasoning or tool calls): for servers that send a token per event it is the number of tokens.
    The last chunk of a complete answer has `finish_reason`; usage may come with it or alone after it, and the last one
    wins. `signed` are reasoning blocks that ended here: their text was sent before, their signature comes only now.
    `signals` come with the first chunk, where the head of the answer had some.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    events: int = 0
    finish_reason: FinishReason | None = None
    stop_sequence: str | None = None
    usage: Usage | None = None
    timings: UpstreamTimings | None = None
    signed: tuple[ReasoningBlock, ...] = ()
    signals: Signals | None = None


class Backend(Protocol):
    """An adapter that is bound to one address."""

    @property
    def spec(self) -> BackendSpec: ...

    def generate(self, request: GenerateRequest, *, upstream_model: str, request_id: str) -> AsyncGenerator[Chunk]:
        """Sends one request and yields chunks as they arrive.

        The generator ends normally only when the wire's terminal marker was seen. Closing it (also by cancellation)
        aborts the upstream connection at once. It sets no deadline of its own beyond the connect timeout: the caller
        cancels.

        Raises:
            backends.errors.BackendError: and nothing else.
        """
        ...

    async def probe(self, *, timeout_s: float) -> LoadReport:
        """Asks for liveness and load at the cheapest endpoints of the family, never one that generates or bills."""
        ...

    async def aclose(self) -> None:
        """Gives back what it holds. Answers that are being given may end first, for at most `LAST_ANSWERS_S`."""
        ...
