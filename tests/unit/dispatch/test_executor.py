"""Attempts: failover before the first token, the declared action after it, and exactly one outcome for each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest

from backends.contract import Chunk, GenerateRequest, Message, Sampling, Usage
from backends.scripted import Call, Cut, Fail, Finish, Gate, Stall, Text
from router.dispatch.events import Finished, Rerouted, Routed
from router.domain.fleet import Capability, ServedModel
from router.domain.policies import DispatchPolicy
from router.domain.request import RequestProfile, StreamBreakAction
from router.errors import DeadlineExceeded, StreamBroken, UpstreamFailed

GOOD = [Text(text="good"), Finish(usage=Usage(input=11, output=1))]
MakeRig = Callable[..., Any]


def attempts(rig: Any, backend: str, result: str) -> float:
    """The counter of attempts, 0 where there was none."""
    value = rig.metrics.registry.get_sample_value("router_attempts_total", {"backend": backend, "result": result})
    return value or 0.0


async def test_a_request_is_routed_streamed_and_finished(make_rig: MakeRig) -> None:
    """The events come in the order Routed, chunks, Finished, and the usage is the backend's."""
    rig = make_rig({"a": [GOOD]})
    routed, chunk, finished = await rig.serve()
    assert isinstance(routed, Routed)
    assert routed.candidate.backend == "a"
    assert isinstance(chunk, Chunk)
    assert isinstance(finished, Finished)
    assert (finished.outcome.usage.input, finished.outcome.usage.output) == (11, 1)
    assert finished.outcome.finish_reason == "stop"


@pytest.mark.parametrize("code", ["CONNECT_FAILED", "UPSTREAM_FAULT", "RATE_LIMITED", "OVERLOADED", "AUTH_FAILED"])
async def test_a_failure_before_the_first_token_goes_to_the_next_backend(make_rig: MakeRig, code: str) -> None:
    """A retryable failure before anything was sent is answered by the next backend, and said as Rerouted."""
    rig = make_rig({"a": [[Fail(code=code)]], "b": [GOOD]})
    events = await rig.serve()
    rerouted = [e for e in events if isinstance(e, Rerouted)]
    assert [(r.from_backend, r.candidate.backend, r.reason) for r in rerouted] == [("a", "b", code)]
    assert rerouted[0].resume is StreamBreakAction.ERROR
    assert rig.text == "good"
    assert [a.result for a in events[-1].outcome.attempts] == [code, "OK"]


@pytest.mark.parametrize("code", ["BAD_REQUEST", "CONTENT_FILTERED"])
async def test_a_fault_of_the_request_is_not_tried_elsewhere(make_rig: MakeRig, code: str) -> None:
    """What would fail everywhere is answered at once, with the code of the backend."""
    rig = make_rig({"a": [[Fail(code=code, param="messages")]], "b": [GOOD]})
    with pytest.raises(UpstreamFailed) as caught:
        await rig.serve()
    assert (caught.value.last_code, caught.value.param) == (code, "messages")
    assert not rig.adapters["b"].calls


async def test_retry_after_keeps_a_backend_out_of_the_next_decisions(make_rig: MakeRig) -> None:
    """A backend that answers 429 with Retry-After is left alone for that long."""
    rig = make_rig({"a": [[Fail(code="RATE_LIMITED", retry_after_s=30.0)]], "b": [GOOD]})
    await rig.serve()
    await rig.serve(request_id="r2")
    assert len(rig.adapters["a"].calls) == 1
    assert len(rig.adapters["b"].calls) == 2


async def test_a_backend_without_a_first_token_in_time_is_given_up(make_rig: MakeRig) -> None:
    """The first-token timeout closes the stalled call and goes to the next backend."""
    rig = make_rig({"a": [[Stall()]], "b": [GOOD]}, a={"first_token_timeout_s": 0.05})
    events = await rig.serve()
    assert [a.result for a in events[-1].outcome.attempts] == ["TIMED_OUT", "OK"]
    assert rig.adapters["a"].calls[0].cancelled
    assert rig.adapters["a"].active == 0


async def test_the_callers_deadline_ends_everything(make_rig: MakeRig) -> None:
    """When the deadline passes there is no further attempt, whatever is left to try."""
    rig = make_rig({"a": [[Stall()]], "b": [GOOD]})
    with pytest.raises(DeadlineExceeded):
        await rig.serve(deadline_s=time.monotonic() + 0.05)
    assert not rig.adapters["b"].calls
    assert attempts(rig, "a", "DEADLINE_EXCEEDED") == 1


