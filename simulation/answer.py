"""What an emulated model says: seeded text that calls itself emulated, tool calls and JSON, cut into tokens.

A token is four characters, on the way in and on the way out, so that counts, bounds and what is sent agree.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from random import Random
from typing import Any

from simulation.schema import instance

CHARS_PER_TOKEN = 4
TYPICAL_TOKENS = 120
SPREAD_LOG = 0.6
SENTENCES = (
    "The first token waits for the whole prompt to be read, the others for one step each. ",
    "A larger batch costs every member a little time and saves the operator a lot of money. ",
    "Weights are read from memory once per step, however many sequences share that step. ",
    "Prefill is bound by arithmetic and decoding by memory bandwidth. ",
    "Tensor parallelism divides the weights but not the overhead of launching each layer. ",
    "A chip that keeps its weights in SRAM answers quickly and holds few of them. ",
    "The cheapest backend is rarely the fastest, and an objective in dollars weighs the two. ",
    "A queue in front of an accelerator adds its whole length to the time to first token. ",
    "Long contexts make each step slower, since the cache of every earlier token is read again. ",
    "Privacy is a limit and not a preference: no fallback may pass it. ",
    "An estimate that says how sure it is can be trusted where it is sure. ",
    "Speed that was promised yesterday has to be measured again today. ",
)


def count_tokens(characters: int) -> int:
    """Tokens of that many characters."""
    return math.ceil(characters / CHARS_PER_TOKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolPlan:
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer, planned before its first token is due. `text` is empty when tools are called.

    `tokens` counts every token of it; `stop` is the stop sequence that ended it.
    """

    text: str = ""
    tools: tuple[ToolPlan, ...] = ()
    finish_reason: str = "stop"
    stop: str | None = None
    tokens: int = 1

    def piece(self, index: int) -> str:
        """The token of that index, of an answer in text."""
        return self.text[index * CHARS_PER_TOKEN : (index + 1) * CHARS_PER_TOKEN]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What shapes an answer, out of a request.

    Attributes:
        label: who answers ("h100-vllm, 4x NVIDIA H100"), said in the first words.
        seed: the same seed gives the same answer.
        max_tokens: the bound, if any; `room` is what the context window leaves.
        exact: use the bound up, as if the model never stopped by itself.
        schema: of the JSON object that is wanted; None when text is.
        tools: what may be called, as (name, parameters schema).
        call: a tool must be called; `call_name` says which.
        continues: the answer goes on where the caller's last message ends.
    """

    label: str
    seed: int
    room: int
    max_tokens: int | None = None
    exact: bool = False
    stop: tuple[str, ...] = ()
    schema: object | None = None
    tools: tuple[tuple[str, Any], ...] = ()
    call: bool = False
    call_name: str = ""
    continues: bool = False


def plan(ask: Ask) -> Answer:
    """The answer that a request gets."""
    rng = Random(ask.seed)
    bound = max(1, ask.room if ask.max_tokens is None else min(ask.max_tokens, ask.room))
    if ask.call and ask.tools:
        name, parameters = next((tool for tool in ask.tools if tool[0] == ask.call_name), ask.tools[0])
        arguments = json.dumps(instance(parameters))
        tokens = count_tokens(len(name) + len(arguments))
        if tokens > bound:
            cut = max(0, bound * CHARS_PER_TOKEN - len(name))
            return Answer(tools=(ToolPlan(name=name, arguments=arguments[:cut]),), finish_reason="length", tokens=bound)
        return Answer(tools=(ToolPlan(name=name, arguments=arguments),), finish_reason="tool_calls", tokens=tokens)
    if ask.schema is not None:
        text, wanted = json.dumps(instance(ask.schema)), bound
    else:
        wanted = bound if ask.exact else min(bound, max(16, round(TYPICAL_TOKENS * rng.lognormvariate(0, SPREAD_LOG))))
        text = _prose(ask, rng, wanted)
    return _cut(text, bound, ask.stop)


def _prose(ask: Ask, rng: Random, wanted: int) -> str:
    """Sentences until there are enough tokens."""
    parts = [] if ask.continues else [f"Emulated answer of {ask.label}: no model has run. "]
    length = sum(map(len, parts))
    while length < wanted * CHARS_PER_TOKEN:
        parts.append(rng.choice(SENTENCES))
        length += len(parts[-1])
    text = "".join(parts)
    return text if ask.exact else text.rstrip()


def _cut(text: str, bound: int, stops: tuple[str, ...]) -> Answer:
    found = [(at, stop) for stop in stops if stop and (at := text.find(stop)) >= 0]
    if found:
        at, stop = min(found)
        if count_tokens(at) <= bound:
            return Answer(text=text[:at], stop=stop, tokens=max(1, count_tokens(at)))
    if count_tokens(len(text)) > bound:
        return Answer(text=text[: bound * CHARS_PER_TOKEN], finish_reason="length", tokens=bound)
    return Answer(text=text, tokens=max(1, count_tokens(len(text))))
