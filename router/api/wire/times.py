"""Times on the wire: protobuf timestamps to Unix seconds and back, to the microsecond."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from router.api.wire.checks import Checks

YEAR_10000 = 253_402_300_800


def timestamp(unix: float | None) -> Timestamp | None:
    if unix is None:
        return None
    micros = round(unix * 1e6)
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1_000)


def unix_of(checks: Checks, path: str, moment: Timestamp) -> float | None:
    """Unix seconds; None, and a violation, when it is no time that a calendar has."""
    if not 0 <= moment.seconds < YEAR_10000 or not 0 <= moment.nanos < 1_000_000_000:
        checks.add(path, "must be a time between the years 1970 and 9999")
        return None
    return moment.seconds + moment.nanos / 1e9
