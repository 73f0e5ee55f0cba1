"""The checker of histories: it believes what can have happened, and finds what cannot."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.state.linear import Call, Change, Outcome, violations

History = tuple[list[Call], list[Change], list[tuple[int, str]]]


def history(seed: int, *, calls: int = 40, clients: int = 4) -> History:
    """What a right store makes of clients who write at the same time: each write takes effect between its ends."""
    rng = random.Random(seed)
    versions: dict[str, int] = {}
    made: list[Call] = []
    changes: list[Change] = []
    revisions: list[tuple[int, str]] = []
    free_at = [0.0] * clients
    instants = sorted(rng.uniform(0.0, 100.0) for _ in range(calls))
    for n, at in enumerate(instants):
        client = rng.randrange(clients)
        began = rng.uniform(min(free_at[client], at), at)
        ended = at + rng.uniform(0.0, 3.0)
        free_at[client] = ended
        document = rng.choice("abc")
        version = versions.get(document, 0)
        call = Call(
            name=f"op-{n}", kind="price", id=document, expected=version, began=began, ended=ended,
            outcome=Outcome.ACKNOWLEDGED,
        )  # fmt: skip
        if rng.random() < 0.2:
            made.append(replace(call, expected=max(0, version - 1), outcome=Outcome.REFUSED))
            continue
        if rng.random() < 0.1:
            changes.append(
                Change(fleet_version=len(changes) + 1, kind="health", id="h", version=len(changes) + 1, actor="r")
            )
            changes[-1] = replace(changes[-1], version=sum(c.kind == "health" for c in changes))
        unknown = rng.random() < 0.2
        if unknown and rng.random() < 0.5:
            made.append(replace(call, outcome=Outcome.UNKNOWN))
            continue
        fleet = len(changes) + 1
        versions[document] = version + 1
        changes.append(Change(fleet_version=fleet, kind="price", id=document, version=version + 1, actor=call.name))
        revisions.append((fleet, call.name))
        told = replace(call, version=version + 1, fleet_version=fleet)
        made.append(replace(told, outcome=Outcome.UNKNOWN) if unknown else told)
    return made, changes, revisions


def acknowledged(calls: list[Call]) -> list[int]:
    return [n for n, call in enumerate(calls) if call.outcome is Outcome.ACKNOWLEDGED]


@given(st.integers(0, 2**32))
def test_what_can_have_happened_is_believed(seed: int) -> None:
    """Concurrent writes that each took effect once, between their beginning and their end, violate nothing."""
    assert violations(*history(seed)) == []


@given(st.integers(0, 2**32), st.data())
def test_a_lost_write_is_found(seed: int, data: st.DataObject) -> None:
    """An acknowledged write that neither stream nor history has is named, and so is the hole that it leaves."""
    calls, changes, revisions = history(seed)
    name = calls[data.draw(st.sampled_from(acknowledged(calls)))].name
    changes = [change for change in changes if change.actor != name]
    revisions = [revision for revision in revisions if revision[1] != name]

    assert any(f"{name} " in found and "is lost" in found for found in violations(calls, changes, revisions))


@given(st.integers(0, 2**32), st.data())
def test_a_write_that_happened_twice_is_found(seed: int, data: st.DataObject) -> None:
    """A write that the stream has once more, as the newest change, is named."""
    calls, changes, revisions = history(seed)
    call = calls[data.draw(st.sampled_from(acknowledged(calls)))]
    again = next(change for change in changes if change.actor == call.name)
    newest = max(change.version for change in changes if (change.kind, change.id) == (call.kind, call.id))
    changes = [*changes, replace(again, fleet_version=len(changes) + 1, version=newest + 1)]

    assert any("2 times" in found for found in violations(calls, changes, revisions))


@given(st.integers(0, 2**32))
def test_a_refused_write_that_happened_is_found(seed: int) -> None:
    """Whoever was told that nothing was written must find nothing written."""
    calls, changes, revisions = history(seed)
    n = acknowledged(calls)[0]
    calls[n] = replace(calls[n], outcome=Outcome.REFUSED)

    assert violations(calls, changes, revisions) != []


@given(st.integers(0, 2**32))
def test_an_order_that_time_forbids_is_found(seed: int) -> None:
    """A write that was answered before another began, and is recorded after it, is named."""
    calls, changes, revisions = history(seed)
    order = sorted(acknowledged(calls), key=lambda n: calls[n].fleet_version)
    last = order[-1]
    when = min(call.began for call in calls) - 1.0
    # The last of the stream claims to have been answered before everybody else began.
    calls[last] = replace(calls[last], began=when - 1.0, ended=when)

    assert f"{calls[last].name} was answered before" in "; ".join(violations(calls, changes, revisions))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 9}, "version 9 follows"),
        ({"fleet_version": 99}, "in the stream"),
        ({"actor": "somebody"}, "is lost"),
    ],
)
def test_a_change_that_does_not_fit_is_found(change: dict[str, object], said: str) -> None:
    """A version that skips, a hole in the stream, a change without its author: each is said."""
    calls, changes, revisions = history(7)
    n = next(n for n, one in enumerate(changes) if n and one.kind == "price" and one.version > 1)
    changes[n] = replace(changes[n], **change)  # type: ignore[arg-type]
    calls = [replace(call, outcome=Outcome.ACKNOWLEDGED) if call.fleet_version == n + 1 else call for call in calls]

    assert any(said in found or "0 in the stream" in found for found in violations(calls, changes, revisions))
