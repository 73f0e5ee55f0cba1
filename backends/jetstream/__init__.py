"""JetStream's wire: Google's engine for TPUs, over gRPC."""

from __future__ import annotations

from types import MappingProxyType

from backends.contract import Backend
from backends.dialect import Dialect
from backends.errors import ContextTooLong
from backends.probing.metrics_text import GaugeNames
from backends.probing.plan import ProbePlan
from backends.rpc.options import OPTIONS, SCHEMES
from backends.rpc.rules import with_words
from backends.spec import BackendSpec
from backends.wire import Resources, Wire

DIALECT = Dialect(
    name="jetstream",
    # How an engine samples is settled when it starts; where the answer stops is seen to by the adapter.
    parameters=MappingProxyType({"max_output_tokens": "max_tokens", "stop": "stop"}),
    capabilities=frozenset({"text_completion", "assistant_prefill"}),
    failures=with_words((r"prefill length|max_prefill|longer than .{0,40}(?:prefill|target)", ContextTooLong)),
    probe=ProbePlan(
        metrics="/metrics",  # on a port of its own: the option metrics_url has the whole address
        models=None,
        gauges=GaugeNames(
            running=(),
            waiting=("jetstream_prefill_backlog_size",),
            # A fraction in spite of its name; the cache is divided into slots, one for each answer.
            kv_cache_usage=("jetstream_slots_used_percentage",),
        ),
    ),
)


def _build(spec: BackendSpec, resources: Resources) -> Backend:
    from backends.jetstream.build import build  # noqa: PLC0415 - loads gRPC

    return build(spec, resources)


WIRE = Wire(
    name="jetstream",
    dialects={DIALECT.name: DIALECT},
    build=_build,
    schemes=SCHEMES,
    options=OPTIONS,
)
