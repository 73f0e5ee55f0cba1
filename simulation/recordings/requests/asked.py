"""A request in the words of the canonical model, as far as answers depend on it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from backends.contract import GenerateRequest, ImagePart, Message, Sampling, TextPart, Tool, ToolCall

Role = Literal["system", "user", "assistant", "tool"]


class Beyond(ValueError):
    """The canonical model has no word for it."""


@dataclass(slots=True, kw_only=True)
class Turn:
    """A message. `results` of tools are (id of the call, text); `calls` are (id, name, arguments)."""

    role: Role
    text: str = ""
    images: list[str] = field(default_factory=list)
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    results: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Asked:
    """All of a request. `prompt` is set where it has no messages."""

    turns: list[Turn] = field(default_factory=list)
    prompt: str | None = None
    tools: dict[str, Any] = field(default_factory=dict)
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()

    def canonical(self, model: str) -> GenerateRequest:
        """The same as a request to an adapter."""
        sampling = Sampling(
            max_output_tokens=self.max_tokens, temperature=self.temperature, top_p=self.top_p, stop=self.stop
        )
        if self.prompt is not None:
            return GenerateRequest(model=model, prompt=self.prompt, sampling=sampling)
        messages = [message for turn in self.turns for message in _messages(turn)]
        if not messages:
            raise Beyond("a request without messages")
        tools = tuple(
            Tool(name=name, parameters=None if schema is None else msgspec.Raw(json.dumps(schema).encode()))
            for name, schema in self.tools.items()
        )
        return GenerateRequest(model=model, messages=tuple(messages), tools=tools, sampling=sampling)


def _messages(turn: Turn) -> list[Message]:
    found = [Message(role="tool", tool_call_id=call_id, content=text) for call_id, text in turn.results]
    if turn.text or turn.images or turn.calls or not turn.results:
        content: str | tuple[TextPart | ImagePart, ...] = turn.text
        if turn.images:
            text = (TextPart(text=turn.text),) if turn.text else ()
            content = (*text, *(ImagePart(url=url) for url in turn.images))
        calls = tuple(
            ToolCall(id=call_id, name=name, arguments=json.dumps(arguments)) for call_id, name, arguments in turn.calls
        )
        found.append(Message(role=turn.role, content=content, tool_calls=calls))
    return found


def differences(theirs: Asked, ours: Asked) -> list[str]:
    """What differs between the recorded request and the one our encoder made of it."""
    found = []
    if theirs.prompt != ours.prompt:
        found.append(f"prompt: {brief(theirs.prompt)} became {brief(ours.prompt)}")
    before, after = _joined(theirs.turns), _joined(ours.turns)
    if [turn["role"] for turn in before] != [turn["role"] for turn in after]:
        roles = (", ".join(str(turn["role"]) for turn in turns) for turns in (before, after))
        found.append("roles: {} became {}".format(*roles))
    else:
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            found += [
                f"messages[{number}].{name}: {brief(one[name])} became {brief(other[name])}"
                for name in one
                if one[name] != other[name]
            ]
    for name in sorted(theirs.tools.keys() | ours.tools.keys()):
        if name not in ours.tools or name not in theirs.tools:
            found.append(f"tool {name}: {'missing' if name in theirs.tools else 'added'}")
        elif _schema(theirs.tools[name]) != _schema(ours.tools[name]):
            found.append(f"tool {name}: schema {brief(theirs.tools[name])} became {brief(ours.tools[name])}")
    if theirs.max_tokens is not None and theirs.max_tokens != ours.max_tokens:
        found.append(f"max tokens: {theirs.max_tokens} became {ours.max_tokens}")
    return found


def _joined(turns: list[Turn]) -> list[dict[str, Any]]:
    """Neighbours of one role are one: wires differ in whether they may be two. Ids of calls are the vendor's own."""
    found: list[dict[str, Any]] = []
    for turn in turns:
        role = "user" if turn.role == "tool" else turn.role
        if not found or found[-1]["role"] != role:
            found.append({"role": role, "text": "", "images": [], "calls": [], "results": []})
        last = found[-1]
        last["text"] += "".join(turn.text.split())  # joining may put a line end between two texts
        last["images"] += turn.images
        last["calls"] += [(name, arguments or {}) for _, name, arguments in turn.calls]
        last["results"] += ["".join(text.split()) for _, text in turn.results]
    return found


def _schema(value: Any) -> Any:
    """No schema, and one of an object without properties, are the same to say."""
    return {"type": "object", "properties": {}} if value in (None, {}, {"type": "object"}) else value


def text_of(content: Any, *, allowed: frozenset[str] = frozenset({"text"})) -> str:
    """The text of a content that is a string or a list of text parts.

    Raises:
        Beyond: it holds something else.
    """
    if content is None or isinstance(content, str):
        return content or ""
    parts = []
    for part in content:
        if isinstance(part, str):
            parts.append(part)
        elif part.get("type", "text") in allowed:
            parts.append(part.get("text") or "")
        else:
            raise Beyond(f"a part of the kind {part.get('type')!r}")
    return "".join(parts)


def brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 100 else f"{text[:99]}…"
