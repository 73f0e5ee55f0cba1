"""Whatever happens to one family, another takes over; whoever leaves frees the server he left."""

from __future__ import annotations

import json
from typing import Any

import pytest

from router.v1 import inference_pb2 as pb
from simulation.wires import WireServer
from simulation.wires.families import SHARED_MODEL
from simulation.wires.faults import Faults
from simulation.wires.replicate import ReplicateServer
from tests.integration.families.place import BY_ID, IDS, Place, joined, question, spare_of
from tests.integration.router.calls import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")
BEFORE = {
    "overloaded": Faults(status=503),
    "broken": Faults(status=500),
    "cut": Faults(cut_after=0),
    "error": Faults(error_after=0),
    "malformed": Faults(malformed_after=0),
}
RESTART, CONTINUE = pb.STREAM_BREAK_ACTION_RESTART, pb.STREAM_BREAK_ACTION_CONTINUE
LONG = 24


def left(server: WireServer) -> int:
    """Generations that their client ended: by leaving, or by cancelling the prediction where leaving ends nothing."""
    return len(server.cancelled) if isinstance(server, ReplicateServer) else server.disconnects


@pytest.mark.parametrize("fault", BEFORE)
@pytest.mark.parametrize("name", IDS)
async def test_a_fault_before_the_first_token(place: Place, name: str, fault: str) -> None:
    """Another family answers instead, whole; the caller sees who failed and how, and the next request goes through."""
    place.servers[name].faults = BEFORE[fault]

    moved = await place.ask(question(name, spare_of(BY_ID[name])))
    place.clear()
    await place.ready(name)  # one that is overloaded is left alone for a moment
    after = await place.ask(question(name))

    assert moved.routed is not None
    assert moved.routed.backend == name
    assert moved.backend == spare_of(BY_ID[name])
    assert "mulated" in moved.text
    assert moved.finished is not None
    assert moved.finished.usage.output_tokens > 0
    assert moved.finished.cost_usd > 0
    first, second = moved.finished.attempts
    assert (first.backend, second.result) == (name, "OK")
    assert first.result in {"OVERLOADED", "UPSTREAM_FAULT", "CONNECT_FAILED", "PROTOCOL_VIOLATION", "RATE_LIMITED"}
    assert after.backend == name


@pytest.mark.parametrize("action", [RESTART, CONTINUE], ids=["restart", "continue"])
@pytest.mark.parametrize("name", IDS)
async def test_a_fault_in_the_middle(place: Place, name: str, action: pb.StreamBreakAction) -> None:
    """After a restart only the new answer counts; after a continuation the two halves are one answer."""
    spare = spare_of(BY_ID[name])
    place.servers[name].faults = Faults(cut_after=4) if action == RESTART else Faults(error_after=4)

    messages = await place.messages(question(name, spare, max_tokens=LONG, on_stream_break=action))

    answer = joined(messages)
    assert answer.finished is not None
    assert answer.finished.backend == spare
    assert [attempt.backend for attempt in answer.finished.attempts] == [name, spare]
    assert [rerouted.resume for rerouted in answer.rerouted] == [action]
    at = next(number for number, message in enumerate(messages) if message.HasField("rerouted"))
    before, after = joined(messages[:at]), joined(messages[at:])
    assert before.text
    assert after.text
    asked = json.dumps(place.servers[spare].seen[-1], default=repr)
    if action == RESTART:
        assert answer.text == after.text
        assert "mulated answer of" in after.text
    else:
        assert answer.text == before.text + after.text
        assert before.text.rstrip() in asked
        assert answer.finished.usage.output_tokens > 4


@pytest.mark.parametrize("name", IDS)
async def test_whoever_leaves_frees_the_server(place: Place, name: str) -> None:
    """A cancelled gRPC call and a closed stream of the SDK both end the generation upstream."""
    server = place.servers[name]
    server.faults = Faults(stall_after=3)
    before = left(server)

    call = place.clients.inference.Generate(question(name))
    async for message in call:
        if message.HasField("delta"):
            break
    call.cancel()
    await eventually(lambda: counted(server), lambda count: count > before)
    between = left(server)
    body: dict[str, Any] = {"model": SHARED_MODEL, "messages": [{"role": "user", "content": "Say hello."}]}
    only = {"router": {"only_backends": [name]}}
    stream = await place.sdk.chat.completions.create(**body, stream=True, extra_body=only)
    async for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            break
    await stream.close()

    await eventually(lambda: counted(server), lambda count: count > between)


async def counted(server: WireServer) -> int:
    return left(server)
