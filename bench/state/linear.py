"""Whether what a store recorded can be what its clients saw: each acknowledged write once, in an order that fits time.

Every write carries a name of its own, which the change stream and the history keep as the actor. So no search for an
order is needed: the stream is the order, and it is checked against what each client was told and when.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise


class Outcome(StrEnum):
    ACKNOWLEDGED = "acknowledged"
    # The router said that nothing was written.
    REFUSED = "refused"
    # No answer, or one that leaves it open.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A write as its client saw it. `version` is the document's, `fleet_version` the one that the answer named."""

    name: str
    kind: str
    id: str
    expected: int
    began: float
    ended: float
    outcome: Outcome
    version: int = 0
    fleet_version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An entry of the change stream."""

    fleet_version: int
    kind: str
    id: str
    version: int
    actor: str


def violations(calls: Sequence[Call], changes: Sequence[Change], revisions: Iterable[tuple[int, str]]) -> list[str]:
    """What cannot be, in words. `revisions` are the history's (version, actor)."""
    by_actor: dict[str, list[Change]] = defaultdict(list)
    for change in changes:
        by_actor[change.actor].append(change)
    revised: dict[str, list[int]] = defaultdict(list)
    for version, actor in revisions:
        revised[actor].append(version)
    found = [*_stream(changes), *_documents(changes)]
    for call in calls:
        own = [change for change in by_actor[call.name] if (change.kind, change.id) == (call.kind, call.id)]
        found += _call(call, own, revised[call.name])
    return found + _real_time(calls, by_actor)


def _stream(changes: Sequence[Change]) -> list[str]:
    """No fleet version is missing, and none comes twice."""
    return [
        f"change {after.fleet_version} follows {before.fleet_version} in the stream"
        for before, after in pairwise(changes)
        if after.fleet_version != before.fleet_version + 1
    ]


def _documents(changes: Sequence[Change]) -> list[str]:
    """Each document goes from version to version."""
    newest: dict[tuple[str, str], int] = {}
    found = []
    for change in changes:
        key = (change.kind, change.id)
        if key in newest and change.version != newest[key] + 1:
            found.append(f"{change.kind} {change.id}: version {change.version} follows {newest[key]}")
        newest[key] = change.version
    return found


def _call(call: Call, own: Sequence[Change], revised: Sequence[int]) -> list[str]:
    """What the client was told, against what was recorded under the call's name."""
    what = f"{call.name} ({call.kind} {call.id}, expected {call.expected}, {call.outcome})"
    if len(own) > 1 or len(revised) > 1:
        return [f"{what} was recorded {max(len(own), len(revised))} times"]
    if call.outcome is Outcome.REFUSED:
        return [f"{what} was recorded"] if own or revised else []
    if len(own) != len(revised):
        return [f"{what}: {len(own)} in the stream, {len(revised)} in the history"]
    if call.outcome is Outcome.UNKNOWN:
        return []
    if not own:
        return [f"{what} is lost"]
    change = own[0]
    if change.version != call.version or change.fleet_version > call.fleet_version:
        told = f"version {call.version} at {call.fleet_version}"
        return [f"{what} was told {told}, recorded {change.version} at {change.fleet_version}"]
    if call.expected and change.version != call.expected + 1:
        return [f"{what} became version {change.version}: another write came between"]
    return []


def _real_time(calls: Sequence[Call], by_actor: dict[str, list[Change]]) -> list[str]:
    """A call that was answered before another began comes before it in the stream."""
    recorded = sorted(
        ((min(c.fleet_version for c in by_actor[call.name]), call) for call in calls if by_actor[call.name]),
        key=lambda pair: pair[0],
    )
    found = []
    latest: Call | None = None
    for _, call in recorded:
        if latest is not None and call.outcome is Outcome.ACKNOWLEDGED and call.ended < latest.began:
            found.append(f"{call.name} was answered before {latest.name} began, and is recorded after it")
        if latest is None or call.began > latest.began:
            latest = call
    return found
