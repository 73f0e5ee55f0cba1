"""llama.cpp in a child process of the router: a model file is all that is needed."""

from __future__ import annotations

from importlib.util import find_spec

from backends.llama_embedded.adapter import EmbeddedLlama
from backends.openai.profiles import PROFILES
from backends.spec import BackendSpec
from backends.wire import Option, Resources, Wire

_COUNT = r"[1-9]\d{0,6}"


def _build(spec: BackendSpec, resources: Resources) -> EmbeddedLlama:
    if find_spec("xllamacpp") is None:  # the child needs it: it shows here, not when the first request comes
        raise ModuleNotFoundError("no engine to start", name="xllamacpp")
    return EmbeddedLlama(spec, resources)


WIRE = Wire(
    name="llama_cpp_embedded",
    dialects={"llama_cpp": PROFILES["llama_cpp"]},
    build=_build,
    schemes=frozenset({"file"}),
    options={
        "context_tokens": Option(help="tokens of context, over all slots", pattern=_COUNT),
        "slots": Option(help="sequences at the same time", pattern=_COUNT),
        "threads": Option(help="CPU threads", pattern=_COUNT),
        "gpu_layers": Option(help="layers on the GPU; -1: as many as fit", pattern=r"-1|\d{1,5}"),
    },
    extra="device",
)
