"""Why a backend was not chosen, as a message."""

from __future__ import annotations

from router.domain.why import Counterfactual, WhyNot
from router.v1 import inference_pb2 as pb


def encode_why_not(into: pb.ExplainResponse, why: WhyNot) -> None:
    """Fills in what answers `why_not_backend`."""
    into.why_not = why.why
    into.why_not_first.extend([_change(change) for change in why.first])
    into.why_not_changes.extend([_change(change) for change in why.changes])


def _change(change: Counterfactual) -> pb.Counterfactual:
    return pb.Counterfactual(
        kind=change.kind.value,
        possible=change.possible,
        what=change.what,
        share=change.share,
        now=change.now,
        value=change.value,
        unit=change.unit,
    )
