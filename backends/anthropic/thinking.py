"""How much the model is to think: one word of the caller, said in the way that the model's generation understands.

Models from 4.6 on decide by themselves (`adaptive`) under an effort; older ones take a number of tokens, which is part
of `max_tokens` and at least 1024. While it thinks, the vendor refuses sampling parameters and a forced tool.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from backends.anthropic.profile import Profile
from backends.anthropic.refusal import unsupported
from backends.anthropic.settings import Settings
from backends.contract import GenerateRequest, Message

LEAST_BUDGET: Final = 1024
_EFFORTS: Final[Mapping[str, str]] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
_BUDGETS: Final[Mapping[str, int]] = {"low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768, "max": 49152}
_LEAST_TOP_P: Final = 0.95  # beside thinking


class Thinking(NamedTuple):
    """What goes into the body: `max_tokens`, and `thinking` and `output_config.effort` where they are said."""

    max_tokens: int
    config: Mapping[str, Any] | None = None
    effort: str | None = None


def thinking(request: GenerateRequest, profile: Profile, settings: Settings) -> Thinking:
    """Raises Unsupported for an effort without a word, or one beside what excludes it."""
    sampling = request.sampling
    wanted = sampling.max_output_tokens
    max_tokens = settings.max_tokens if wanted is None else wanted
    if sampling.reasoning_effort is None:
        return Thinking(max_tokens)
    if "reasoning_effort" not in profile.parameters:
        raise unsupported(profile, "reasoning_effort")
    if sampling.reasoning_effort == "none":
        return Thinking(max_tokens, config={"type": "disabled"})
    effort = _EFFORTS.get(sampling.reasoning_effort)
    if effort is None:
        raise unsupported(profile, "reasoning_effort", f"{sampling.reasoning_effort!r} is not one of its efforts")
    if settings.thinking == "effort":
        return Thinking(max_tokens, effort=effort)
    _check_neighbours(request, profile)
    if settings.thinking == "adaptive":
        return Thinking(max_tokens, config={"type": "adaptive", "display": "summarized"}, effort=effort)
    if _is_amid_unsigned_calls(request.messages):
        # Manual thinking cannot begin in the middle of a turn; the vendor's own answer to that is to go on without it.
        return Thinking(max_tokens)
    budget = _BUDGETS[effort]
    if wanted is None:
        return Thinking(max_tokens + budget, config={"type": "enabled", "budget_tokens": budget})
    budget = min(budget, wanted // 2)
    if budget < LEAST_BUDGET:
        raise unsupported(profile, "reasoning_effort", f"needs max_tokens of {2 * LEAST_BUDGET} or more")
    return Thinking(wanted, config={"type": "enabled", "budget_tokens": budget})


def _check_neighbours(request: GenerateRequest, profile: Profile) -> None:
    if profile.is_lenient:
        return
    sampling = request.sampling
    beside = "not beside reasoning_effort"
    if sampling.temperature is not None and sampling.temperature != 1:
        raise unsupported(profile, "temperature", f"other than 1, {beside}")
    if sampling.top_k is not None:
        raise unsupported(profile, "top_k", beside)
    if sampling.top_p is not None and sampling.top_p < _LEAST_TOP_P:
        raise unsupported(profile, "top_p", f"below {_LEAST_TOP_P}, {beside}")
    if request.tool_choice is not None and request.tool_choice.mode in ("required", "function"):
        raise unsupported(profile, "tool_choice", f"a forced call, {beside}")
    if request.messages and request.messages[-1].role == "assistant":
        raise unsupported(profile, "messages", f"an answer to be continued, {beside}")


def _is_amid_unsigned_calls(messages: tuple[Message, ...]) -> bool:
    """Whether results are given to calls that come without what the model thought before it made them."""
    for message in reversed(messages):
        if message.role == "assistant":
            return bool(message.tool_calls) and not any(block.signature for block in message.reasoning)
        if message.role == "user":
            return False
    return False
