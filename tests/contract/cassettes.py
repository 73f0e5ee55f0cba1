"""Recordings of real services, made by other people, and a reading of them that shares no code with the adapter.

Formats: VCR (with the variants of pydantic-ai and ruby_llm), httpmock when/then documents, one interaction as JSON,
bare event payloads or a bare answer, and SDK objects (content only; their framing is made up here).
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "cassettes" / "open"

PROFILE_OF = {
    "azure": "azure",
    "cerebras": "cerebras",
    "deepseek": "deepseek",
    "gpustack": "generic",
    "groq": "groq",
    "huggingface": "generic",
    "llamacpp": "llama_cpp",
    "mistral": "mistral",
    "mistralrs": "generic",
    "ollama": "generic",
    "openai": "openai",
    "openrouter": "openrouter",
    "together": "together",
    "vllm": "vllm",
    "xai": "xai",
}


@dataclass(frozen=True, slots=True)
class Recording:
    """One answer of a service."""

    provider: str
    file: str
    number: int
    path: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return f"{self.provider}/{self.file}#{self.number}"

    @property
    def is_stream(self) -> bool:
        return self.body.lstrip()[:1] not in (b"{", b"[", b"<", b"")


def recordings() -> list[Recording]:
    """Every recorded answer of a chat or completions endpoint in the folder; empty where there is none."""
    found: list[Recording] = []
    for provider in sorted(PROFILE_OF):
        for file in sorted((FOLDER / provider).glob("*.*")):
            for number, (path, status, headers, body) in enumerate(_load(file)):
                if path.endswith("/completions"):
                    found.append(Recording(provider, file.stem, number, path, status, headers, body))
    return found


Raw = tuple[str, int, dict[str, str], bytes]


def _load(file: Path) -> Iterator[Raw]:
    if file.suffix == ".json":
        yield from _load_json(json.loads(file.read_text()))
        return
    for document in yaml.safe_load_all(file.read_text()):
        if document is None:
            continue
        if "when" in document:
            yield _when_then(document)
        for interaction in document.get("interactions") or document.get("http_interactions") or ():
            yield _interaction(interaction)


def _load_json(value: Any) -> Iterator[Raw]:
    if "lines" in value:
        answers: dict[str, list[str]] = {}  # a file may hold several answers, one after the other
        for line in value["lines"]:
            event = json.loads(line) if line != "[DONE]" else {}
            if event.get("object") == "chat.completion.chunk":
                answers.setdefault(event["id"], []).append(line)
        for lines in answers.values():
            yield "/chat/completions", 200, {}, "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]).encode()
    elif value.get("object") == "chat.completion":
        yield "/chat/completions", 200, {}, json.dumps(value).encode()
    elif "request" in value and "__type__" in str(value["response"].get("body"))[:40]:
        body = value["response"]["body"]
        if isinstance(body, dict):
            yield value["request"]["endpoint"], 200, {}, json.dumps(body["__data__"]).encode()
        else:
            events = "".join(f"data: {json.dumps(event['__data__'])}\n\n" for event in body)
            yield value["request"]["endpoint"], 200, {}, f"{events}data: [DONE]\n\n".encode()
    elif "request" in value:
        yield _interaction(value)


def _when_then(document: dict[str, Any]) -> Raw:
    then = document["then"]
    headers = {item["name"].lower(): item["value"] for item in then.get("header") or ()}
    body = then.get("body") or ""
    raw = base64.b64decode(body) if then.get("body_encoding") == "base64" else body.encode()
    return document["when"]["path"], then["status"], headers, raw


def _interaction(interaction: dict[str, Any]) -> Raw:
    request, response = interaction["request"], interaction["response"]
    status = int(response.get("status_code") or response.get("code") or response["status"]["code"])
    headers = {
        name.lower(): value[0] if isinstance(value, list) else value
        for name, value in (response.get("headers") or {}).items()
    }
    return urlsplit(request.get("uri") or request["url"]).path, status, headers, _body(response)


def _body(response: dict[str, Any]) -> bytes:
    if "parsed_body" in response:
        return json.dumps(response["parsed_body"]).encode()
    body = response.get("body", response.get("content", ""))
    if isinstance(body, dict):
        body = base64.b64decode(body["base64_string"]) if "base64_string" in body else body.get("string", "")
    raw = body if isinstance(body, bytes) else str(body).encode()
    return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw


@dataclass(slots=True)
class Reading:
    """What a recording says, read in the simplest way. Counts are (input, cached, cache-written, output, reasoning)."""

    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str | None, str, str]] = field(default_factory=list)
    finish: str | None = None
    usage: tuple[int, int, int, int, int] | None = None
    error: dict[str, Any] | str | None = None
    is_complete: bool = False


def read(recording: Recording) -> Reading:
    reading = Reading()
    if recording.is_stream:
        text = recording.body.decode().replace("\r\n", "\n")
        payloads = [line[5:].strip() for line in text.split("\n") if line.startswith("data:")]
    else:
        payloads = [recording.body.decode(), "[DONE]"]
    pieces: dict[int, list[str | None]] = {}
    for payload in payloads:
        if payload == "[DONE]":
            reading.is_complete = True
            break
        event = json.loads(payload)
        if event.get("error"):
            reading.error = event["error"]
            break
        for choice in event.get("choices") or ():
            _read_choice(choice, reading, pieces)
        for usage in ((event.get("x_groq") or {}).get("usage"), event.get("usage")):
            if usage:
                reading.usage = _counts(usage, recording.provider)
    # A call that was cut off at the token limit has no arguments; any other has none because it takes none.
    empty = "" if reading.finish == "length" else "{}"
    reading.calls = [(p[0], p[1] or "", p[2] or empty) for _, p in sorted(pieces.items())]
    return reading


def _read_choice(choice: dict[str, Any], reading: Reading, pieces: dict[int, list[str | None]]) -> None:
    delta = choice.get("delta") or choice.get("message") or {"content": choice.get("text")}
    content = delta.get("content") or ""
    if isinstance(content, list):
        for part in content:
            if part["type"] == "thinking":
                reading.reasoning += "".join(piece["text"] for piece in part["thinking"])
            else:
                reading.text += part["text"]
    else:
        reading.text += content
    reading.text += delta.get("refusal") or ""
    reading.reasoning += delta.get("reasoning") or delta.get("reasoning_content") or ""
    for position, call in enumerate(delta.get("tool_calls") or ()):
        piece = pieces.setdefault(call.get("index", position), [None, None, ""])
        function = call.get("function") or {}
        piece[0] = piece[0] or call.get("id")
        piece[1] = piece[1] or function.get("name")
        piece[2] = (piece[2] or "") + (function.get("arguments") or "")
    if choice.get("finish_reason") and reading.finish is None:
        reading.finish = {"eos": "stop", "function_call": "tool_calls"}.get(
            choice["finish_reason"], choice["finish_reason"]
        )
        reading.is_complete = True


def _counts(usage: dict[str, Any], provider: str) -> tuple[int, int, int, int, int]:
    details = usage.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens")
    if cached is None:
        cached = usage.get("prompt_cache_hit_tokens") or usage.get("cached_tokens") or 0
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    output = usage.get("completion_tokens") or 0
    if provider == "xai":
        output = usage["total_tokens"] - usage["prompt_tokens"]
    return usage["prompt_tokens"], cached, details.get("cache_write_tokens") or 0, output, reasoning
