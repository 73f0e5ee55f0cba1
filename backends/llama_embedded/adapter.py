"""llama.cpp inside the router's own machine, as a child that nobody has to start.

The child is llama.cpp's own server on a loopback port that it chose, with a key that only this process knows; the
adapter for llama-server talks to it. It is started by the first probe, so that a model is loaded before somebody asks
for it; a request that comes sooner is told that it is warming up, and goes elsewhere. A child that dies is started
again by a later probe, after a pause that doubles.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import sys
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from backends.authorise import KeyAuthoriser
from backends.contract import LAST_ANSWERS_S, Chunk, GenerateRequest, LoadReport
from backends.errors import ConnectFailed, Warming
from backends.http.exchange import HttpBackend
from backends.llama_embedded.server import KEY_VARIABLE
from backends.ongoing import Ongoing
from backends.openai.codec import OpenAICodec
from backends.openai.profile import Profile
from backends.openai.profiles import PROFILES
from backends.probing.prober import HttpProber
from backends.spec import BackendSpec
from backends.wire import Resources
from supervise.child import Child, ChildError

START_LIMIT_S = 300.0  # a large model on a slow disk
_STOP_LIMIT_S = 2.0
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_ADDRESS = re.compile(r"^real .* (http://127\.0\.0\.1:\d+)$", re.MULTILINE)
_ARGUMENTS = {"context_tokens": "--context", "slots": "--slots", "threads": "--threads", "gpu_layers": "--gpu-layers"}
# What the engine needs of our environment; its key and nothing else that is secret.
_PASSED_ON = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "TMPDIR", "PYTHONPATH", "CUDA_VISIBLE_DEVICES")


class EmbeddedLlama:
    """One model file. Implements `backends.contract.Backend`.

    Attributes:
        pid: of the engine, while there is one.

    Raises:
        ValueError: when made, for an address that is no file.
    """

    def __init__(self, spec: BackendSpec, resources: Resources, *, now: Callable[[], float] = time.monotonic) -> None:
        self._spec = spec
        self._resources = resources
        self._now = now
        self._model = model_file(spec.base_url)
        profile = PROFILES["llama_cpp"]
        assert isinstance(profile, Profile)  # noqa: S101 - the table of that wire holds nothing else
        self._profile = profile
        self._server: HttpBackend | None = None
        self._running: asyncio.Task[None] | None = None
        self._pause_s = _FIRST_PAUSE_S
        self._again_at = 0.0
        self._why = ""
        self._ongoing = Ongoing()
        self.pid: int | None = None

    def __repr__(self) -> str:
        return f"EmbeddedLlama({self._spec.id!r}, {self._model.name!r})"

    @property
    def spec(self) -> BackendSpec:
        return self._spec

    async def generate(
        self, request: GenerateRequest, *, upstream_model: str, request_id: str
    ) -> AsyncGenerator[Chunk]:
        """Raises Warming while the model is being loaded, ConnectFailed while there is no engine."""
        server = self._server
        if server is None:
            self._start()
            raise self._absent()
        with self._ongoing:
            async with contextlib.aclosing(
                server.generate(request, upstream_model=upstream_model, request_id=request_id)
            ) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def probe(self, *, timeout_s: float) -> LoadReport:
        server = self._server
        if server is not None:
            return await server.probe(timeout_s=timeout_s)
        self._start()
        error = self._absent()
        return LoadReport(healthy=False, warming=isinstance(error, Warming), reason=f"{error.code}: {error.message}")

    async def aclose(self) -> None:
        """Ends the engine, when it has said what it was saying."""
        running, self._running, self._again_at = self._running, None, float("inf")
        await self._ongoing.ended(within_s=LAST_ANSWERS_S)
        if running is not None:
            running.cancel()
            await asyncio.wait([running])

    def _absent(self) -> Warming | ConnectFailed:
        if self._running is not None and not self._running.done():
            return Warming(f"{self._model.name} is being loaded")
        return ConnectFailed(f"the engine is not running{': ' if self._why else ''}{self._why}")

    def _start(self) -> None:
        if (self._running is None or self._running.done()) and self._now() >= self._again_at:
            self._running = asyncio.create_task(self._run(), name=f"llama.cpp of {self._spec.id}")

    async def _run(self) -> None:
        """One life of the engine."""
        key = secrets.token_urlsafe(32)
        env = {name: value for name in _PASSED_ON if (value := os.environ.get(name)) is not None}
        argv = [sys.executable, "-m", "backends.llama_embedded.server", "--model", str(self._model)]
        for option, argument in _ARGUMENTS.items():
            if (value := self._spec.options.get(option)) is not None:
                argv += [argument, value]
        try:
            async with Child.start(
                argv,
                name=f"llama.cpp of {self._spec.id}",
                env={**env, KEY_VARIABLE: key},
                cwd=Path(__file__).parents[2],
                stop_timeout_s=_STOP_LIMIT_S,
            ) as child:
                self.pid = child.pid
                await child.wait_ready(lambda: self._is_up(child, key), timeout_s=START_LIMIT_S)
                self._pause_s, self._why = _FIRST_PAUSE_S, ""
                status = await child.wait()
                self._why = f"it ended with status {status}"
        except ChildError as error:
            self._why = str(error).splitlines()[-1].strip(" |")[:200]
        finally:
            self._server = self.pid = None
            self._again_at = max(self._again_at, self._now() + self._pause_s)
            self._pause_s = min(_LONGEST_PAUSE_S, 2 * self._pause_s)

    async def _is_up(self, child: Child, key: str) -> bool:
        found = _ADDRESS.search(child.tail)
        if found is None:
            return False
        spec = BackendSpec(id=self._spec.id, wire="openai_chat", profile="llama_cpp", base_url=found[1])
        authoriser = KeyAuthoriser("env:KEY", {"KEY": key}, self._profile.key)
        server = HttpBackend(
            spec,
            OpenAICodec(self._profile),
            transport=self._resources.transport,
            authoriser=authoriser,
            prober=HttpProber(spec, self._profile, self._resources.control, authoriser=authoriser),
        )
        if not (await server.probe(timeout_s=1.0)).healthy:
            return False
        self._server = server
        return True


def model_file(address: str) -> Path:
    """The file of `file:///path/to/model.gguf`.

    Raises:
        ValueError: no such address.
    """
    parts = urlsplit(address)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise ValueError("expected file:///path/to/model.gguf")
    return Path(unquote(parts.path))
