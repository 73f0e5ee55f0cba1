"""One request, four ways to ask for it: Generate, Pick, Explain and HTTP decide alike, with the same numbers."""

from __future__ import annotations

import pytest

from router.v1 import common_pb2
from router.v1 import inference_pb2 as pb
from tests.integration.router.calls import Clients, ask, chat, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")
IDLE = {"fast": 0, "spare": 0, "": 0}
PROMPT = "How does a router choose? " * 40
NUMBERS = (
    "ttft_s",
    "ttft_p90_s",
    "tpot_s",
    "tpot_p90_s",
    "e2e_s",
    "e2e_p90_s",
    "output_tokens",
    "cost_usd",
    "energy_j",
)


def numbers(decision: common_pb2.Decision) -> dict[str, dict[str, float]]:
    """What a decision predicts of each candidate, by the names that the HTTP face gives it."""
    found = {}
    for candidate in decision.candidates:
        p = candidate.prediction
        values = (p.ttft.mean, p.ttft.p90, p.tpot.mean, p.tpot.p90, p.e2e.mean, p.e2e.p90, p.output_tokens, p.cost_usd)
        found[candidate.backend] = dict(zip(NUMBERS, (*values, p.energy_j), strict=True))
    return found


@pytest.mark.usefixtures("emulators")
async def test_every_face_decides_alike(fresh_clients: Clients) -> None:
    """On an idle fleet the backend, the fallbacks and every predicted number are the same on all four faces."""
    clients = fresh_clients
    request = ask(PROMPT, max_tokens=40, explain=True)
    explained = (await clients.inference.Explain(pb.ExplainRequest(request=request))).decision

    # A call that is cancelled before its first token teaches nothing, and a pick is load until it is reported.
    call = clients.inference.Generate(request)
    generated = (await call.read()).routed.decision
    call.cancel()
    await eventually(lambda: clients.in_flight("fast", "spare"), IDLE.__eq__)
    picked = await clients.inference.Pick(pb.PickRequest(request=request))
    await clients.inference.Report(pb.ReportRequest(pick_id=picked.pick_id, result="CONNECT_FAILED"))
    body = chat(PROMPT, max_tokens=40, router={"explain": True})
    over_http = (await clients.http.post("/v1/chat/completions", json=body)).json()["router"]

    expected = numbers(explained)
    assert (explained.backend, list(explained.fallbacks), set(expected)) == ("fast", ["spare"], {"fast", "spare"})
    assert min(expected["fast"].values()) > 0.0
    for face, decision in (("Generate", generated), ("Pick", picked.decision)):
        assert (decision.backend, list(decision.fallbacks)) == ("fast", ["spare"]), face
        for name, found in numbers(decision).items():
            assert found == pytest.approx(expected[name], rel=1e-9), f"{face}, {name}"
    assert picked.endpoint.backend == over_http["backend"] == "fast"
    for candidate in over_http["decision"]["candidates"]:
        found = {name: candidate["predicted"][name] for name in NUMBERS}
        assert found == pytest.approx(expected[candidate["backend"]], rel=1e-9), f"HTTP, {candidate['backend']}"
