"""One small GET of a probe, whose answer is bounded."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from backends.failures.client import map_httpx_errors

MAX_PROBE_BODY_BYTES = 4 * 1024 * 1024


async def fetch(
    control: httpx.AsyncClient, url: httpx.URL, headers: Sequence[tuple[bytes, bytes]] = ()
) -> tuple[int, bytes]:
    """The status, and the body as far as one is read. Raises BackendError where there is no answer."""
    with map_httpx_errors() as crossing:
        async with control.stream("GET", url, headers=list(headers), follow_redirects=False) as response:
            crossing.answered = True
            parts: list[bytes] = []
            size = 0
            async for part in response.aiter_bytes():
                parts.append(part)
                size += len(part)
                if size > MAX_PROBE_BODY_BYTES:
                    break
            return response.status_code, b"".join(parts)[:MAX_PROBE_BODY_BYTES]
