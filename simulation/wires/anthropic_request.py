"""A Messages request, seen from the vendor's side: read, checked, and turned into what an emulated model needs."""

from __future__ import annotations

import hashlib
import re
import zlib
from dataclasses import dataclass
from typing import Any

import msgspec

from simulation.answer import Ask, count_tokens
from simulation.wire import IMAGE_TOKENS, MESSAGE_TOKENS, encode, is_asked_for
from simulation.wires.anthropic_checks import Body, blocks_of, check, refusal, text_of

VERSIONS = ("2023-06-01", "2026-10-21")
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_EXTRA = re.compile(r"Object contains unknown field `(\w+)`")

_decode = msgspec.json.Decoder(Body).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that passed. `cached_prefix` is what its cache marks cover, with its tokens; `said` all text of it."""

    model: str
    stream: bool
    prompt_tokens: int
    ask: Ask
    thinks: bool
    shows_thinking: bool
    said: str
    cached_prefix: tuple[str, int] | None


def parse(body: bytes, *, version: str) -> Request:
    """Reads a body. Raises WireError in the vendor's words."""
    try:
        read = _decode(body)
    except msgspec.DecodeError as error:
        raise refusal("invalid_request_error", _in_its_words(str(error))) from None
    check(read, has_sampling=version == VERSIONS[0])
    thinking = read.thinking or {}
    thinks = thinking.get("type") in ("enabled", "adaptive")
    return Request(
        model=read.model,
        stream=read.stream,
        prompt_tokens=_tokens(read),
        ask=_ask(read),
        thinks=thinks,
        shows_thinking=thinks and thinking.get("display") != "omitted",
        said=" ".join(text_of(block) for turn in read.messages for block in blocks_of(turn.content)),
        cached_prefix=_cached_prefix(read),
    )


def _ask(read: Body) -> Ask:
    tools = tuple((tool["name"], tool["input_schema"]) for tool in read.tools)
    wanted: dict[str, Any] = read.tool_choice or {"type": "auto"}
    choice, name = wanted["type"], wanted.get("name", "")
    last = read.messages[-1]
    if choice == "auto" and last.role == "user":
        said = " ".join(str(block.get("text", "")) for block in blocks_of(last.content)).lower()
        name = next((tool for tool, _ in tools if is_asked_for(tool, said)), "")
    return Ask(
        label="",
        seed=zlib.crc32(encode(read.messages)),
        room=0,
        max_tokens=read.max_tokens,
        stop=tuple(read.stop_sequences),
        schema=((read.output_config or {}).get("format") or {}).get("schema"),
        tools=tools,
        call=choice in ("any", "tool") or (choice == "auto" and bool(name)),
        call_name=name,
        continues=last.role == "assistant",
    )


def _cached_prefix(read: Body) -> tuple[str, int] | None:
    if not any("cache_control" in block for block in (*read.tools, *blocks_of(read.system))):
        return None
    return hashlib.sha256(encode([read.model, read.tools, read.system])).hexdigest(), _prefix_tokens(read)


def _prefix_tokens(read: Body) -> int:
    tools = count_tokens(len(encode(read.tools))) if read.tools else 0
    return tools + sum(count_tokens(len(text_of(block))) for block in blocks_of(read.system))


def _tokens(read: Body) -> int:
    found = _prefix_tokens(read)
    for turn in read.messages:
        blocks = blocks_of(turn.content)
        images = sum(block["type"] == "image" for block in blocks)
        texts = sum(count_tokens(len(text_of(block))) for block in blocks)
        found += MESSAGE_TOKENS + texts + images * IMAGE_TOKENS
    return found


def _in_its_words(text: str) -> str:
    """What msgspec says, as the vendor would."""
    at = text.partition("`$.")[2].rstrip("`").replace("[", ".").replace("]", "")
    for pattern, words in ((_MISSING, "Field required"), (_EXTRA, "Extra inputs are not permitted")):
        if found := pattern.match(text):
            return f"{at + '.' if at else ''}{found[1]}: {words}"
    return f"{at}: {text.partition(' - at')[0]}" if at else text
