"""What the edges ask of the director: the seam between protocols and dispatch."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from backends.contract import GenerateRequest
from router.dispatch.events import ModelListing, Pick, ServeEvent
from router.domain.decision import Decision
from router.domain.outcome import PickReport
from router.domain.request import RequestProfile
from router.domain.why import WhyNot


class Directing(Protocol):
    """`router.dispatch.director.Director`, as the edges see it. Every method raises `RouterError` and nothing else."""

    def serve(self, request: GenerateRequest, profile: RequestProfile) -> AsyncGenerator[ServeEvent]:
        """The events of one request; closing the generator abandons the request and frees what it holds."""
        ...

    def explain(self, profile: RequestProfile) -> Decision: ...

    async def why_not(self, profile: RequestProfile, backend_id: str) -> WhyNot: ...

    def pick(self, profile: RequestProfile) -> Pick: ...

    def report(self, report: PickReport) -> None: ...

    def models(self) -> tuple[ModelListing, ...]: ...
