"""What one family means by its codes and statuses, where that differs from what everybody means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from backends.errors import BackendError, Overloaded

Kind = type[BackendError]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRules:
    """Looked at before the tables that hold for everybody.

    Attributes:
        words: looked for in the message, in lower case, before any code: where one code has several meanings.
        codes: an error code, type, status name or AWS error type, in lower case -> what it means here.
        statuses: an HTTP status -> what it means here when no code and no word said more.
    """

    words: tuple[tuple[re.Pattern[str], Kind], ...] = ()
    codes: Mapping[str, Kind] = field(default_factory=dict)
    statuses: Mapping[int, Kind] = field(default_factory=dict)


COMMON = FailureRules()
# A full queue, not an illness. A health check that says 503 means it: probes read failures by COMMON.
BUSY_503 = FailureRules(statuses={503: Overloaded})
