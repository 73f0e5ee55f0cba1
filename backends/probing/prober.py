"""Asks a server how it is, by the cheapest questions that its family answers without generating, draining or billing.

Liveness is one small GET; load comes from the engine's metrics where it has them. The list of models changes rarely and
hosted vendors count calls, so it is asked for at most as often as the profile says, and where it is the only question
there is, the last good answer stands in between.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import httpx
import msgspec

from backends.authorise import Authoriser, Headers
from backends.contract import LoadReport
from backends.dialect import Dialect
from backends.errors import AuthFailed, BackendError, Warming
from backends.failures.classify import from_response
from backends.failures.client import map_httpx_errors
from backends.failures.rules import COMMON
from backends.openai.wire import ModelEntry, ModelList
from backends.probing.metrics_text import EngineLoad, read_load
from backends.spec import BackendSpec
from backends.urls import endpoint

MAX_PROBE_BODY_BYTES = 4 * 1024 * 1024

_decode_models = msgspec.json.Decoder(ModelList | list[ModelEntry]).decode


class HttpProber:
    """The probes of one server; it remembers the list of models and what the server does not offer."""

    def __init__(
        self,
        spec: BackendSpec,
        dialect: Dialect,
        control: httpx.AsyncClient,
        *,
        authoriser: Authoriser,
        headers: Headers = (),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dialect = dialect
        self._plan = dialect.probe
        self._base_url = spec.base_url
        self._control = control
        self._authoriser = authoriser
        self._headers = tuple(headers)
        self._now = now
        self._models: tuple[str, ...] | None = None
        self._models_at: float | None = None
        self._metrics_again_at = 0.0
        self._last_rtt_s: float | None = None

    async def probe(self, *, timeout_s: float) -> LoadReport:
        """Never raises: a server that cannot be asked is reported as unhealthy, with the reason."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._ask()
        except TimeoutError:
            self._models_at = None
            return LoadReport(healthy=False, reason=f"TIMED_OUT: no answer in {timeout_s:g} s")
        except BackendError as error:
            self._models_at = None
            is_warming = isinstance(error, Warming)
            return LoadReport(healthy=False, warming=is_warming, reason=f"{error.code}: {error.message}")

    async def _ask(self) -> LoadReport:
        if self._plan.liveness is not None:
            started = self._now()
            status, body = await self._get(self._plan.liveness)
            self._last_rtt_s = self._now() - started
            if status != 200:
                # A full queue does not show here: a health check that says 503 means it.
                raise from_response(status, {}, body, rules=COMMON)
        await self._refresh_models()
        load = await self._load()
        return LoadReport(
            healthy=True,
            rtt_s=self._last_rtt_s,
            running=load.running,
            waiting=load.waiting,
            kv_cache_usage=load.kv_cache_usage,
            models=self._models,
        )

    async def _refresh_models(self) -> None:
        if self._plan.models is None:
            return
        if self._models_at is not None and self._now() - self._models_at < self._plan.models_every_s:
            return
        started = self._now()
        status, body = await self._get(self._plan.models)
        is_only_question = self._plan.liveness is None
        if is_only_question:
            self._last_rtt_s = self._now() - started
        if status == 200:
            self._models = _model_names(body)
        elif is_only_question and (status >= 500 or status in (401, 403)):
            raise from_response(status, {}, body, rules=self._dialect.failures)
        elif status in (401, 403):
            raise AuthFailed("the server does not take our credential", status=status)
        self._models_at = self._now()

    async def _load(self) -> EngineLoad:
        if self._plan.metrics is None or self._plan.gauges is None or self._now() < self._metrics_again_at:
            return EngineLoad()
        status, body = await self._get(self._plan.metrics)
        if status != 200:
            # Switched off in this server (llama.cpp says 501): not an illness, and not worth a question a second.
            self._metrics_again_at = self._now() + self._plan.models_every_s
            return EngineLoad()
        return read_load(body.decode("utf-8", "replace"), self._plan.gauges)

    async def _get(self, path: str) -> tuple[int, bytes]:
        url = endpoint(self._base_url, path)
        proof = self._authoriser.ready
        if proof is None:
            proof = await self._authoriser.headers("GET", url, self._headers, b"")
        headers = [*self._headers, *proof]
        with map_httpx_errors() as crossing:
            async with self._control.stream("GET", url, headers=headers, follow_redirects=False) as response:
                crossing.answered = True
                parts: list[bytes] = []
                size = 0
                async for part in response.aiter_bytes():
                    parts.append(part)
                    size += len(part)
                    if size > MAX_PROBE_BODY_BYTES:
                        break
                return response.status_code, b"".join(parts)[:MAX_PROBE_BODY_BYTES]


def _model_names(body: bytes) -> tuple[str, ...] | None:
    try:
        listed = _decode_models(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    entries = listed if isinstance(listed, list) else listed.data
    return None if entries is None else tuple(entry.id for entry in entries if entry.id)
