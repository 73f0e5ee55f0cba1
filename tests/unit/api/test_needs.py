"""What a request asks for without saying so."""

from __future__ import annotations

import msgspec
import pytest

from backends.contract import Sampling, ToolChoice
from router.api.wire.needs import derive_parameters
from router.domain.fleet import Parameter

SET = {
    "max_output_tokens": 5,
    "temperature": 0.0,
    "top_p": 0.5,
    "top_k": 3,
    "min_p": 0.1,
    "stop": ("x",),
    "seed": 0,
    "presence_penalty": 0.1,
    "frequency_penalty": -1.0,
    "repetition_penalty": 1.1,
    "top_logprobs": 0,
    "reasoning_effort": "low",
}


@pytest.mark.parametrize("name", sorted(SET))
def test_a_parameter_that_is_set_is_asked_for(name: str) -> None:
    """Also a seed of zero: it is a seed like any other."""
    sampling = msgspec.convert({name: SET[name]}, Sampling)
    assert derive_parameters(sampling) == {Parameter(name)}


def test_nothing_set_asks_for_nothing() -> None:
    """No parameter, an empty list of stops and no log probabilities leave every backend in."""
    assert derive_parameters(Sampling()) == frozenset()
    assert derive_parameters(Sampling(stop=(), logprobs=False)) == frozenset()


@pytest.mark.parametrize(
    ("choice", "asked"),
    [
        (ToolChoice(), set()),
        (ToolChoice(mode="none", parallel=True), set()),
        (ToolChoice(mode="required"), {Parameter.TOOL_CHOICE}),
        (ToolChoice(mode="function", name="f"), {Parameter.TOOL_CHOICE}),
        (ToolChoice(parallel=False), {Parameter.PARALLEL_TOOL_CALLS}),
    ],
)
def test_what_is_asked_of_calls(choice: ToolChoice, asked: set[Parameter]) -> None:
    """A call that must be made and one call at a time need a word of the family; what it does anyway needs none."""
    assert derive_parameters(Sampling(), choice) == asked


def test_all_at_once() -> None:
    """Every parameter there is can be asked for."""
    everything = derive_parameters(msgspec.convert(SET, Sampling), ToolChoice(mode="required", parallel=False))
    assert everything == frozenset(Parameter)
