"""Asks a server how it is, by the cheapest questions that its family answers without generating, draining or billing.

Liveness is one small GET; load comes from the engine's metrics or its own JSON where it has them. The list of models
changes rarely and hosted vendors count calls, so it is asked for at most as often as the profile says, and where it is
the only question there is, the last good answer stands in between. So does the last connection, where not even a list
may be asked for.
"""

from __future__ import annotations

import asyncio
import ssl
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
from backends.probing.connect import connect_once
from backends.probing.fetch import fetch
from backends.probing.json_load import read_json_load
from backends.probing.metrics_text import EngineLoad, read_load
from backends.probing.models import model_names
from backends.spec import BackendSpec
from backends.urls import endpoint

ASLEEP = "asleep: the next request loads the model"


class HttpProber:
    """The probes of one server; it remembers the list of models and what the server does not offer.

    Args:
        headers: sent with every question, beside the authoriser's.
        ssl_context: for the check of a connection; httpx's default (verifying, its CA bundle) if None.
    """

    def __init__(
        self,
        spec: BackendSpec,
        dialect: Dialect,
        control: httpx.AsyncClient,
        *,
        authoriser: Authoriser,
        headers: Headers = (),
        ssl_context: ssl.SSLContext | None = None,
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
        self._ssl_context = ssl_context
        self._is_asleep = False
        self._load_again_at: dict[str, float] = {}
        self._last_rtt_s: float | None = None

    async def probe(self, *, timeout_s: float) -> LoadReport:
        """Never raises: a server that cannot be asked is reported as unhealthy, with the reason."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._ask()
        except TimeoutError:
            self._models_at = None
            return LoadReport(healthy=False, reason=f"TIMED_OUT: no answer in {timeout_s:g} s")
        except RecursionError:  # how a JSON decoder says that a document nests too deeply
            self._models_at = None
            return LoadReport(healthy=False, reason="PROTOCOL_VIOLATION: an answer that nests too deeply")
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
            reason=ASLEEP if self._is_asleep else "",
            rtt_s=self._last_rtt_s,
            running=load.running,
            waiting=load.waiting,
            kv_cache_usage=load.kv_cache_usage,
            models=self._models,
            loaded=() if self._is_asleep else await self._loaded(),
        )

    async def _loaded(self) -> tuple[str, ...] | None:
        if self._plan.loaded is None:
            return None
        status, body = await self._get(self._plan.loaded)
        return model_names(body) if status == 200 else None

    async def _refresh_models(self) -> None:
        if self._models_at is not None and self._now() - self._models_at < self._plan.models_every_s:
            return
        if self._plan.models is not None:
            await self._ask_for_models(self._plan.models)
        elif self._plan.liveness is None:
            await self._connect()
        if self._plan.asleep is not None:
            status, body = await self._get(self._plan.asleep.path)
            self._is_asleep = status == 200 and _is_true(body, self._plan.asleep.field)
        self._models_at = self._now()

    async def _ask_for_models(self, path: str) -> None:
        started = self._now()
        status, body = await self._get(path)
        is_only_question = self._plan.liveness is None
        if is_only_question:
            self._last_rtt_s = self._now() - started
        if status == 200:
            self._models = model_names(body)
        elif is_only_question:
            error = from_response(status, {}, body, rules=self._dialect.failures)
            if status >= 500 or isinstance(error, AuthFailed):  # Google says 400 to a bad key
                raise error
        elif status in (401, 403):
            raise AuthFailed("the server does not take our credential", status=status)

    async def _connect(self) -> None:
        url = endpoint(self._base_url, "/")
        if url.scheme == "https" and self._ssl_context is None:  # reading the CA bundle takes long
            self._ssl_context = await asyncio.to_thread(httpx.create_ssl_context)
        started = self._now()
        with map_httpx_errors():
            await connect_once(url, self._ssl_context if url.scheme == "https" else None)
        self._last_rtt_s = self._now() - started

    async def _load(self) -> EngineLoad:
        """From the first source that says anything."""
        plan = self._plan
        if plan.metrics is not None and plan.gauges is not None:
            body = await self._ask_for_load(plan.metrics)
            found = read_load(body.decode("utf-8", "replace"), plan.gauges)
            if found != EngineLoad():
                return found
        return read_json_load(await self._ask_for_load(plan.loads.path), plan.loads) if plan.loads else EngineLoad()

    async def _ask_for_load(self, path: str) -> bytes:
        """What is there, nothing if there is nothing."""
        if self._now() < self._load_again_at.get(path, 0.0):
            return b""
        status, body = await self._get(path)
        if status == 200:
            return body
        # Switched off in this server (llama.cpp says 501): not an illness, and not worth a question a second.
        self._load_again_at[path] = self._now() + self._plan.models_every_s
        return b""

    async def _get(self, path: str) -> tuple[int, bytes]:
        url = endpoint(self._base_url, path)
        proof = self._authoriser.ready
        if proof is None:
            proof = await self._authoriser.headers("GET", url, self._headers, b"")
        return await fetch(self._control, url, [*self._headers, *proof])


def _is_true(body: bytes, field: str) -> bool:
    try:
        return msgspec.json.decode(body, type=dict[str, object]).get(field) is True
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
