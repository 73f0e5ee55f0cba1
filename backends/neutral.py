"""Values of parameters that ask for nothing: what a family without the parameter does anyway.

Many clients send every parameter they know, most of them switched off. A value that is switched off is sent to whoever
takes the parameter (a model's own default may be another), and is no reason to avoid whoever does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from backends.contract import GenerateRequest, Sampling

NEUTRAL: Mapping[str, tuple[float, ...]] = {
    "presence_penalty": (0.0,),
    "frequency_penalty": (0.0,),
    "repetition_penalty": (1.0,),
    "min_p": (0.0,),
    "top_k": (0.0, -1.0),
    "top_p": (1.0,),
}
_DEFAULT = Sampling()


def is_neutral(name: str, value: object) -> bool:
    """Whether a parameter of that value asks for nothing."""
    return value in NEUTRAL.get(name, ())


def fitting(request: GenerateRequest, parameters: Iterable[str]) -> GenerateRequest:
    """The request without neutral values of parameters that a family does not take; itself where it has none."""
    sampling = request.sampling
    if sampling is _DEFAULT or sampling == _DEFAULT:
        return request
    left_out = {name: None for name in NEUTRAL if name not in parameters and is_neutral(name, getattr(sampling, name))}
    if not left_out:
        return request
    return msgspec.structs.replace(request, sampling=msgspec.structs.replace(sampling, **left_out))
