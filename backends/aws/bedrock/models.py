"""What the models behind Converse do not have in common, as data: Converse passes such fields on to them unread.

The family is in a model's id (`us.anthropic.claude-...`, `amazon.nova-...`). The id of an application inference profile
hides it; then the operator says it. Of a family that nobody knows nothing special can be asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Thinking = Literal["none", "budget", "adaptive", "nova", "effort"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFamily:
    """Models that take the same additional fields.

    Attributes:
        name: in the configuration.
        ids: found in the ids of its models; the first family that matches is the one.
        top_k: where that parameter goes in the additional fields; empty where it has none.
        thinking: how it is told how much to think: a number of tokens (`budget`) or a word (`adaptive`) as Anthropic
            has them, Amazon's reasoningConfig, OpenAI's reasoning_effort.
        prefill: whether it goes on with an answer that was begun for it.
        signed_reasoning: whether it takes its signed reasoning back.
        blank_stops: whether a stop sequence may be of blanks alone.
        names_stop: whether it can be asked which stop sequence ended an answer.
    """

    name: str
    ids: re.Pattern[str]
    top_k: tuple[str, ...] = ()
    thinking: Thinking = "none"
    prefill: bool = False
    signed_reasoning: bool = False
    blank_stops: bool = True
    names_stop: bool = False


def _claude(name: str, ids: str, *, thinking: Thinking, prefill: bool) -> ModelFamily:
    return ModelFamily(
        name=name,
        ids=re.compile(ids),
        top_k=("top_k",),
        thinking=thinking,
        prefill=prefill,
        signed_reasoning=True,
        blank_stops=False,
        names_stop=True,
    )


_TABLE = (
    _claude(
        "claude_3", r"anthropic\.claude-(?:3-(?:5-)?(?:haiku|sonnet|opus)|v2|instant)", thinking="none", prefill=True
    ),
    _claude(
        "claude_4",
        r"anthropic\.claude-(?:3-7|(?:haiku|sonnet|opus)-4-(?:\d-)?2025)",
        thinking="budget",
        prefill=True,
    ),
    _claude("claude", r"anthropic\.", thinking="adaptive", prefill=False),
    ModelFamily(name="nova_2", ids=re.compile(r"amazon\.nova-2"), top_k=("inferenceConfig", "topK"), thinking="nova"),
    ModelFamily(name="nova", ids=re.compile(r"amazon\.nova"), top_k=("inferenceConfig", "topK"), prefill=True),
    ModelFamily(name="gpt_oss", ids=re.compile(r"openai\."), thinking="effort"),
    ModelFamily(name="command_r", ids=re.compile(r"cohere\.command-r"), top_k=("k",)),
)
_OTHER = ModelFamily(name="other", ids=re.compile(""), signed_reasoning=True)

FAMILIES: Mapping[str, ModelFamily] = MappingProxyType({family.name: family for family in _TABLE})


def family_of(model: str, *, named: str | None = None) -> ModelFamily:
    """The family of a model id or ARN; `named` is the operator's word for it."""
    if named is not None:
        return FAMILIES[named]
    return next((family for family in _TABLE if family.ids.search(model)), _OTHER)
