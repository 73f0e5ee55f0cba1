"""Grades of answers reach the belief in a model, once each, from who got the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from backends.scripted import Finish, Text
from router.dispatch.grades import Grades
from router.domain.outcome import PickReport
from router.domain.quality import Quality
from router.errors import NotFound
from tests.unit.dispatch.conftest import wanted

GOOD = [Text(text="good"), Finish()]
MakeRig = Callable[..., Any]


async def test_a_served_answer_may_be_graded_once(make_rig: MakeRig) -> None:
    """By its request id; a second grade, another tenant's or one of an unknown request is refused."""
    rig = make_rig({"a": [GOOD]})
    await rig.serve(request_id="r1", task="code")
    before = rig.fleet.quality("m").of("code")
    for stranger in (PickReport(pick_id="r1", tenant="other", quality=1.0), PickReport(pick_id="r2", quality=1.0)):
        with pytest.raises(NotFound):
            rig.director.report(stranger)
    rig.director.report(PickReport(pick_id="r1", quality=1.0))
    assert rig.fleet.quality("m").of("code") > before
    with pytest.raises(NotFound):
        rig.director.report(PickReport(pick_id="r1", quality=1.0))


def test_a_pick_is_graded_with_its_report_or_after_it(make_rig: MakeRig) -> None:
    """The report of how it went may hold the grade; one that comes later counts as well, once."""
    rig = make_rig({"a": [GOOD]})
    for name in ("p1", "p2"):
        rig.director.pick(wanted(request_id=name, task="chat"))
    rig.director.report(PickReport(pick_id="p1", quality=1.0))
    once = rig.fleet.quality("m").of("chat")
    rig.director.report(PickReport(pick_id="p2"))
    assert rig.fleet.quality("m").of("chat") == once > 0.0
    rig.director.report(PickReport(pick_id="p2", quality=1.0))
    assert rig.fleet.quality("m").of("chat") > once


def test_no_more_answers_are_remembered_than_there_is_room_for() -> None:
    """The oldest are forgotten first."""
    grades = Grades(lambda _: Quality(), capacity=2)
    for n in range(3):
        grades.answered(f"r{n}", "t", "m", "chat")
    assert [grades.grade(f"r{n}", "t", 1.0) for n in range(3)] == [False, True, True]
