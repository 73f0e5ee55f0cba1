"""A real engine for the tests of this folder, started by a script that lies beside this project."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from backends.contract import Backend, Chunk, GenerateRequest, Message, Sampling, Usage
from backends.http.transport import FastTransport
from backends.registry import build
from backends.spec import BackendSpec
from simulation import ports
from supervise.child import Child

FOLDER_VARIABLE = "ENGINES_SCRIPTS"
FOLDER = Path(os.environ.get(FOLDER_VARIABLE) or Path(__file__).resolve().parents[3] / "shared" / "engines")
HOME = Path(os.environ.get("ENGINES_HOME") or Path.home() / ".cache" / "inference-engines")
MODEL_FILES = HOME / "models" / "smollm2-hf"
KEY = "sk-real-engine-0123456789abcdef"
_START_LIMIT_S = 1200.0  # the first start installs gigabytes
_ANSWER_LIMIT_S = 180.0

EVERY_SAMPLER = Sampling(
    max_output_tokens=4,
    temperature=0.5,
    top_p=0.9,
    top_k=5,
    min_p=0.01,
    presence_penalty=0.1,
    frequency_penalty=0.1,
    repetition_penalty=1.1,
)
HELLO = (Message(role="user", content="Say hello."),)
GREEDY = Sampling(max_output_tokens=8, temperature=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A server that runs, and the adapter of its family."""

    url: str
    model: str
    child: Child
    transport: httpx.AsyncBaseTransport
    control: httpx.AsyncClient
    spec: BackendSpec
    backend: Backend

    def bind(self, *, key: str = KEY, **fields: Any) -> Backend:
        """Another adapter for the same server."""
        spec = BackendSpec(id="other", base_url=self.url, credential="env:KEY", **fields)
        return build(spec, transport=self.transport, control=self.control, env={"KEY": key})

    async def ask(self, *, backend: Backend | None = None, model: str | None = None, **fields: Any) -> list[Chunk]:
        """The whole answer."""
        request = GenerateRequest(model="m", **fields)
        stream = (backend or self.backend).generate(request, upstream_model=model or self.model, request_id="r")
        async with contextlib.aclosing(stream), asyncio.timeout(_ANSWER_LIMIT_S):
            return [chunk async for chunk in stream]

    async def is_repeated_by_a_seed(self) -> bool:
        """Whether the same seed gives the same answer, and another one another."""
        said = []
        for seed in (1, 1, 2):
            sampling = Sampling(max_output_tokens=12, temperature=1.0, seed=seed)
            said.append(text(await self.ask(messages=user("Tell a story."), sampling=sampling)))
        return said[0] == said[1] != said[2]


@contextlib.asynccontextmanager
async def serve(script: str, profile: str, *, model: str, env: Mapping[str, str]) -> AsyncIterator[Engine]:
    """Runs one of the scripts until the block ends. Alone: there is one machine, and it is small."""
    port = ports.free_port()
    url = f"http://127.0.0.1:{port}"
    spec = BackendSpec(id=script, wire="openai_chat", profile=profile, base_url=url, credential="env:KEY")
    transport = FastTransport()
    async with contextlib.AsyncExitStack() as open_things:
        open_things.push_async_callback(transport.aclose)
        control = await open_things.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=60))
        backend = build(spec, transport=transport, control=control, env={"KEY": KEY})

        async def is_ready() -> bool:
            return (await backend.probe(timeout_s=5)).healthy

        child = await open_things.enter_async_context(
            Child.start(
                ["nice", "-n", "10", str(FOLDER / script), str(port)],
                name=script,
                env={**os.environ, **env},
                ready=is_ready,
                ready_timeout_s=_START_LIMIT_S,
                stop_timeout_s=20.0,
            )
        )
        yield Engine(
            url=url, model=model, child=child, transport=transport, control=control, spec=spec, backend=backend
        )


def text(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def usage(chunks: list[Chunk]) -> Usage:
    """The last word on it."""
    return next(chunk.usage for chunk in reversed(chunks) if chunk.usage is not None)


def user(content: str) -> tuple[Message, ...]:
    return (Message(role="user", content=content),)
