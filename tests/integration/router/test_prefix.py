"""Conversations come back to where they were read: over emulated equals, and over two real llama.cpp."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from router.v1 import admin_pb2, common_pb2
from router.v1 import inference_pb2 as pb
from simulation.device import MODEL_FILE, MODEL_NAME
from tests.integration.router.calls import Answer, Clients, clients_of, eventually, generate
from tests.integration.router.site import CATALOGUE, CONFIG, MODEL, ROOT, Site, Spot, run_fleet, run_router

pytestmark = pytest.mark.asyncio(loop_scope="session")
BLOCK_TOKENS = 512
EQUALS = ("first", "second", "third")
HAS_ENGINE = importlib.util.find_spec("xllamacpp") is not None and (ROOT / MODEL_FILE).is_file()
REAL = """
  {id}:
    wire: llama_cpp_embedded
    address: file://{model}
    options: {{ context_tokens: 2048, slots: 1, threads: 1 }}
    hardware: cpu-small
    region: local
    privacy: on_device
    max_concurrency: 1
    capabilities: [text_completion]
    models:
      - {{ model: {name}, context_tokens: 2048, bytes_per_weight: 0.68 }}
"""


class Talk:
    """A conversation: every turn sends all before it."""

    def __init__(self, opening: str, model: str = MODEL, *, only: str = "") -> None:
        self._model = model
        self._only = [only] if only else []
        self._messages = [pb.Message(role=pb.ROLE_USER, text=opening)]

    def request(self) -> pb.GenerateRequest:
        return pb.GenerateRequest(
            model=self._model,
            messages=self._messages,
            sampling=pb.Sampling(max_output_tokens=8),
            routing=pb.RoutingOptions(workload_class="batch", placement=common_pb2.Placement(only_backends=self._only)),
        )

    async def turn(self, clients: Clients) -> Answer:
        answer = await generate(clients, self.request(), timeout_s=60.0)
        self._messages.append(pb.Message(role=pb.ROLE_ASSISTANT, text=answer.text))
        self._messages.append(pb.Message(role=pb.ROLE_USER, text="And then?"))
        return answer


async def explained(clients: Clients, request: pb.GenerateRequest) -> dict[str, common_pb2.Prediction]:
    """What is predicted of each candidate."""
    answer = await clients.inference.Explain(pb.ExplainRequest(request=request))
    return {candidate.backend: candidate.prediction for candidate in answer.decision.candidates}


async def health(clients: Clients, backend: str) -> int:
    answer = await clients.admin.GetBackend(admin_pb2.GetBackendRequest(id=backend))
    state: int = answer.backend.state.health
    return state


async def test_the_second_turn_goes_where_the_first_was_read(tmp_path: Path) -> None:
    """Among three equals each conversation stays where it began, and Explain says how much of it is cached there."""
    site = Site.build(tmp_path / "site", *(Spot(id=name, usd_per_mtok=1.0) for name in EQUALS))
    async with run_fleet(site), run_router(site) as router, clients_of(router) as clients:
        used = set()
        for n in range(8):
            talk = Talk(f"Story {n}. " + "Once upon a time there was a router. " * 150)
            first = await talk.turn(clients)
            predicted = await explained(clients, talk.request())
            cached = {name: prediction.cached_tokens for name, prediction in predicted.items()}
            assert cached == {name: 2 * BLOCK_TOKENS if name == first.backend else 0 for name in EQUALS}
            others = [predicted[name] for name in EQUALS if name != first.backend]
            assert predicted[first.backend].ttft.mean < min(other.ttft.mean for other in others)
            second = await talk.turn(clients)
            assert second.backend == first.backend
            used.add(first.backend)
        assert len(used) > 1


async def test_a_conversation_that_began_over_grpc_is_found_over_http(tmp_path: Path) -> None:
    """Both faces give a prompt the same blocks."""
    site = Site.build(tmp_path / "site", Spot(id="only", usd_per_mtok=1.0))
    async with run_fleet(site), run_router(site) as router, clients_of(router) as clients:
        talk = Talk("Once upon a time there was a router. " * 150)
        await talk.turn(clients)
        assert (await explained(clients, talk.request()))["only"].cached_tokens == 2 * BLOCK_TOKENS
        body: dict[str, Any] = {"model": MODEL, "max_tokens": 8, "router": {"explain": True}}
        body["messages"] = [{"role": "user", "content": "Once upon a time there was a router. " * 150}]
        answer = (await clients.http.post("/v1/chat/completions", json=body)).json()
        assert answer["router"]["decision"]["candidates"][0]["predicted"]["cached_tokens"] == 2 * BLOCK_TOKENS


@pytest.mark.skipif(not HAS_ENGINE, reason="no build of llama.cpp for this machine")
async def test_two_real_engines_keep_their_own_conversations(tmp_path: Path) -> None:
    """Of two llama.cpp with a slot each, the one that read a conversation gets its next turn and had it cached."""
    config = tmp_path / "site"
    config.mkdir()
    for name in CATALOGUE:
        (config / name).write_bytes((CONFIG / name).read_bytes())
    names = ("left", "right")
    fleet = "".join(REAL.format(id=name, model=ROOT / MODEL_FILE, name=MODEL_NAME) for name in names)
    (config / "fleet.yaml").write_text(f"backends:{fleet}")
    prices = "".join(f"  - {{ backend: {name}, usd_per_hour: 0.05, source: test }}\n" for name in names)
    (config / "prices.yaml").write_text(f"prices:\n{prices}")
    async with run_router(Site(config, {}, {})) as router, clients_of(router) as clients:
        # Both have been asked before: what is measured on a busy machine counts for more than a prefix.
        for name in names:
            await eventually(partial(health, clients, name), common_pb2.HEALTH_STATE_HEALTHY.__eq__, limit_s=60.0)
            await Talk(f"Let us ask {name} first. " * 20, MODEL_NAME, only=name).turn(clients)
        talk = Talk("Once upon a time there was a router who knew the way. " * 40, MODEL_NAME)
        first = await talk.turn(clients)
        second = await talk.turn(clients)
        assert second.backend == first.backend
        assert second.finished is not None
        usage = second.finished.usage
        assert usage.cached_input_tokens > 0.8 * usage.input_tokens
