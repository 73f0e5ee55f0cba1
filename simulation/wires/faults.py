"""Faults that an emulated server of any wire can be told to have."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Faults:
    """What goes wrong with the next requests; assign to change it.

    Attributes:
        status: answers with this HTTP status (or the wire's code for it) instead of generating; 0: none.
        code: the vendor's own error code or type to go with it, where one status has several.
        headers: sent with such an answer (retry hints, limits).
        cut_after: output events after which the connection is cut without the wire's end.
        stall_after: output events after which nothing more comes.
        malformed_after: output events after which something follows that is not of the wire.
        error_after: output events after which the wire's own error inside the stream follows.
    """

    status: int = 0
    code: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    stall_after: int | None = None
    malformed_after: int | None = None
    error_after: int | None = None
