"""From the bodies of /v1/chat/completions and /v1/completions to what adapters send and what routing needs.

Each field of the OpenAI API works, or is refused by name, or has no effect on the answer and is then named in
`ignored`, which the caller gets back: nothing is dropped in silence. Bounds are those of the gRPC face, so that both
accept the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from backends.contract import GenerateRequest, Sampling
from router.api.wire import openai_routing as routing
from router.api.wire.checks import Checks
from router.api.wire.estimate import estimate_input_tokens
from router.api.wire.needs import derive_needs, derive_parameters
from router.api.wire.openai_messages import convert_messages
from router.api.wire.openai_problems import decode_json
from router.api.wire.openai_schema import ChatBody, CommonBody, CompletionBody
from router.api.wire.openai_tools import convert_response_format, convert_tool_choice, convert_tools
from router.api.wire.prefix import prefix_blocks
from router.domain.request import RequestProfile, StreamBreakAction
from router.domain.tenant import DEFAULT_TENANT
from router.errors import InvalidRequest, UnsupportedParameter, Violation

Headers = Sequence[tuple[bytes, bytes]]

_CHAT = msgspec.json.Decoder(ChatBody)
_COMPLETION = msgspec.json.Decoder(CompletionBody)
_LEGACY_MAX_TOKENS = 16  # what /v1/completions means by leaving max_tokens out

# Field, the values that ask for nothing, and what to do instead.
_REFUSED_COMMON: tuple[tuple[str, tuple[object, ...], str], ...] = (
    ("n", (None, 1), "one answer per request is generated; send the request again for each further one"),
    ("logit_bias", (None, {}), "is not passed on by every backend, so it is refused by all"),
)
_REFUSED_CHAT = (
    *_REFUSED_COMMON,
    ("audio", (None,), "audio output is not offered"),
    ("modalities", (None, [], ["text"]), "text is the only output that is offered"),
    ("prediction", (None,), "predicted outputs are not offered"),
    ("web_search_options", (None,), "web search is not offered; offer the model a tool instead"),
    ("moderation", (None,), "moderation is not offered"),
    ("verbosity", (None, "medium"), "is not passed on; ask for it in the prompt"),
    ("functions", (None, []), "is the deprecated form; use tools"),
    ("function_call", (None,), "is the deprecated form; use tool_choice"),
    ("service_tier", (None, "auto", "default"), "is a vendor's own; use router.service_tier or router.priority"),
)
_REFUSED_COMPLETION = (
    *_REFUSED_COMMON,
    ("best_of", (None, 1), "one answer per request is generated"),
    ("echo", (None, False), "the prompt is not given back"),
    ("suffix", (None, ""), "insertion is not offered"),
)
_WITHOUT_EFFECT = ("metadata", "prompt_cache_options", "prompt_cache_retention", "store")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """One request of the HTTP face. `ignored` names accepted fields that change nothing about the answer."""

    request: GenerateRequest
    profile: RequestProfile
    stream: bool
    include_usage: bool
    chat: bool
    ignored: tuple[str, ...] = ()


def decode_chat(body: bytes, headers: Headers, *, request_id: str, now: float, tenant: str = DEFAULT_TENANT) -> Decoded:
    """Decodes a body of /v1/chat/completions; `now` is monotonic and turns a timeout into a deadline.

    Raises:
        InvalidRequest: and nothing else; it names the field at fault.
    """
    chat = decode_json(body, _CHAT)
    _refuse(chat, _REFUSED_CHAT)
    checks = Checks()
    ignored = [name for name in _WITHOUT_EFFECT if getattr(chat, name)]
    messages = convert_messages(chat.messages, checks, ignored)
    request = GenerateRequest(
        model=checks.text("model", chat.model),
        messages=messages,
        tools=convert_tools(chat.tools, checks) if chat.tools else (),
        tool_choice=convert_tool_choice(chat, checks),
        response_format=convert_response_format(chat.response_format, checks) if chat.response_format else None,
        sampling=_chat_sampling(chat, checks),
        end_user=chat.user or chat.safety_identifier or None,
    )
    if chat.user and chat.safety_identifier and chat.user != chat.safety_identifier:
        ignored.append("safety_identifier")
    session_key = chat.prompt_cache_key or ""
    return _decoded(chat, request, headers, checks, ignored, request_id, now, tenant=tenant, session_key=session_key)


def decode_completion(
    body: bytes, headers: Headers, *, request_id: str, now: float, tenant: str = DEFAULT_TENANT
) -> Decoded:
    """Decodes a body of /v1/completions.

    Raises:
        InvalidRequest: and nothing else; it names the field at fault.
    """
    completion = decode_json(body, _COMPLETION)
    _refuse(completion, _REFUSED_COMPLETION)
    checks = Checks()
    request = GenerateRequest(
        model=checks.text("model", completion.model),
        prompt=_prompt(completion.prompt),
        sampling=_sampling(
            completion,
            max_output_tokens=completion.max_tokens or _LEGACY_MAX_TOKENS,
            logprobs=completion.logprobs is not None,
            top_logprobs=completion.logprobs,
        ),
        end_user=completion.user or None,
    )
    return _decoded(completion, request, headers, checks, [], request_id, now, tenant=tenant, session_key="")


def _refuse(body: CommonBody, table: tuple[tuple[str, tuple[object, ...], str], ...]) -> None:
    refused = [
        Violation(name, f"is not supported: {instead}")
        for name, neutral, instead in table
        if getattr(body, name) not in neutral
    ]
    options = body.stream_options
    if options is not None and options.include_obfuscation:
        refused.append(Violation("stream_options.include_obfuscation", "is not supported: events are not padded"))
    if refused:
        raise UnsupportedParameter(*refused)


def _decoded(
    body: CommonBody,
    request: GenerateRequest,
    headers: Headers,
    checks: Checks,
    ignored: list[str],
    request_id: str,
    now: float,
    *,
    tenant: str,
    session_key: str,
) -> Decoded:
    stream = body.stream is True
    if body.stream_options is not None and not stream:
        checks.add("stream_options", "is allowed only when stream is true")
    wishes = routing.options_from_headers(headers)
    options = routing.merge(body.router, wishes)
    if stream and options.on_stream_break is StreamBreakAction.RESTART:
        by_body = body.router is not None and body.router.on_stream_break is not None
        checks.add(
            "router.on_stream_break" if by_body else "x-router-on-stream-break",
            "'restart' cannot take back text that was streamed; use 'continue', or leave stream out",
        )
    checks.raise_any()
    return Decoded(
        request=request,
        profile=_profile(request, options, request_id, now, tenant, session_key),
        stream=stream,
        include_usage=body.stream_options is not None and body.stream_options.include_usage is True,
        chat=isinstance(body, ChatBody),
        ignored=tuple(ignored),
    )


def _profile(
    request: GenerateRequest,
    options: routing.RouterOptions,
    request_id: str,
    now: float,
    tenant: str,
    session_key: str,
) -> RequestProfile:
    needs = derive_needs(request)
    input_tokens = estimate_input_tokens(request)
    return RequestProfile(
        request_id=request_id,
        model=request.model,
        tenant=tenant,
        input_tokens=input_tokens,
        max_output_tokens=request.sampling.max_output_tokens,
        expected_output_tokens=options.expected_output_tokens,
        needs=needs | frozenset(options.capabilities) if options.capabilities else needs,
        parameters=derive_parameters(request.sampling, request.tool_choice),
        minimum_quality=options.minimum_quality,
        minimum_context_tokens=options.minimum_context_tokens,
        task=options.task or "*",
        slo=routing.slo(options),
        max_cost_usd=options.max_cost_usd,
        placement=routing.placement(options),
        objective=options.objective,
        workload_class=options.workload_class or "",
        service_tier=options.service_tier or "",
        session_key=options.session_id or session_key,
        shared_prefix_tokens=options.shared_prefix_tokens or 0,
        blocks=prefix_blocks(request, tenant, input_tokens),
        priority=routing.priority(options),
        on_stream_break=options.on_stream_break or StreamBreakAction.ERROR,
        idempotency_key=options.idempotency_key or "",
        max_attempts=options.max_attempts,
        explain=options.explain is True,
        deadline_s=None if options.timeout_s is None else now + options.timeout_s,
    )


def _chat_sampling(chat: ChatBody, checks: Checks) -> Sampling:
    limit = chat.max_completion_tokens if chat.max_completion_tokens is not None else chat.max_tokens
    if chat.max_tokens is not None and limit != chat.max_tokens:
        checks.add("max_tokens", "contradicts max_completion_tokens; send one of the two")
    if chat.top_logprobs is not None and not chat.logprobs:
        checks.add("top_logprobs", "needs logprobs to be true")
    return _sampling(
        chat,
        max_output_tokens=limit,
        logprobs=chat.logprobs is True,
        top_logprobs=chat.top_logprobs,
        reasoning_effort=chat.reasoning_effort,
    )


def _sampling(
    body: CommonBody,
    *,
    max_output_tokens: int | None,
    logprobs: bool,
    top_logprobs: int | None,
    reasoning_effort: str | None = None,
) -> Sampling:
    stop = body.stop
    return Sampling(
        max_output_tokens=max_output_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=body.top_k,
        stop=(stop,) if isinstance(stop, str) else tuple(stop or ()),
        seed=body.seed,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        repetition_penalty=body.repetition_penalty,
        min_p=body.min_p,
        logprobs=logprobs,
        top_logprobs=top_logprobs,
        reasoning_effort=reasoning_effort,
    )


def _prompt(prompt: Any) -> str:
    """The one prompt; batches and token ids would need a tokenizer or several answers."""
    one = prompt[0] if isinstance(prompt, list) and len(prompt) == 1 else prompt
    if isinstance(one, str):
        if not one:
            raise InvalidRequest(Violation("prompt", "must not be empty"))
        return one
    if isinstance(prompt, list) and prompt and all(isinstance(part, str) for part in prompt):
        raise UnsupportedParameter(Violation("prompt", "is not supported: one prompt per request; send one for each"))
    if isinstance(prompt, list) and prompt:
        raise UnsupportedParameter(Violation("prompt", "is not supported: token ids; send text"))
    raise InvalidRequest(Violation("prompt", "must be a string"))
