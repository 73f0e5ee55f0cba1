"""Changes of the configuration as messages: files in, differences, effects and revisions out."""

from __future__ import annotations

import math
from collections.abc import Iterable

from router.api.wire.checks import Checks
from router.api.wire.times import timestamp
from router.dispatch.effect import Effect
from router.domain.audit import Revision
from router.domain.replica import Replica
from router.errors import InvalidRequest, Violation
from router.settings.config_files import ConfigText
from router.settings.differences import DocumentDifference, FieldDifference, summary
from router.settings.strict import Problem
from router.v1 import config_pb2 as pb

MAX_FILES = 16
MAX_CHARS = 2 * 1024 * 1024
MAX_NOTE = 500
MAX_WAIT_S = 60.0
DEFAULT_WAIT_S = 5.0
MAX_HISTORY = 500
DEFAULT_HISTORY = 50
# What fits into the details of a status (router.api.rescue), with room for the rest of it.
_PROBLEM_BYTES = 2_200


def decode_files(files: Iterable[pb.ConfigFile]) -> tuple[ConfigText, ...]:
    """The files of a request.

    Raises:
        InvalidRequest: there are none, too many, or too much of them.
    """
    checks = Checks()
    given = tuple(files)
    if not given:
        checks.add("files", "must name at least one file")
    checks.count("files", len(given), MAX_FILES)
    size = sum(len(file.text) for file in given)
    if size > MAX_CHARS:
        checks.add("files", f"must have at most {MAX_CHARS} characters together, not {size}")
    for index, file in enumerate(given[:MAX_FILES]):
        checks.text(f"files[{index}].name", file.name)
    checks.raise_any()
    return tuple(ConfigText(file.name or f"files[{index}]", file.text) for index, file in enumerate(given))


def decode_wait(seconds: float) -> float:
    """How long to wait for the replicas; 0 is the default."""
    if math.isfinite(seconds) and 0.0 <= seconds <= MAX_WAIT_S:
        return seconds or DEFAULT_WAIT_S
    raise InvalidRequest(Violation("wait_s", f"must be 0 to {MAX_WAIT_S:g} seconds, not {seconds:g}"))


def decode_note(note: str) -> str:
    checks = Checks()
    checks.text("note", note, limit=MAX_NOTE)
    checks.raise_any()
    return note


def decode_limit(limit: int) -> int:
    if limit > MAX_HISTORY:
        raise InvalidRequest(Violation("limit", f"must be at most {MAX_HISTORY}, not {limit}"))
    return limit or DEFAULT_HISTORY


def refused(problems: Iterable[Problem]) -> InvalidRequest:
    """What is wrong with the files, as many as a status has room for, and how many more there are."""
    found = tuple(problems)
    told: list[Violation] = []
    room = _PROBLEM_BYTES
    for problem in found:
        where = f"{problem.file}:{problem.line}" if problem.line else problem.file
        violation = Violation(f"{where}: {problem.path}" if problem.path else where, problem.message)
        room -= len(violation.field.encode()) + min(300, len(violation.description.encode())) + 8
        if told and room < 0:
            break
        told.append(violation)
    if len(told) < len(found):
        told.append(Violation("files", f"and {len(found) - len(told)} more problems"))
    error = InvalidRequest(*told, hint="Correct the files, and plan again.")
    # The problems are in the details: as one sentence they would be cut off.
    files = ", ".join(dict.fromkeys(problem.file for problem in found))
    error.message = f"{len(found)} problem{'s' if len(found) > 1 else ''} in {files}; nothing was changed"
    return error


def encode_difference(difference: DocumentDifference) -> pb.DocumentDifference:
    return pb.DocumentDifference(
        kind=difference.kind,
        id=difference.id,
        operation=difference.operation,
        fields=[
            pb.FieldDifference(path=field.path, before=field.before, after=field.after, ratio=field.ratio)
            for field in difference.fields
        ],
    )


def decode_difference(message: pb.DocumentDifference) -> DocumentDifference:
    return DocumentDifference(
        kind=message.kind,
        id=message.id,
        operation=message.operation,
        fields=tuple(
            FieldDifference(
                path=field.path,
                before=field.before if field.HasField("before") else None,
                after=field.after if field.HasField("after") else None,
                ratio=field.ratio if field.HasField("ratio") else None,
            )
            for field in message.fields
        ),
    )


def encode_effect(effect: Effect) -> pb.Effect:
    return pb.Effect(
        requests=effect.requests,
        moved=effect.moved,
        unserved_before=effect.unserved_before,
        unserved_after=effect.unserved_after,
        cost_usd_before=effect.cost_usd_before,
        cost_usd_after=effect.cost_usd_after,
        mean_ttft_s_before=effect.mean_ttft_s_before,
        mean_ttft_s_after=effect.mean_ttft_s_after,
        slo_attainment_before=effect.slo_attainment_before,
        slo_attainment_after=effect.slo_attainment_after,
        backends=[
            pb.BackendEffect(
                backend=share.backend,
                requests_before=share.requests_before,
                requests_after=share.requests_after,
                cost_usd_before=share.cost_usd_before,
                cost_usd_after=share.cost_usd_after,
            )
            for share in effect.backends
        ],
    )


def encode_replicas(ids: Iterable[str], known: Iterable[Replica]) -> list[pb.ReplicaVersion]:
    by_id = {replica.id: replica for replica in known}
    return [
        pb.ReplicaVersion(
            replica=name,
            fleet_version=by_id[name].beat.fleet_version if name in by_id else 0,
            age_s=by_id[name].age_s if name in by_id else 0.0,
        )
        for name in ids
    ]


def encode_revision(revision: Revision) -> pb.Revision:
    return pb.Revision(
        version=revision.version,
        changed_at=timestamp(revision.at),
        actor=revision.actor,
        origin=revision.origin,
        action=revision.action,
        note=revision.note,
        documents=len(revision.changes),
        summary=summary(revision.changes),
    )
