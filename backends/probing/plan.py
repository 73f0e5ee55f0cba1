"""Where a server may be asked how it is, without generating, draining or billing. Data; `prober` does the asking."""

from __future__ import annotations

from dataclasses import dataclass

from backends.probing.json_load import JsonLoad
from backends.probing.metrics_text import GaugeNames


@dataclass(frozen=True, slots=True, kw_only=True)
class Asleep:
    """Where a server says that its model is put away until the next request: a true field of a JSON object."""

    path: str
    field: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePlan:
    """The questions of one family.

    Attributes:
        liveness: answers 200 when it serves; None where only the models list can be asked.
        metrics: Prometheus text; None where there is none.
        gauges: the names in it.
        loads: the load as JSON, for a server whose metrics are switched off.
        asleep: asked as often as the models are.
        models: lists the models; None where nobody may be asked. Without `liveness` too, a connection (with TLS, where
            the address has it) is the only question.
        loaded: lists the models in memory, where a server loads them on demand; asked every time.
        models_every_s: how old the list of models may get. Without `liveness` that list is the liveness.
    """

    liveness: str | None = None
    metrics: str | None = None
    gauges: GaugeNames | None = None
    loads: JsonLoad | None = None
    asleep: Asleep | None = None
    models: str | None = "/v1/models"
    loaded: str | None = None
    models_every_s: float = 60.0