async def test_the_number_of_attempts_is_bounded(make_rig: MakeRig) -> None:
    """max_attempts bounds the attempts, and the error lists each."""
    failing = [[Fail(code="UPSTREAM_FAULT")]]
    rig = make_rig({"a": failing, "b": failing, "c": failing, "d": [GOOD]})
    with pytest.raises(UpstreamFailed) as caught:
        await rig.serve(max_attempts=3)
    assert [a.backend for a in caught.value.attempts] == ["a", "b", "c"]


async def test_the_retry_budget_bounds_retries(make_rig: MakeRig) -> None:
    """Without budget a failure is final."""
    rig = make_rig({"a": [[Fail(code="UPSTREAM_FAULT")]], "b": [GOOD]})
    now = time.monotonic()
    while rig.budget.withdraw(now):
        pass
    with pytest.raises(UpstreamFailed):
        await rig.serve()
    assert not rig.adapters["b"].calls


async def test_a_longer_prompt_than_the_window_goes_to_a_longer_window_only(make_rig: MakeRig) -> None:
    """After CONTEXT_TOO_LONG only a backend with a longer window is tried."""
    rig = make_rig(
        {"a": [[Fail(code="CONTEXT_TOO_LONG")]], "b": [GOOD], "c": [GOOD]},
        a={"models": (ServedModel(model="m", context_tokens=4096),)},
        b={"models": (ServedModel(model="m", context_tokens=4096),)},
        c={"models": (ServedModel(model="m", context_tokens=32768),)},
    )
    events = await rig.serve()
    assert events[-1].candidate.backend == "c"
    assert not rig.adapters["b"].calls


async def test_a_broken_stream_is_an_error_by_default(make_rig: MakeRig) -> None:
    """A stream that breaks after its first token ends with STREAM_BROKEN when nothing else was asked for."""
    rig = make_rig({"a": [[Text(text="half"), Cut()]], "b": [GOOD]})
    with pytest.raises(StreamBroken):
        await rig.serve()
    assert rig.text == "half"
    assert not rig.adapters["b"].calls


async def test_restart_starts_over_and_says_so(make_rig: MakeRig) -> None:
    """RESTART tells the caller to throw away what it has, and the answer is whole afterwards."""
    rig = make_rig({"a": [[Text(text="half"), Cut()]], "b": [GOOD]})
    events = await rig.serve(on_stream_break=StreamBreakAction.RESTART)
    place = next(i for i, e in enumerate(events) if isinstance(e, Rerouted))
    assert events[place].resume is StreamBreakAction.RESTART
    assert "".join(e.text for e in events[place:] if isinstance(e, Chunk)) == "good"


async def test_continue_goes_on_after_the_last_token(make_rig: MakeRig) -> None:
    """CONTINUE sends the text so far as the assistant's turn, with the tokens that are left, to another backend."""
    rig = make_rig({"a": [[Text(text="one "), Text(text="two "), Cut()]], "b": [[Text(text="three"), Finish()]]})
    await rig.serve(on_stream_break=StreamBreakAction.CONTINUE)
    assert rig.text == "one two three"
    sent = rig.adapters["b"].calls[0].request
    assert sent.messages[-1] == Message(role="assistant", content="one two ")
    assert sent.sampling.max_output_tokens == 62


async def test_a_continued_answer_may_break_and_be_continued_again(make_rig: MakeRig) -> None:
    """The third backend gets each piece once, and the tokens that are left of what was asked for."""
    rig = make_rig(
        {
            "a": [[Text(text="one "), Cut()]],
            "b": [[Text(text="two "), Text(text="three "), Cut()]],
            "c": [[Text(text="four"), Finish()]],
        }
    )
    await rig.serve(on_stream_break=StreamBreakAction.CONTINUE)
    assert rig.text == "one two three four"
    sent = rig.adapters["c"].calls[0].request
    assert [m.content for m in sent.messages] == ["hello", "one two three "]
    assert sent.sampling.max_output_tokens == 61


