"""What an emulated model says."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from simulation.answer import Ask, plan

ASK = Ask(label="h100-vllm, H100 (emulated)", seed=1, room=4000)


def test_the_first_words_say_that_it_is_emulated() -> None:
    """An answer in text begins by saying that it is emulated and by whom."""
    assert plan(ASK).text.startswith("Emulated answer of h100-vllm, H100 (emulated)")


def test_the_same_seed_says_the_same() -> None:
    """The seed decides the answer, and another seed gives another one."""
    assert plan(ASK) == plan(ASK)
    assert plan(replace(ASK, seed=2)).text != plan(ASK).text


def test_lengths_spread_around_the_typical_one() -> None:
    """Without a bound, the median answer has about 120 tokens, and some have twice as many."""
    lengths = sorted(plan(replace(ASK, seed=seed)).tokens for seed in range(400))
    assert 100 < lengths[200] < 150
    assert lengths[-20] > 240


@given(st.integers(0, 10_000), st.integers(1, 400), st.lists(st.sampled_from(["no model", "e", "prefill"]), max_size=2))
def test_bounds_hold_and_the_tokens_make_up_the_text(seed: int, bound: int, stops: list[str]) -> None:
    """An answer has at most the tokens asked for, holds no stop sequence, and its tokens joined are its text."""
    answer = plan(replace(ASK, seed=seed, max_tokens=bound, stop=tuple(stops)))
    assert 1 <= answer.tokens <= bound
    assert not any(stop in answer.text for stop in stops)
    assert "".join(answer.piece(n) for n in range(answer.tokens)) == answer.text
    assert answer.tokens == max(1, math.ceil(len(answer.text) / 4))
    assert (answer.stop in stops) == (answer.stop is not None)


def test_a_bound_that_cuts_is_a_finish_reason() -> None:
    """An answer that was cut ends with "length", a whole one with "stop"."""
    assert plan(replace(ASK, max_tokens=5)).finish_reason == "length"
    assert plan(ASK).finish_reason == "stop"


def test_exactly_as_many_tokens_as_were_asked_for() -> None:
    """With `exact`, the bound is used up however long it is."""
    assert plan(replace(ASK, max_tokens=1000, exact=True)).tokens == 1000


def test_a_tool_is_called_with_arguments_that_fit_its_schema() -> None:
    """The named tool is called, with every required argument."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    answer = plan(replace(ASK, tools=(("other", None), ("weather", schema)), call=True, call_name="weather"))
    assert answer.finish_reason == "tool_calls"
    assert [(tool.name, json.loads(tool.arguments)) for tool in answer.tools] == [("weather", {"city": "emulated"})]


def test_a_continued_answer_does_not_introduce_itself() -> None:
    """What goes on from another backend's words begins in the middle."""
    assert not plan(replace(ASK, continues=True)).text.startswith("Emulated")
