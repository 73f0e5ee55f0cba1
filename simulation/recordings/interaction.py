"""One recorded exchange with a service, whatever file format it came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from simulation.recordings.frames import is_json

# recorded: the bytes as they were sent. rewritten: a JSON document that the recorder parsed, written out again.
# ours: decoded events or objects of an SDK, put into the frames that the wire has; their content is recorded.
Framing = Literal["recorded", "rewritten", "ours"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """A request and its answer.

    Attributes:
        provider: the folder it lies in.
        file: its path below the directory that was read.
        number: its place in the file, from 0.
        method: of the request.
        url: of the request; a path alone where the recorder kept no host.
        request: the request's body, parsed if it is JSON; None if nobody kept it.
        status: of the answer.
        headers: of the answer, by lower-case name.
        body: of the answer, unpacked.
        framing: whose bytes the body is made of.
        later: what followed that belongs to the same answer (the stream of a prediction that was created).
        parts: how many recorded exchanges this is made of.
    """

    provider: str = ""
    file: str = ""
    number: int = 0
    method: str = "POST"
    url: str
    request: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    framing: Framing = "recorded"
    later: tuple[Interaction, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.file}#{self.number}"

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def parts(self) -> int:
        return 1 + len(self.later)

    @property
    def is_document(self) -> bool:
        """Whether the answer is one JSON document, and no stream of events."""
        return is_json(self.body)
