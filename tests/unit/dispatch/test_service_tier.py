"""The service that a request was priced for is the one that its backend is asked for."""

from __future__ import annotations

import pytest

from backends.contract import GenerateRequest
from router.dispatch.executor import charged_by
from router.domain.policies import WorkloadClass
from router.domain.price_tiers import PriceTier
from router.domain.pricing import Price
from router.domain.request import RequestProfile
from router.prediction.predictor import forecast
from router.scheduling.scheduler import shape_of
from tests.unit.prediction.rows import make_row, make_shape

PRICE = Price(
    backend="a",
    input_usd_per_mtok=1.0,
    output_usd_per_mtok=2.0,
    batch_discount=0.5,
    tiers=(PriceTier(service="flex", factor=0.5),),
)
ASKED = GenerateRequest(model="m", prompt="hi")


@pytest.mark.parametrize(
    ("service", "batch", "said"),
    [("flex", False, "flex"), ("priority", False, None), ("", False, None), ("", True, None), ("flex", True, "flex")],
)
def test_a_backend_is_asked_for_what_was_priced(service: str, said: str | None, *, batch: bool) -> None:
    """A service with a price is said; one without, and a batch, is no word in a request."""
    found = forecast(make_row(PRICE), make_shape(service_tier=service, batch=batch), 10.0)

    assert charged_by(ASKED, found).service_tier == said


def test_a_request_asks_before_its_class_does() -> None:
    """The class's service is what a request without one has."""
    workload = WorkloadClass(name="w", service_tier="flex")

    def service(profile: RequestProfile) -> str:
        return shape_of(profile, workload, time_left_s=1e9).service

    assert service(RequestProfile(request_id="r", model="m")) == "flex"
    assert service(RequestProfile(request_id="r", model="m", service_tier="priority")) == "priority"
