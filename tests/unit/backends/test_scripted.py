"""What the fake adds to the contract that every backend keeps."""

from __future__ import annotations

import contextlib
import json

import pytest

from backends.contract import Chunk, GenerateRequest, Message
from backends.errors import BackendError, ProtocolViolation, RateLimited, StreamBroken
from backends.scripted import Cut, Delay, Emit, Fail, Finish, InvalidScript, Script, ScriptedBackend, Text
from backends.spec import BackendSpec

REQUEST = GenerateRequest(model="m", messages=(Message(role="user", content="hi"),))


def spec(**options: str) -> BackendSpec:
    return BackendSpec(id="fake", wire="scripted", base_url="http://fake", options=options)


async def play(backend: ScriptedBackend) -> list[Chunk]:
    async with contextlib.aclosing(backend.generate(REQUEST, upstream_model="up", request_id="r")) as stream:
        return [chunk async for chunk in stream]


async def test_scripts_are_played_in_turn_and_the_last_repeats() -> None:
    """One call may fail and the next succeed."""
    backend = ScriptedBackend(spec(), scripts=[[Fail(code="RATE_LIMITED")], [Text(text="a"), Finish()]])
    with pytest.raises(RateLimited):
        await play(backend)
    for _ in range(2):
        assert (await play(backend))[0].text == "a"


async def test_calls_are_written_down() -> None:
    """What was asked, how far it got and how it ended."""
    backend = ScriptedBackend(spec(), scripts=[[Text(text="a", times=3), Cut()]])
    with pytest.raises(StreamBroken):
        await play(backend)
    (call,) = backend.calls
    assert (call.request, call.upstream_model, call.request_id) == (REQUEST, "up", "r")
    assert (call.chunks, call.finished, call.cancelled) == (3, False, False)
    assert isinstance(call.error, StreamBroken)
    assert backend.active == 0


async def test_time_passes_on_the_clock_that_was_given() -> None:
    """No real waiting in a test."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    script: Script = [Delay(seconds=5), Text(text="a", times=2, every_s=0.5), Finish()]
    await play(ScriptedBackend(spec(), scripts=[script], sleep=sleep))
    assert slept == [5, 0.5, 0.5]


@pytest.mark.parametrize("script", [[], [Text(text="")], [Emit(chunk=Chunk(text="a"))]])
async def test_a_script_without_a_finish_is_broken_off(script: Script) -> None:
    """Only a finish proves the end."""
    with pytest.raises((ProtocolViolation, StreamBroken)):
        await play(ScriptedBackend(spec(), scripts=[script]))


async def test_a_configuration_can_hold_a_script() -> None:
    """JSON in the options makes the same backend as Python does."""
    scripts = [
        [
            {"step": "text", "text": "x", "times": 2},
            {"step": "call", "name": "f"},
            {"step": "usage", "usage": {"input": 1}},
            {"step": "finish", "reason": "length", "usage": {"input": 3, "output": 2}},
        ],
        [{"step": "fail", "code": "OVERLOADED", "retry_after_s": 1}],
    ]
    report = {"healthy": True, "running": 4}
    backend = ScriptedBackend.from_spec(spec(scripts=json.dumps(scripts), report=json.dumps(report)))
    chunks = await play(backend)
    assert [chunk.text for chunk in chunks[:2]] == ["x", "x"]
    assert chunks[-1].finish_reason == "length"
    with pytest.raises(BackendError) as caught:
        await play(backend)
    assert (caught.value.code, caught.value.retry_after_s) == ("OVERLOADED", 1)
    assert (await backend.probe(timeout_s=1)).running == 4


@pytest.mark.parametrize(
    "options",
    [
        {"scripts": "[]"},
        {"scripts": "nonsense"},
        {"scripts": '[[{"step":"dance"}]]'},
        {"scripts": '[[{"step":"text","txt":"x"}]]'},
        {"scripts": '[[{"step":"fail","code":"NO_SUCH"}]]'},
        {"report": '{"healthy":"yes"}'},
    ],
)
def test_a_script_with_a_mistake_is_refused(options: dict[str, str]) -> None:
    """A typo shows when the fleet is read, not when the step is reached."""
    with pytest.raises(InvalidScript):
        ScriptedBackend.from_spec(spec(**options))
