"""Streams to begin with: one of each wire written here, and the recorded ones where they lie beside this project."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from simulation.recordings.load import NoRecordings, load
from simulation.recordings.routes import Route, route
from simulation.wires import event_stream

RECORDINGS_VARIABLE = "RECORDINGS"
RECORDINGS = Path(
    os.environ.get(RECORDINGS_VARIABLE) or Path(__file__).resolve().parents[3] / "shared" / "cassettes" / "open"
)
MAX_SEED_BYTES = 16 * 1024


def _events(*values: Any, named: bool = False, end: bytes = b"") -> bytes:
    lines = (
        (f"event: {value['type']}\n" if named else "").encode() + b"data: " + json.dumps(value).encode() + b"\n\n"
        for value in values
    )
    return b"".join(lines) + end


_USAGE = {
    "prompt_tokens": 3,
    "completion_tokens": 2,
    "total_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 1},
}
_CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
_LOGPROBS = {
    "content": [{"token": "H", "logprob": -0.5, "bytes": [72], "top_logprobs": [{"token": "H", "logprob": -0.5}]}]
}
_CHAT = _events(
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None}]},
    {
        "choices": [
            {
                "index": 0,
                "delta": {
                    "reasoning_content": "hm",
                    "reasoning_details": [{"type": "reasoning.text", "text": "x", "signature": "s"}],
                },
            }
        ]
    },
    {"choices": [{"index": 0, "delta": {"content": "Hé €"}, "logprobs": _LOGPROBS}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": [_CALL]}}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls", "stop_reason": None}]},
    {"choices": [], "usage": _USAGE, "timings": {"cache_n": 1, "prompt_n": 2, "predicted_n": 2, "predicted_ms": 3.5}},
    end=b": keepalive 1/2\n\ndata: [DONE]\n\n",
)
_MESSAGES = _events(
    {
        "type": "message_start",
        "message": {"usage": {"input_tokens": 3, "cache_read_input_tokens": 1, "output_tokens": 1}},
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hé"}},
    {"type": "content_block_stop", "index": 1},
    {
        "type": "content_block_start",
        "index": 2,
        "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}},
    },
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"a":1}'}},
    {"type": "content_block_stop", "index": 2},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 7},
    },
    {"type": "message_stop"},
    named=True,
)
_GEMINI = _events(
    {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": "hm", "thought": True, "thoughtSignature": "c2ln"}]}}
        ]
    },
    {"candidates": [{"content": {"parts": [{"text": "Hé"}, {"functionCall": {"name": "f", "args": {"a": 1}}}]}}]},
    {
        "candidates": [
            {"finishReason": "STOP", "logprobsResult": {"chosenCandidates": [{"token": "H", "logProbability": -1}]}}
        ],
        "usageMetadata": {
            "promptTokenCount": 3,
            "candidatesTokenCount": 2,
            "thoughtsTokenCount": 1,
            "totalTokenCount": 6,
        },
    },
)
_OLLAMA = b"".join(
    json.dumps(line).encode() + b"\n"
    for line in (
        {"model": "m", "message": {"role": "assistant", "thinking": "hm", "content": ""}, "done": False},
        {
            "model": "m",
            "message": {"content": "Hé", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
        },
        {
            "message": {"content": ""},
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": 3,
            "eval_count": 2,
            "eval_duration": 9,
        },
    )
)
_CONVERSE = b"".join(
    event_stream.event(name, json.dumps(payload).encode())
    for name, payload in (
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hm"}}}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "s"}}}),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "Hé"}}),
        ("contentBlockStart", {"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "t", "name": "f"}}}),
        ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"toolUse": {"input": '{"a":1}'}}}),
        ("contentBlockStop", {"contentBlockIndex": 2}),
        ("messageStop", {"stopReason": "tool_use"}),
        ("metadata", {"usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}, "metrics": {"latencyMs": 9}}),
    )
)
_THROTTLED = event_stream.exception("throttlingException", b'{"message":"slow down"}') + event_stream.error("500", "oh")
_DOCUMENT = b'{"choices":[{"message":{"content":"H"},\n "finish_reason":"stop"}],\n "usage":{"completion_tokens":1}}'
_GENERATED = b'[{"generated_text":"H","details":{"finish_reason":"length","generated_tokens":1}}]'


def _in_parts(payload: bytes) -> bytes:
    return b"".join(event_stream.event("PayloadPart", payload[at : at + 90]) for at in range(0, len(payload), 90))


_REPLICATE = (
    b": hi\n\nevent: output\nid: 1:0\ndata: H\ndata: \xc3\xa9\n\nevent: done\nid: 1:1\ndata: {}\n\n"
    b'event: error\ndata: {"detail":"no"}\n\n'
)

OWN: Mapping[str, tuple[bytes, ...]] = MappingProxyType(
    {
        "openai_chat": (_CHAT, _CHAT.replace(b"\n", b"\r\n")),
        "anthropic": (_MESSAGES,),
        "gemini": (_GEMINI,),
        "ollama": (_OLLAMA,),
        "bedrock": (_CONVERSE, _THROTTLED),
        "sagemaker": (
            *map(_in_parts, (_CHAT, _CHAT.replace(b"data: ", b"").replace(b"\n\n", b"\n"), _DOCUMENT, _GENERATED)),
        ),
        "replicate": (_REPLICATE,),
    }
)


def recorded() -> Iterator[tuple[str, bytes]]:
    """Wire and bytes of every recorded answer that is not too long; nothing where there are no recordings."""
    try:
        interactions = load(RECORDINGS).interactions
    except NoRecordings:
        return
    for interaction in interactions:
        found = route(interaction)
        for answer in (interaction, *interaction.later):
            if isinstance(found, Route) and 0 < len(answer.body) <= MAX_SEED_BYTES:
                yield found.wire, answer.body


def streams(wires: frozenset[str], *, with_recorded: bool = True) -> list[bytes]:
    """What these wires look like."""
    own = [stream for wire in sorted(wires) for stream in OWN[wire]]
    return own + ([body for wire, body in recorded() if wire in wires] if with_recorded else [])
