"""An emulated Triton, adapters that are bound to it, and what they are asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from backends.contract import Backend, Chunk, GenerateRequest, Message, Sampling
from simulation.wires.triton import TritonServer
from simulation.wires.triton_models import bls, ensemble, llm_api, old_ensemble, vllm
from tests.contract.emulated import Adapters, adapters

USER = Message(role="user", content="What is the weather in Paris?")


class Stage:
    """A server, and adapters that are bound to it."""

    def __init__(self, server: TritonServer, made: Adapters) -> None:
        self.server = server
        self._made = made

    def backend(self, profile: str = "tensorrtllm", **options: str) -> Backend:
        return self._bind(profile, options, credential=False)

    def of(self, model: str) -> Backend:
        return self.backend("vllm" if model == "vllm_model" else "tensorrtllm")

    def with_token(self) -> Backend:
        return self._bind("tensorrtllm", {}, credential=True)

    def _bind(self, profile: str, options: dict[str, str], *, credential: bool) -> Backend:
        url = f"grpc://127.0.0.1:{self.server.port}"
        given = {"chat_template": "chatml", **options}
        return self._made.bind("triton", url, profile=profile, credential=credential, options=given)


@asynccontextmanager
async def staged(*, key: str = "") -> AsyncIterator[Stage]:
    """With a model of every kind."""
    accumulating, whole = bls("accumulating", accumulates=True), bls("whole", is_decoupled=False)
    server = TritonServer([ensemble(), bls(), accumulating, whole, old_ensemble(), llm_api(), vllm()], key=key)
    await server.start("127.0.0.1", 0)
    try:
        async with adapters() as made:
            yield Stage(server, made)
    finally:
        await server.close()


def a_request(model: str = "ensemble", *messages: Message, **fields: object) -> GenerateRequest:
    return msgspec.structs.replace(GenerateRequest(model=model, messages=messages or (USER,)), **fields)


def limited(tokens: int, **more: object) -> Sampling:
    return msgspec.structs.replace(Sampling(max_output_tokens=tokens), **more)


def events(chunks: list[Chunk]) -> int:
    return sum(chunk.events for chunk in chunks)
