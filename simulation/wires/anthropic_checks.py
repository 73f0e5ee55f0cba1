"""What the emulated vendor checks before a model sees a request, and in which words it refuses.

The checks are its documented ones: text that is blank, roles and results of tools that do not fit together, thinking
beside what excludes it, schemas that are open, signatures that are not its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from simulation.wire import encode
from simulation.wires.serving import WireError

STATUS_OF = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_ID = re.compile(r"[a-zA-Z0-9_-]+")
_CHOICES = frozenset({"auto", "any", "tool", "none"})
_EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max"})
_IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})

Block = dict[str, Any]
Content = str | list[Block]


class Turn(msgspec.Struct, forbid_unknown_fields=True):
    role: str
    content: Content


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """A request as it was sent."""

    model: str
    max_tokens: int
    messages: list[Turn]
    system: Content | None = None
    stream: bool = False
    stop_sequences: list[str] = []
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    tools: list[Block] = []
    tool_choice: Block | None = None
    thinking: Block | None = None
    output_config: Block | None = None
    metadata: Block | None = None
    service_tier: str | None = None
    cache_control: Block | None = None


def refusal(kind: str, message: str, *, error_code: str = "", **headers: str) -> WireError:
    """The vendor's form of an error."""
    return WireError(STATUS_OF[kind], error_body(kind, message, error_code=error_code), headers)


def error_body(kind: str, message: str, *, error_code: str = "") -> bytes:
    details = {"error_code": error_code} if error_code else None
    error = {"details": details, "type": kind, "message": message}
    return encode({"type": "error", "error": error, "request_id": "req_emulated"})


def signature_of(thinking: str) -> str:
    """What proves that a text is this server's."""
    return "emulated" + hashlib.sha256(b"emulated" + thinking.encode()).hexdigest()


def check(body: Body, *, has_sampling: bool) -> None:
    """Raises WireError at the first thing that is wrong; `has_sampling`: whether the version has its parameters."""
    for field in ("temperature", "top_p", "top_k"):
        _check(has_sampling or getattr(body, field) is None, f"{field}: Extra inputs are not permitted")
    _check(body.max_tokens >= 1, "max_tokens: Input should be greater than or equal to 1")
    _check(body.temperature is None or 0 <= body.temperature <= 1, "temperature: range: 0..1")
    for at, stop in enumerate(body.stop_sequences):
        _check(bool(stop.strip()), f"stop_sequences.{at}: each stop sequence must contain non-whitespace")
    _check_turns(body)
    _check_tools(body)
    _check_thinking(body)
    config = body.output_config or {}
    _check(config.get("effort") in _EFFORTS | {None}, "output_config.effort: Input should be 'low', 'medium' or 'high'")
    _check_closed((config.get("format") or {}).get("schema"))


def _check_turns(body: Body) -> None:
    _check(bool(body.messages), "messages: at least one message is required")
    called: set[str] = set()
    for at, turn in enumerate(body.messages):
        where = f"messages.{at}"
        _check(turn.role in ("user", "assistant"), f"{where}.role: Input should be 'user' or 'assistant'")
        blocks = blocks_of(turn.content)
        is_last = at == len(body.messages) - 1
        _check(bool(blocks) or is_last, f"{where}: all messages must have non-empty content")
        answered: set[str] = set()
        for number, block in enumerate(blocks):
            _check_block(f"{where}.content.{number}", block)
            if block["type"] == "tool_result":
                first = [other["type"] for other in blocks[:number]]
                _check(set(first) <= {"tool_result"}, f"{where}: `tool_result` blocks must come first")
                unexpected = f"{where}.content.{number}: unexpected `tool_use_id` found in `tool_result` blocks"
                _check(block["tool_use_id"] in called, unexpected)
                answered.add(block["tool_use_id"])
        missing = f"{where}: `tool_use` ids were found without `tool_result` blocks immediately after"
        _check(called <= answered, missing)
        called = {block["id"] for block in blocks if block["type"] == "tool_use"}
    last = body.messages[-1]
    if last.role == "assistant":
        texts = [text_of(block) for block in blocks_of(last.content)]
        blank = "messages: final assistant content cannot end with trailing whitespace"
        _check(not texts or texts[-1] == texts[-1].rstrip(), blank)


