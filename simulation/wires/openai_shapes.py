"""What each vendor adds to the events of an emulated answer, and leaves out: as recordings and SDK types have it."""

from __future__ import annotations

import random
from typing import Any

from simulation.wires.openai_chunks import Told, delta_of
from simulation.wires.openai_vendor import ALPHABET, Events

SIGNATURE = "c2lnbmVkLWJ5LW5vYm9keQ=="
SEED = 10570679248326920000  # beyond 63 bits, as Together's are


def padded(shaped: Events, told: Told) -> Events:
    """Mistral hides the length of a token behind letters of no meaning; a call comes whole, with the finish reason."""
    rng = random.Random(told.id)
    shaped[-1]["choices"][0]["delta"] = {"content": ""}
    for event in shaped[1:]:
        event["p"] = ALPHABET[: rng.randrange(1, len(ALPHABET))]
    return whole_calls(shaped, at=-1)


def whole_calls(shaped: Events, *, at: int) -> Events:
    """All calls in one event, that of index `at` among those without calls."""
    calls = [call for event in shaped for call in delta_of(event).get("tool_calls", ())]
    if not calls:
        return shaped
    kept = [event for event in shaped if "tool_calls" not in delta_of(event)]
    kept[at]["choices"][0]["delta"] = {**delta_of(kept[at]), "tool_calls": joined(calls)}
    return kept


def joined(pieces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    calls: dict[int, dict[str, Any]] = {}
    for piece in pieces:
        call = calls.setdefault(piece["index"], {**piece, "function": dict(piece["function"])})
        if "name" not in piece["function"]:
            call["function"]["arguments"] += piece["function"]["arguments"]
    return list(calls.values())


def obfuscated(shaped: Events, told: Told) -> Events:
    rng = random.Random(told.id)
    for event in shaped:
        event |= {"service_tier": "default", "obfuscation": ALPHABET[: rng.randrange(1, 16)]}
        if told.include_usage:
            event.setdefault("usage", None)
    return shaped


SAFE = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}


def filtered(shaped: Events, told: Told) -> Events:  # noqa: ARG001 - the shape of a hook
    for event in shaped:
        for choice in event["choices"]:
            choice["content_filter_results"] = SAFE if choice["delta"].get("content") else {}
    return shaped


def groq(shaped: Events, told: Told) -> Events:
    """The id in the first chunk; counts and times in the finish chunk, and again where usage is asked for."""
    request_id = f"req_{told.id[-4:]}"
    shaped[0]["x_groq"] = {"id": request_id}
    finish = next(event for event in shaped if event["choices"] and event["choices"][0]["finish_reason"])
    finish["x_groq"] = {"id": request_id, "usage": groq_usage(told)}
    finish["usage"] = groq_usage(told)
    return shaped


def groq_usage(told: Told) -> dict[str, Any]:
    return {**told.usage(), "queue_time": 0.5, "prompt_time": 0.25, "completion_time": 2.0, "total_time": 2.25}


TIMES = {"queue_time": 0.5, "prompt_time": 0.25, "completion_time": 2.0, "total_time": 2.75, "created": 1.0}


def cerebras(shaped: Events, told: Told) -> Events:  # noqa: ARG001 - the shape of a hook
    shaped[-1]["time_info"] = TIMES
    for event in shaped:
        for choice in event["choices"]:
            del choice["logprobs"]
            for call in choice["delta"].get("tool_calls", ()):
                call["type"] = "function"
            if choice["finish_reason"] is None:
                del choice["finish_reason"]
    return shaped


def timed(whole: dict[str, Any], told: Told) -> dict[str, Any]:  # noqa: ARG001 - the shape of a hook
    return {**whole, "time_info": TIMES}


def together(shaped: Events, told: Told) -> Events:
    for event in shaped:
        event.setdefault("usage", None)
        for choice in event["choices"]:
            delta = {"role": "assistant", "content": "", **choice["delta"], "token_id": 16}
            choice |= {"delta": delta, "text": delta["content"], "seed": None}
    if shaped[-1]["choices"]:
        is_over = told.answer.finish_reason == "stop"
        shaped[-1]["choices"][0] |= {"seed": SEED, "finish_reason": "eos" if is_over else told.answer.finish_reason}
    return whole_calls(shaped[1:], at=-1)  # no chunk for the role alone


def together_whole(whole: dict[str, Any], told: Told) -> dict[str, Any]:  # noqa: ARG001 - the shape of a hook
    message = whole["choices"][0]["message"]
    message["tool_calls"] = [{**call, "index": n} for n, call in enumerate(message.get("tool_calls", ()))]
    return {**whole, "prompt": []}


def together_usage(told: Told) -> dict[str, Any]:
    counts = told.usage()
    kept = {name: counts[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    return {**kept, "cached_tokens": told.cached}


def deepseek_usage(told: Told) -> dict[str, Any]:
    hit = {"prompt_cache_hit_tokens": told.cached, "prompt_cache_miss_tokens": told.prompt - told.cached}
    return {**told.usage(), **hit}


def apart_usage(told: Told) -> dict[str, Any]:
    """Reasoning is not in the completion, as with xAI; only the total and the details hold it."""
    return {**told.usage(), "completion_tokens": told.answer.tokens}


def total_only_usage(told: Told) -> dict[str, Any]:
    total = told.prompt + told.output
    return {"prompt_tokens": told.prompt, "completion_tokens": told.answer.tokens, "total_tokens": total}


def openrouter(shaped: Events, told: Told) -> Events:
    """Thoughts twice, as text and as a block that is signed at its end."""
    kind = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
    thoughts = [event for event in shaped if "reasoning" in delta_of(event)]
    for event in thoughts:
        delta_of(event)["reasoning_details"] = [{**kind, "text": delta_of(event)["reasoning"]}]
    if thoughts:
        at = shaped.index(thoughts[-1]) + 1
        signed = {**kind, "signature": SIGNATURE}
        choice = {"index": 0, "delta": {"reasoning_details": [signed]}, "finish_reason": None, "logprobs": None}
        shaped.insert(at, {**thoughts[-1], "choices": [choice]})
    for event in shaped:
        event["provider"] = "Emulated"
    if told.include_usage:
        # The finish reason comes once more with the usage.
        shaped[-1]["choices"] = [{**shaped[-2]["choices"][0], "delta": {"role": "assistant", "content": ""}}]
    return shaped


def google(shaped: Events, told: Told) -> Events:  # noqa: ARG001 - the shape of a hook
    """A call comes whole and signed."""
    kept = whole_calls(shaped, at=0)
    for call in delta_of(kept[0]).get("tool_calls", ()):
        call["extra_content"] = {"google": {"thought_signature": SIGNATURE}}
    return kept
