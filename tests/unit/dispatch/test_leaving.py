"""A caller who leaves between two events: whatever was begun for the next one is ended."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest

from backends.scripted import Fail, Finish, Text
from router.dispatch.events import Rerouted, Routed, ServeEvent
from tests.unit.dispatch.conftest import ask, wanted

GOOD = [Text(text="good"), Finish()]


@pytest.mark.parametrize(("last", "holder"), [(Routed, "a"), (Rerouted, "b")])
async def test_leaving_at_the_news_of_an_attempt_ends_it(
    make_rig: Callable[..., Any], last: type[ServeEvent], holder: str
) -> None:
    """A caller who goes away while taking Routed or Rerouted leaves no attempt behind, though one had begun."""
    rig = make_rig({"a": [[Fail(code="UPSTREAM_FAULT")]], "b": [GOOD]})

    async with aclosing(rig.director.serve(ask(), wanted())) as events:
        async for event in events:
            if isinstance(event, last):
                break
        assert rig.fleet.members[holder].live.in_flight == 1

    assert [member.live.in_flight for member in rig.fleet.members.values()] == [0, 0]
    assert rig.admission.in_flight == 0
    cancelled = {"backend": holder, "result": "CANCELLED"}
    assert rig.metrics.registry.get_sample_value("router_attempts_total", cancelled) == 1