def _check_block(where: str, block: dict[str, Any]) -> None:
    match block.get("type"):
        case "text":
            _check(
                bool(block.get("text", "").strip()), "messages: text content blocks must contain non-whitespace text"
            )
        case "image":
            source = block.get("source") or {}
            is_inline = source.get("type") == "base64" and source.get("media_type") in _IMAGE_TYPES
            is_address = source.get("type") == "url" and str(source.get("url")).startswith(("http://", "https://"))
            _check(is_inline or is_address, f"{where}.image.source: Input should be a valid source")
        case "tool_use":
            pattern = f"{where}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
            _check(_ID.fullmatch(str(block.get("id"))) is not None, pattern)
            _check(isinstance(block.get("input"), dict), f"{where}.tool_use.input: Input should be a valid dictionary")
        case "tool_result":
            _check(isinstance(block.get("tool_use_id"), str), f"{where}.tool_result.tool_use_id: Field required")
            for part in blocks_of(block.get("content", "")):
                _check_block(where, part)
        case "thinking":
            own = block.get("signature") == signature_of(block.get("thinking", ""))
            # What was sent without its text comes back without it.
            _check(own or block.get("thinking") == "", f"{where}: Invalid `signature` in `thinking` block")
        case "redacted_thinking":
            _check(isinstance(block.get("data"), str), f"{where}.redacted_thinking.data: Field required")
        case kind:
            _check(False, f"{where}: Input tag '{kind}' found using 'type' does not match any of the expected tags")


def _check_tools(body: Body) -> None:
    names = []
    for at, tool in enumerate(body.tools):
        for field in ("name", "input_schema"):
            _check(field in tool, f"tools.{at}.custom.{field}: Field required")
        is_object = tool["input_schema"].get("type") == "object"
        _check(is_object, f"tools.{at}.custom.input_schema.type: Field required")
        names.append(tool["name"])
    _check(len(set(names)) == len(names), "tools: Tool names must be unique.")
    blocks = (block for turn in body.messages for block in blocks_of(turn.content))
    has_calls = any(block["type"] in ("tool_use", "tool_result") for block in blocks)
    _check(bool(body.tools) or not has_calls, "Requests which include `tool_use` blocks must define tools")
    choice = body.tool_choice
    if choice is None:
        return
    _check(choice.get("type") in _CHOICES, "tool_choice: Input tag does not match any of the expected tags")
    _check(bool(body.tools), "tool_choice may only be specified while providing tools")
    if choice["type"] == "tool":
        _check(choice.get("name") in names, f"Tool '{choice.get('name')}' not found in provided tools")


def _check_thinking(body: Body) -> None:
    thinking = body.thinking
    if thinking is None:
        return
    kinds = ("enabled", "disabled", "adaptive")
    _check(thinking.get("type") in kinds, "thinking: Input tag does not match any of the expected tags")
    if thinking["type"] == "enabled":
        budget = thinking.get("budget_tokens", 0)
        _check(budget >= 1024, "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        _check(budget < body.max_tokens, "`max_tokens` must be greater than `thinking.budget_tokens`")
    if thinking["type"] != "disabled":
        _check(body.temperature in (None, 1), "`temperature` may only be set to 1 when thinking is enabled")
        _check(body.top_k is None, "`top_k` must be unset when thinking is enabled")
        forced = (body.tool_choice or {}).get("type") in ("any", "tool")
        _check(not forced, "Thinking may not be enabled when tool_choice forces tool use.")


def _check_closed(schema: Any) -> None:
    if isinstance(schema, dict):
        is_open = schema.get("type") == "object" and schema.get("additionalProperties") is not False
        needed = (
            "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false"
        )
        _check(not is_open, needed)
        for value in schema.values():
            _check_closed(value)
    elif isinstance(schema, list):
        for value in schema:
            _check_closed(value)


def blocks_of(content: Content | None) -> Sequence[Block]:
    """Content as blocks; a string is short for one of text."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content or ()


def text_of(block: Block) -> str:
    """What a block says, the results of tools included."""
    content = block.get("content", "")
    if isinstance(content, list):
        content = " ".join(text_of(part) for part in content)
    return str(block.get("text", "")) + str(content)


def _check(is_right: bool, message: str) -> None:  # noqa: FBT001 - the condition that is checked
    if not is_right:
        raise refusal("invalid_request_error", message)