async def test_continue_needs_a_backend_that_can(make_rig: MakeRig) -> None:
    """A backend that cannot continue an assistant's turn is not asked to."""
    rig = make_rig({"a": [[Text(text="half"), Cut()]], "b": [GOOD]}, b={"capabilities": frozenset({Capability.TOOLS})})
    with pytest.raises(StreamBroken):
        await rig.serve(on_stream_break=StreamBreakAction.CONTINUE)
    assert not rig.adapters["b"].calls


async def test_a_tool_call_cannot_be_continued(make_rig: MakeRig) -> None:
    """A stream that breaks within tool calls ends as an error, never as half a call and half another."""
    rig = make_rig({"a": [[Call(name="f"), Cut()]], "b": [GOOD]})
    with pytest.raises(StreamBroken):
        await rig.serve(on_stream_break=StreamBreakAction.CONTINUE)


async def test_the_bill_of_a_failed_attempt_is_part_of_the_cost(make_rig: MakeRig) -> None:
    """Money spent on an answer that broke is in the total."""
    rig = make_rig({"a": [[Text(text="half"), Cut()]], "b": [GOOD]})
    events = await rig.serve(on_stream_break=StreamBreakAction.RESTART)
    outcome = events[-1].outcome
    assert outcome.cost_usd == pytest.approx(sum(a.cost_usd for a in outcome.attempts))
    assert outcome.attempts[0].cost_usd > 0.0


async def test_an_abandoned_request_closes_the_upstream_and_counts_once(make_rig: MakeRig) -> None:
    """Closing the generator cancels the backend's call, frees the slot and records CANCELLED once."""
    rig = make_rig({"a": [[Text(text="x"), Gate(name="never"), Finish()]]})
    async with aclosing(rig.director.serve(_ask(), _profile())) as stream:
        async for event in stream:
            if isinstance(event, Chunk):
                break
    assert rig.adapters["a"].calls[0].cancelled
    assert rig.fleet.members["a"].live.in_flight == 0
    assert attempts(rig, "a", "CANCELLED") == 1
    assert rig.director.in_flight == 0


async def test_a_cancelled_task_closes_the_upstream(make_rig: MakeRig) -> None:
    """Cancelling the task that serves does the same, also while it waits for the first token."""
    rig = make_rig({"a": [[Gate(name="never"), Finish()]]})
    task = asyncio.create_task(rig.serve())
    while not rig.adapters["a"].active:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rig.adapters["a"].active == 0
    assert rig.fleet.members["a"].live.in_flight == 0
    assert attempts(rig, "a", "CANCELLED") == 1


async def test_repeated_failures_open_the_circuit(make_rig: MakeRig) -> None:
    """After the configured number of failures in a row the backend is not tried any more."""
    rig = make_rig({"a": [[Fail(code="UPSTREAM_FAULT")]], "b": [GOOD]}, policy=DispatchPolicy(open_after_failures=3))
    for n in range(6):
        await rig.serve(request_id=f"r{n}")
    assert len(rig.adapters["a"].calls) == 3


async def test_the_last_backend_is_tried_although_it_looks_sick(make_rig: MakeRig) -> None:
    """When every backend that could serve looks sick, health is set aside instead of refusing."""
    rig = make_rig(
        {"a": [[Fail(code="UPSTREAM_FAULT")], [Fail(code="UPSTREAM_FAULT")], GOOD]},
        policy=DispatchPolicy(open_after_failures=2),
    )
    for n in range(2):
        with pytest.raises(UpstreamFailed):
            await rig.serve(request_id=f"r{n}")
    await rig.serve(request_id="r3")
    assert rig.text == "good"


async def test_learning_follows_what_was_observed(make_rig: MakeRig) -> None:
    """A completed answer moves the belief about the backend's speed; a cancelled one does not."""
    rig = make_rig({"a": [[Text(text="x ", times=8, every_s=0.01), Finish(usage=Usage(input=5, output=8))]]})
    await rig.serve()
    learned = rig.fleet.row("a", "m").learned
    assert learned.observations == 1
    assert learned.tpot.w0 > 0.0


def _ask() -> GenerateRequest:
    return GenerateRequest(
        model="m", messages=(Message(role="user", content="hi"),), sampling=Sampling(max_output_tokens=8)
    )


def _profile() -> RequestProfile:
    return RequestProfile(request_id="r1", model="m", input_tokens=5.0, max_output_tokens=8)
