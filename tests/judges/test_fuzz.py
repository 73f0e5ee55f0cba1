"""Decoders of other people's bytes, under bytes that nobody meant: the checks of `make fuzz`, for a moment each."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulation.wires import event_stream
from tools.fuzz.seeds import streams
from tools.fuzz.targets import DECODERS, FAMILIES, TARGETS, Target

EACH = [
    *(pytest.param(target, id=target.name, marks=pytest.mark.judge(target.name, "fuzz")) for target in DECODERS),
    *(pytest.param(target, id=target.name) for target in FAMILIES),
]
# The same function is given to Hypothesis once per target.
PER_TARGET = settings(suppress_health_check=[HealthCheck.differing_executors])

FOUND = {
    "arguments that are no text": (
        "ollama",
        b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"\x81":1}}}]}}\n',
    ),
    "arguments that are no text, as a string": (
        "ollama",
        b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":"\\x"}}]}}\n',
    ),
    "a piece of arguments that is no text": (
        "bedrock",
        event_stream.event("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"toolUse":{"input":"\\q"}}}'),
    ),
    "an input that is no text": (
        "anthropic",
        b'data: {"type":"content_block_start","content_block":{"type":"tool_use","name":"f","input":{"a":"\x81"}}}\n\n',
    ),
    "args that are no text": (
        "gemini",
        b'data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":"\x81"}}}]}}]}\n\n',
    ),
    "a call without a name before a marker without its blank line": (
        "openai_chat",
        b'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}\n\ndata: [DONE]',
    ),
    "content after the end": (
        "bedrock",
        event_stream.event("messageStop", b'{"stopReason":"end_turn"}')
        + event_stream.event("metadata", b'{"usage":{"inputTokens":1,"outputTokens":1}}')
        + event_stream.event("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"late"}}'),
    ),
}


@pytest.mark.parametrize("target", EACH)
@PER_TARGET
@given(data=st.binary(max_size=300))
def test_any_bytes(target: Target, data: bytes) -> None:
    """Bytes without any form: refused in the words of the tree of errors, or waited on within bounds."""
    target.check(data)


@pytest.mark.parametrize("target", EACH)
@PER_TARGET
@given(data=st.data(), first=st.binary(min_size=1, max_size=1), seed=st.integers(0, 2**32), changes=st.integers(0, 6))
def test_streams_with_changes(target: Target, data: st.DataObject, first: bytes, seed: int, changes: int) -> None:
    """Real forms with events lost, doubled and exchanged, and values of other types in them, however they are cut."""
    stream = data.draw(st.sampled_from(streams(target.wires, with_recorded=False)))
    chance = random.Random(seed)
    for _ in range(changes):
        stream = target.change(stream, chance)
    target.check(first + stream)


@pytest.mark.parametrize("found", FOUND)
def test_what_was_found_stays_mended(found: str) -> None:
    """Each of these once left a decoder as an exception of another kind, or as an answer that it was not."""
    name, stream = FOUND[found]
    for first in range(16):
        TARGETS[name].check(bytes([first]) + stream)
