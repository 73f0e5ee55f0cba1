"""What one request tells its caller, in order: Routed, then chunks, perhaps Rerouted and more chunks, then Finished."""

from __future__ import annotations

from dataclasses import dataclass

from backends.contract import Chunk
from router.domain.decision import Candidate, Decision
from router.domain.fleet import Backend
from router.domain.outcome import Outcome
from router.domain.request import StreamBreakAction


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """The decision; `candidate` is the backend that answers, which is not the first choice if that one failed."""

    decision: Decision
    candidate: Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerouted:
    """Another backend takes over. RESTART: every chunk so far is void. CONTINUE: the next chunk follows the last one.

    ERROR stands for a failover before anything was sent: nothing is void and nothing is missing.
    """

    from_backend: str
    candidate: Candidate
    reason: str
    detail: str
    resume: StreamBreakAction


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    outcome: Outcome
    candidate: Candidate


ServeEvent = Routed | Chunk | Rerouted | Finished
__all__ = ["Chunk", "Finished", "ModelListing", "Pick", "Rerouted", "Routed", "ServeEvent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """A decision that the caller carries out; `endpoints` holds the choice first, then the fallbacks."""

    pick_id: str
    decision: Decision
    endpoints: tuple[tuple[Candidate, Backend], ...]
    expires_at_unix: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelListing:
    """One name that can be asked for; `kind` is "model", "alias" or "class"."""

    id: str
    kind: str
    members: tuple[str, ...]
    context_tokens: int
    backends: tuple[str, ...]
