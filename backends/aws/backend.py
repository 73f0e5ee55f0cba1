"""An HTTP backend whose credential may be outdated without being wrong: it is renewed, and the request sent once more.

Temporary keys end at their own time, and who rotates them may be a moment late. An answer that says so is no sign of a
sick backend, and nothing was generated for it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from backends.aws.sigv4 import SigV4Authoriser
from backends.contract import Chunk, GenerateRequest, LoadReport
from backends.errors import AuthFailed
from backends.http.exchange import HttpBackend
from backends.spec import BackendSpec


class SignedBackend:
    """Implements `backends.contract.Backend` around one whose requests are signed."""

    def __init__(self, backend: HttpBackend, authoriser: SigV4Authoriser) -> None:
        self._backend = backend
        self._authoriser = authoriser

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._backend!r})"

    @property
    def spec(self) -> BackendSpec:
        return self._backend.spec

    async def generate(
        self, request: GenerateRequest, *, upstream_model: str, request_id: str
    ) -> AsyncGenerator[Chunk]:
        """Streams the answer; a refusal of outdated keys comes before it, so nothing is said twice."""
        for is_last in (False, True):
            keys = await self._authoriser.keys()
            attempt = self._backend.generate(request, upstream_model=upstream_model, request_id=request_id)
            try:
                async with aclosing(attempt) as chunks:
                    async for chunk in chunks:
                        yield chunk
            except AuthFailed as error:
                if is_last or not await self._authoriser.renew(keys, error):
                    raise
            else:
                return

    async def probe(self, *, timeout_s: float) -> LoadReport:
        return await self._backend.probe(timeout_s=timeout_s)

    async def aclose(self) -> None:
        await self._backend.aclose()
