"""Recorded traffic of real services: what each adapter makes of the bytes is what the recording says.

The recordings are other people's and lie beside this project; where they do not, the tests say that nothing is proven.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from backends.http.transport import FastTransport
from simulation.recordings.interaction import Interaction
from simulation.recordings.judge import judge
from simulation.recordings.load import Library, NoRecordings, load
from simulation.recordings.routes import NotApplicable, Route, provider_of, route
from tools.conformance_rows import FAMILIES

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "cassettes" / "open"
RECORDED = [family.name for family in FAMILIES if "recordings" not in family.absent]


def _library() -> Library:
    try:
        return load(FOLDER)
    except NoRecordings:
        return Library()


LIBRARY = _library()


def _family(interaction: Interaction) -> str:
    """The row of the conformance table that an exchange speaks for; "" if it speaks for none."""
    found = route(interaction)
    name = provider_of(interaction)
    if isinstance(found, Route):
        name = found.profile if found.wire == "openai_chat" else found.wire
        if found.wire == "gemini" and found.profile.startswith("vertex"):
            name = "vertex"
    name = {"azure_v1": "azure", "ollama_cloud": "ollama"}.get(name, name)
    return name if name in RECORDED else ""


def _cases() -> list[object]:
    """Every file by the family that it speaks for, and every family of which nothing can be judged."""
    cases: dict[tuple[str, str], list[Interaction]] = {}
    reasons: dict[str, Counter[str]] = {}
    for interaction in LIBRARY.interactions:
        family, found = _family(interaction), route(interaction)
        if isinstance(found, NotApplicable):
            reasons.setdefault(family, Counter())[found.reason] += 1
        else:
            cases.setdefault((family, interaction.file), []).append(interaction)
    silent = set(RECORDED) - {family for family, _ in cases}
    absent = f"no recordings: {FOLDER.parent.name}/{FOLDER.name} is not beside this project"
    params: list[object] = []
    for family in sorted(silent):
        why = reasons[family].most_common(1)[0][0] if family in reasons else absent
        params.append(
            pytest.param([], id=family, marks=[pytest.mark.judge(family, "recordings"), pytest.mark.skip(reason=why)])
        )
    for (family, file), interactions in sorted(cases.items()):
        marks = [pytest.mark.judge(family, "recordings")] if family else []
        params.append(pytest.param(interactions, id=file, marks=marks))
    return params


@pytest.mark.parametrize("interactions", _cases())
async def test_replays_equal(interactions: list[Interaction]) -> None:
    """A recorded answer comes out of the adapter as an independent reading of it, however its bytes are cut."""
    transport = FastTransport()
    try:
        verdicts = [await judge(interaction, transport=transport) for interaction in interactions]
    finally:
        await transport.aclose()
    assert {v.interaction.id: v.differences for v in verdicts if v.outcome != "equal"} == {}


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.skipif(not LIBRARY.interactions, reason="no recordings beside this project")
async def test_a_recording_that_is_cut_is_never_more_than_it_says(share: float) -> None:
    """Every recorded stream, cut off anywhere, is either complete by its own mark of the end or broken."""
    transport = FastTransport()
    wrong: dict[str, list[str]] = {}
    try:
        for interaction in LIBRARY.interactions:
            if interaction.status == 200 and not interaction.is_document:
                cut = replace(interaction, body=interaction.body[: int(len(interaction.body) * share)])
                verdict = await judge(cut, transport=transport, ways=1)
                wrong.update({interaction.id: verdict.differences} if verdict.outcome == "different" else {})
    finally:
        await transport.aclose()
    assert wrong == {}


@pytest.mark.skipif(not LIBRARY.interactions, reason="no recordings beside this project")
def test_every_recording_can_be_read() -> None:
    """No file of the folder is unreadable, and none is passed over but its index."""
    assert LIBRARY.unreadable == []
    assert {Path(name).stem.lower() for name in LIBRARY.others} <= {"index"}


@pytest.mark.skipif(not LIBRARY.interactions, reason="no recordings beside this project")
def test_most_recordings_are_judged() -> None:
    """What no adapter is for is the exception, so that the reasons for it cannot swallow what matters."""
    judged = sum(isinstance(route(interaction), Route) for interaction in LIBRARY.interactions)
    assert judged > 0.85 * len(LIBRARY.interactions)
