"""Triton's wire: KServe v2 over gRPC, for models of its TensorRT-LLM and vLLM backends."""

from __future__ import annotations

from backends.contract import Backend
from backends.rpc.options import OPTIONS, SCHEMES
from backends.spec import BackendSpec
from backends.triton.dialects import DIALECTS
from backends.wire import Option, Resources, Wire


def _build(spec: BackendSpec, resources: Resources) -> Backend:
    from backends.triton.build import build  # noqa: PLC0415 - loads gRPC

    return build(spec, resources)


WIRE = Wire(
    name="triton",
    dialects=DIALECTS,
    build=_build,
    schemes=SCHEMES,
    options={
        **OPTIONS,
        "stream": Option(
            help="whether the model answers in pieces, true or false; read from its configuration if unset",
            pattern=r"true|false",
        ),
        "cumulative": Option(
            help="whether each answer repeats the text so far, true or false; read from its configuration if unset",
            pattern=r"true|false",
        ),
        "schema_field": Option(
            help="where the vllm backend takes a schema: structured_outputs (the default) or guided_decoding (older)",
            pattern=r"structured_outputs|guided_decoding",
        ),
    },
)
