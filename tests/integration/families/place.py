"""One router over an emulated server of every family, and what its tests say to it."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import openai

from router.v1 import admin_pb2, common_pb2
from router.v1 import inference_pb2 as pb
from simulation.device import MODEL_FILE, MODEL_NAME
from simulation.wires import WireServer
from simulation.wires.families import SHARED_MODEL, STANDS, Stand, running
from simulation.wires.faults import Faults
from simulation.wires.openai_vendor import EmulatedVendor
from simulation.wires.registering import write_config
from tests.integration.router.calls import Answer, Clients, clients_of, eventually, generate, take
from tests.integration.router.site import CONFIG, ROOT, Running, Site, run_router

BY_ID = {stand.id: stand for stand in STANDS}
DEAR_USD_PER_MTOK = 1000.0
# So dear that it is asked only after another has failed. Of two wires, so that each family has one of another.
SPARES = tuple(replace(BY_ID[name], id=f"spare-{name}") for name in ("vllm", "bedrock"))
UNPRICED = replace(BY_ID["openai"], id="unpriced")
ALL = (*STANDS, *SPARES, UNPRICED)
IDS = tuple(BY_ID)
EMBEDDED = f"""
  embedded:
    wire: llama_cpp_embedded
    address: file://{ROOT / MODEL_FILE}
    options: {{ context_tokens: 2048, slots: 2, threads: 1 }}
    hardware: cpu-small
    region: local
    privacy: on_device
    capabilities: [json_object, json_schema, seed, text_completion, assistant_prefill]
    models:
      - {{ model: {MODEL_NAME}, context_tokens: 1024, bytes_per_weight: 0.68 }}
"""
HAS_EMBEDDED = importlib.util.find_spec("xllamacpp") is not None and (ROOT / MODEL_FILE).is_file()


@dataclass
class Place:
    """The router, its clients, and the servers behind it, in this process."""

    router: Running
    clients: Clients
    sdk: openai.AsyncOpenAI
    servers: dict[str, WireServer]
    site: Site

    def clear(self) -> None:
        """No faults, and nothing seen."""
        for server in self.servers.values():
            server.faults = Faults()
            server.seen.clear()

    async def ask(self, request: pb.GenerateRequest) -> Answer:
        return await generate(self.clients, request)

    async def explain(self, request: pb.GenerateRequest) -> common_pb2.Decision:
        answer: pb.ExplainResponse = await self.clients.inference.Explain(pb.ExplainRequest(request=request))
        return answer.decision

    async def state(self, backend: str) -> admin_pb2.BackendState:
        answer: admin_pb2.GetBackendResponse = await self.clients.admin.GetBackend(
            admin_pb2.GetBackendRequest(id=backend)
        )
        return answer.backend.state

    async def ready(self, backend: str, model: str = SHARED_MODEL) -> None:
        """Waits until a request would go there."""
        request = question(backend)
        request.model = model
        await eventually(lambda: self.explain(request), lambda decision: decision.backend == backend, limit_s=20.0)

    async def messages(self, request: pb.GenerateRequest) -> list[pb.GenerateResponse]:
        """Every message of a call, as they came."""
        return [message async for message in self.clients.inference.Generate(request, timeout=20)]


def spare_of(stand: Stand) -> str:
    """The spare that speaks another wire."""
    return "spare-bedrock" if stand.wire == "openai_chat" else "spare-vllm"


def question(*only: str, text: str = "Say hello.", max_tokens: int = 24, **routing: Any) -> pb.GenerateRequest:
    """A request that only these backends may serve, the cheapest first: without an objective that some may miss."""
    request = pb.GenerateRequest(
        model=SHARED_MODEL,
        messages=[pb.Message(role=pb.ROLE_USER, text=text)],
        sampling=pb.Sampling(max_output_tokens=max_tokens),
        routing=pb.RoutingOptions(workload_class="batch", **routing),
    )
    request.routing.placement.only_backends.extend(only)
    return request


@contextmanager
def otherwise(server: WireServer, **said: Any) -> Iterator[None]:
    """A vendor of the OpenAI wire says something else for a while: fields of `Vendor`."""
    assert isinstance(server, EmulatedVendor)
    usual = server.vendor
    server.vendor = replace(usual, **said)
    try:
        yield
    finally:
        server.vendor = usual


def leaked(text: str) -> list[str]:
    """The servers whose credential, or the secret part of it, is in a text."""
    return [stand.id for stand in ALL if stand.secret and stand.secret.rpartition(":")[2] in text]


def joined(messages: list[pb.GenerateResponse]) -> Answer:
    answer = Answer()
    for message in messages:
        take(answer, message)
    return answer


@asynccontextmanager
async def placed(folder: Path) -> AsyncGenerator[Place]:
    """Starts it all. The router runs with the log level debug, so that whatever it may say of a secret is said."""
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(running(ALL))
        config = folder / "config"
        addresses = {stand.id: stand.address("127.0.0.1", servers[stand.id].port) for stand in ALL}
        usd = {stand.id: DEAR_USD_PER_MTOK if stand in SPARES else 0.1 for stand in ALL if stand is not UNPRICED}
        write_config(config, CONFIG, ALL, addresses, usd)
        if HAS_EMBEDDED:
            with (config / "fleet.yaml").open("a") as fleet:
                fleet.write(EMBEDDED)
        policies = config / "policies.yaml"
        policies.write_text(policies.read_text().replace("retry_budget_min: 100", "retry_budget_min: 10000"))
        site = Site(config, {}, {})
        env = {stand.variable: stand.secret for stand in ALL if stand.secret}
        router = await stack.enter_async_context(run_router(site, INFERENCE_ROUTER_LOG_LEVEL="debug", **env))
        clients = await stack.enter_async_context(clients_of(router))
        sdk = await stack.enter_async_context(
            openai.AsyncOpenAI(base_url=f"{router.http}/v1", api_key="nobody", max_retries=0, timeout=20)
        )
        yield Place(router, clients, sdk, servers, site)
        assert not leaked(router.output()), "the router's log has credentials in it"
