"""What may differ between servers that speak the OpenAI chat wire. The table of them is `profiles`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from backends.dialect import Dialect

Prefill = Literal["none", "native", "continue_final_message", "prefix"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(Dialect):
    """One dialect.

    Attributes:
        chat_path: where chat completions are asked for.
        completions_path: where plain completions are.
        stream_options: sent with every request; empty where the server refuses the field.
        parallel_tool_calls: whether the field of that name is taken.
        any_tool: its word for "call some tool".
        message_names: whether `messages[].name` is taken.
        short_tool_ids: ids of tool calls are exactly nine alphanumerics.
        end_user: its field for the caller's own user; None if it refuses one (it shapes no answer, so it is left out).
        prefill: how a trailing assistant message is continued instead of answered.
        reasoning_outside_output: `completion_tokens` leaves reasoning tokens out.
        aborts_when_full: a full queue may show as finish reason "abort".
        orca: whether it is asked for an ORCA load report.
    """

    chat_path: str = "/v1/chat/completions"
    completions_path: str = "/v1/completions"
    stream_options: tuple[tuple[str, bool], ...] = (("include_usage", True),)
    parallel_tool_calls: bool = True
    any_tool: str = "required"
    message_names: bool = True
    short_tool_ids: bool = False
    end_user: str | None = "user"
    prefill: Prefill = "none"
    reasoning_outside_output: bool = False
    aborts_when_full: bool = False
    orca: bool = False
