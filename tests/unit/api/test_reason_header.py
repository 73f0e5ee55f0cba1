"""Proxies read the reason of an HTTP error from a header; config/envoy.yaml sends SHUTTING_DOWN to another router."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from router.api.openai_errors import error_answer
from router.errors import RouterError, Shed, ShuttingDown, UnknownModel

ENVOY = Path(__file__).resolve().parents[3] / "config" / "envoy.yaml"


@pytest.mark.parametrize("error", [ShuttingDown("going"), Shed("full"), UnknownModel("no such model")])
def test_the_reason_travels_in_a_header(error: RouterError) -> None:
    """An error's answer carries its reason code beside the body."""
    _, headers, _ = error_answer(error, "request-1")

    assert dict(headers)[b"x-router-reason"] == error.reason.encode()


def test_envoy_looks_for_the_header_that_is_sent() -> None:
    """What Envoy retries is what a stopping router answers with, on every route."""
    listeners = yaml.safe_load(ENVOY.read_text("utf-8"))["static_resources"]["listeners"]
    _, headers, _ = error_answer(ShuttingDown("going"), "request-1")
    sent = {name.decode(): value.decode() for name, value in headers}

    for listener in listeners:
        manager: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
        policy = manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["retry_policy"]
        (wanted,) = policy["retriable_headers"]
        assert sent[wanted["name"]] == wanted["string_match"]["exact"]
        assert "retriable-headers" in policy["retry_on"].split(",")
