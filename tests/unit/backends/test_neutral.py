"""A parameter that is switched off is no reason to avoid a family that lacks it."""

from __future__ import annotations

import json

from backends.contract import GenerateRequest, Sampling
from backends.neutral import NEUTRAL, fitting
from backends.openai.encode import encode
from backends.openai.profiles import PROFILES
from router.api.wire.needs import derive_parameters
from router.domain.fleet import Parameter

OFF = Sampling(presence_penalty=0, frequency_penalty=0.0, repetition_penalty=1, min_p=0, top_k=-1, top_p=1, seed=0)


def test_what_is_switched_off_is_sent_to_whoever_takes_it_and_left_out_elsewhere() -> None:
    """A server that knows the field gets it, since its own default may differ; another gets a request without it."""
    request = GenerateRequest(model="m", prompt="x", sampling=OFF)
    _, whole = encode(fitting(request, PROFILES["vllm"].parameters), upstream_model="m", profile=PROFILES["vllm"])
    assert json.loads(whole).keys() >= set(NEUTRAL)
    left = fitting(request, {"seed", "temperature"}).sampling
    assert left == Sampling(seed=0)


def test_what_asks_for_something_stays() -> None:
    """Every other value is kept, so that the adapter can refuse it."""
    sampling = Sampling(presence_penalty=0.5, top_k=1, top_p=0.9, min_p=0.1)
    request = GenerateRequest(model="m", prompt="x", sampling=sampling)
    assert fitting(request, ()) is request


def test_the_filter_asks_for_what_is_asked() -> None:
    """Of parameters that are switched off only the seed, which has no such value, is needed."""
    assert derive_parameters(OFF) == {Parameter.SEED}
    assert derive_parameters(Sampling(top_p=0.5, presence_penalty=0.0)) == {Parameter.TOP_P}
