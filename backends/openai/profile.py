"""What may differ between servers that speak the OpenAI chat wire. The table of them is `profiles`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from backends.dialect import Dialect

Prefill = Literal["none", "native", "continue_final_message", "prefix"]
ReasoningField = Literal["none", "reasoning", "reasoning_content", "reasoning_details"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(Dialect):
    """One dialect.

    Attributes:
        chat_path: where chat completions are asked for; `{model}` and `{api_version}` stand for what is to be there.
        completions_path: where plain completions are; likewise.
        api_version: what `{api_version}` is unless the backend's options say otherwise.
        stream_options: sent with every request; empty where the server refuses the field, or counts tokens unasked.
        tool_choice_auto: "auto" has to be said, since the server takes silence for "none".
        any_tool: its word for "call some tool".
        message_names: whether `messages[].name` is taken.
        short_tool_ids: ids of tool calls are exactly nine alphanumerics.
        end_user: its field for the caller's own user; None if it refuses one (it shapes no answer, so it is left out).
        service_tiers: whether `service_tier` is taken; elsewhere it is left out, and the standard service is charged.
        prefill: how a trailing assistant message is continued instead of answered.
        schema_field: where a JSON schema goes; `json_schema` takes the bare schema.
        reasoning_back: the field in which earlier reasoning goes back with its message.
        signed_calls: tool calls carry Google's thought signatures, both ways.
        reasoning_outside_output: `completion_tokens` leaves reasoning tokens out.
        aborts_when_full: a full queue may show as finish reason "abort".
        most_stops: how many stop sequences it takes; None where no limit is known.
        stops_here: stop sequences are looked for on our side, since the server's own way spoils the text.
        orca: whether it is asked for an ORCA load report.
        extra_body: fields that go with every request as they are.
    """

    chat_path: str = "/v1/chat/completions"
    completions_path: str = "/v1/completions"
    api_version: str = ""
    stream_options: tuple[tuple[str, bool], ...] = (("include_usage", True),)
    tool_choice_auto: bool = False
    any_tool: str = "required"
    message_names: bool = True
    short_tool_ids: bool = False
    end_user: str | None = "user"
    service_tiers: bool = False
    prefill: Prefill = "none"
    schema_field: Literal["response_format", "json_schema"] = "response_format"
    reasoning_back: ReasoningField = "none"
    signed_calls: bool = False
    reasoning_outside_output: bool = False
    aborts_when_full: bool = False
    most_stops: int | None = None
    stops_here: bool = False
    orca: bool = False
    extra_body: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
