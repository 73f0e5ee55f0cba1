"""Answers that were kept without their frames: which endpoint they are of, and the frames that its wire has.

A recorder that sits behind an SDK keeps decoded events or objects. Their content is recorded; what is put around them
here is ours, and reported so. The endpoint is told by what the events look like.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from simulation.recordings.frames import write_aws, write_lines, write_sse
from simulation.recordings.interaction import Interaction

_SSE = {"content-type": "text/event-stream"}
_BEDROCK = frozenset(
    {"messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"}
)


class UnknownPayload(ValueError):
    """Nothing that tells which endpoint it is of."""


def from_document(value: Any, *, url: str = "") -> Interaction:
    """A whole answer."""
    path = _document_path(value)
    if path is None and not url:
        raise UnknownPayload("a bare document of no endpoint that is known here")
    body = json.dumps(value, ensure_ascii=False).encode()
    return Interaction(
        url=url or str(path), body=body, headers={"content-type": "application/json"}, framing="rewritten"
    )


def _document_path(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    for found, path in (
        (value.get("object") == "chat.completion", "/chat/completions"),
        (value.get("object") == "text_completion", "/completions"),
        (value.get("object") == "response", "/responses"),
        (value.get("type") == "message" and "content" in value, "/messages"),
        ("candidates" in value or "promptFeedback" in value, "/models/recorded:generateContent"),
        ("stopReason" in value and "output" in value, "/model/recorded/converse"),
        ("done" in value and "message" in value, "/api/chat"),
        ("done" in value and "response" in value, "/api/generate"),
        ("embedding" in value or "embeddings" in value, "/embeddings"),
        (value.get("object") == "list" and "data" in value, "/embeddings"),
        ("predictions" in value, "/models/recorded:predict"),
        ("data" in value and "created" in value, "/images/generations"),
        ("choices" in value, "/chat/completions"),
    ):
        if found:
            return path
    return None


def from_events(payloads: list[Any], *, url: str = "") -> list[Interaction]:
    """The answers in a list of decoded events; a file may hold several, one after the other."""
    events = [event for event in payloads if isinstance(event, dict)]
    if not events:
        raise UnknownPayload("a list of events that holds none")
    for is_of, make in _STREAMS:
        if any(is_of(event) for event in events[:5]):
            return make(events, url)
    raise UnknownPayload("events of no endpoint that is known here")


def _chat(events: list[dict[str, Any]], url: str) -> list[Interaction]:
    kind = "/completions" if any(e.get("object") == "text_completion" for e in events) else "/chat/completions"
    # Azure's first event, about the prompt, has no id: it belongs to what follows.
    answers: list[list[dict[str, Any]]] = []
    current = ""
    for event in events:
        if not answers or (event.get("id") and current and event["id"] != current):
            answers.append([])
        current = event.get("id") or current
        answers[-1].append(event)
    return [_stream(url or kind, write_sse([*map(_text, answer), "[DONE]"])) for answer in answers]


def _messages(events: list[dict[str, Any]], url: str) -> list[Interaction]:
    answers = _split(events, lambda event: event.get("type") == "message_start")
    return [_stream(url or "/messages", write_sse(map(_text, answer), named=True)) for answer in answers]


def _gemini(events: list[dict[str, Any]], url: str) -> list[Interaction]:
    path = url or "/models/recorded:streamGenerateContent"
    return [_stream(path, write_sse(map(_text, events), newline="\r\n"))]


def _bedrock(events: list[dict[str, Any]], url: str) -> list[Interaction]:
    found = []
    for answer in _split(events, lambda event: "messageStart" in event):
        frames = [(kind, _text(payload).encode()) for event in answer for kind, payload in event.items()]
        kind = "application/vnd.amazon.eventstream"
        found.append(_stream(url or "/model/recorded/converse-stream", write_aws(frames), kind))
    return found


def _ollama(events: list[dict[str, Any]], url: str) -> list[Interaction]:
    path = url or ("/api/chat" if "message" in events[0] else "/api/generate")
    return [_stream(path, write_lines(events), "application/x-ndjson")]


def _responses(events: list[dict[str, Any]], url: str) -> list[Interaction]:
    return [_stream(url or "/responses", write_sse(map(_text, events), named=True))]


_STREAMS: tuple[tuple[Callable[[dict[str, Any]], bool], Callable[[list[dict[str, Any]], str], list[Interaction]]], ...]
_STREAMS = (
    (lambda event: str(event.get("type", "")).startswith("response."), _responses),
    (lambda event: event.get("type") in ("message_start", "content_block_start", "content_block_delta"), _messages),
    (lambda event: "choices" in event, _chat),
    (lambda event: "candidates" in event or "usageMetadata" in event, _gemini),
    (lambda event: not _BEDROCK.isdisjoint(event), _bedrock),
    (lambda event: "done" in event and ("message" in event or "response" in event), _ollama),
)


def _split(events: list[dict[str, Any]], begins: Callable[[dict[str, Any]], bool]) -> list[list[dict[str, Any]]]:
    answers: list[list[dict[str, Any]]] = [[]]
    for event in events:
        if begins(event) and answers[-1]:
            answers.append([])
        answers[-1].append(event)
    return answers


def _stream(url: str, body: bytes, kind: str = "text/event-stream") -> Interaction:
    return Interaction(url=url, body=body, headers={**_SSE, "content-type": kind}, framing="ours")


def _text(event: Any) -> str:
    return json.dumps(event, ensure_ascii=False)
