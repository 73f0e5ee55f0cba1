"""What gRPC families mean by their failures, as data, so that a dialect can be read without loading gRPC.

Statuses are HTTP's of the same meaning. Two of them mean something of their own: UNAVAILABLE (503) is gRPC's word for a
connection that could not be made, and RESOURCE_EXHAUSTED (429) is a full server, since engines have no accounts.
"""

from __future__ import annotations

import re
from dataclasses import replace

from backends.errors import ConnectFailed, Overloaded, ProtocolViolation, TimedOut
from backends.failures.rules import FailureRules, Kind

RPC = FailureRules(
    words=(
        (re.compile(r"message larger than max"), ProtocolViolation),
        (re.compile(r"failed to connect.*(?:timeout occurred|timed out)"), TimedOut),
    ),
    statuses={429: Overloaded, 501: ProtocolViolation, 503: ConnectFailed},
)


def with_words(*words: tuple[str, Kind]) -> FailureRules:
    """The rules of gRPC, and what the words of one family mean: patterns over the message in lower case."""
    return replace(RPC, words=(*((re.compile(pattern), kind) for pattern, kind in words), *RPC.words))
