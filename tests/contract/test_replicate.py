"""The Replicate adapter against the emulated servers that Replicate's own SDK has judged."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import msgspec
import pytest

from backends.contract import (
    FinishReason,
    GenerateRequest,
    Message,
    Sampling,
    UpstreamTimings,
    Usage,
)
from backends.errors import (
    AuthFailed,
    BackendError,
    BadRequest,
    ContextTooLong,
    ModelNotServed,
    QuotaExhausted,
    RateLimited,
    StreamBroken,
    UpstreamFault,
)
from simulation.wires.faults import Faults
from simulation.wires.replicate import TOKEN, VERSION
from tests.contract.emulated import adapters, ask, ask_until_broken, text
from tests.contract.replicate_stage import MODEL, REQUEST, USER, Stage, replicate_stage


@pytest.fixture(params=["httpx", "fast"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with replicate_stage(request.param) as found:
        yield found


def a_request(**fields: object) -> GenerateRequest:
    return msgspec.structs.replace(REQUEST, **fields)


async def test_text_counts_and_times_arrive(stage: Stage) -> None:
    """Text with its line ends; the counts of the prediction; what is left of the limit with the first chunk."""
    chunks = await ask(stage.backend(), REQUEST)
    assert text(chunks).startswith("Emulated answer of Replicate: no model has run.\n\n ")
    last = chunks[-1]
    prediction = next(iter(stage.server.predictions.values()))
    assert last.usage == Usage(input=2, output=prediction.answer.tokens)
    assert last.timings == UpstreamTimings(queue_s=0.5, prefill_s=0.25, decode_s=1.75)
    signals = chunks[0].signals
    assert signals is not None
    assert signals.headroom is not None
    assert signals.headroom.requests is not None
    assert signals.headroom.requests.remaining == 599
    assert not stage.server.cancelled


async def test_an_answer_that_filled_its_bound_was_cut_by_it(stage: Stage) -> None:
    """The wire has no word for it; the count has."""
    chunks = await ask(stage.backend(), a_request(sampling=Sampling(max_output_tokens=5)))
    assert chunks[-1].finish_reason is FinishReason.LENGTH
    assert (await ask(stage.backend(), a_request(sampling=Sampling())))[-1].finish_reason is FinishReason.STOP


async def test_usage_is_estimated_where_no_count_is_given(stage: Stage) -> None:
    """And says so."""
    stage.server.counts_tokens = False
    usage = (await ask(stage.backend(), REQUEST))[-1].usage
    assert usage is not None
    assert usage.estimated
    assert usage.output > 0


async def test_inputs_go_by_the_names_of_the_model(stage: Stage) -> None:
    """A system's message beside the prompt, stops in one text, the longest time in a header."""
    sampling = Sampling(max_output_tokens=9, temperature=0.5, top_k=4, seed=3, stop=("\n\n", "END"))
    messages = (Message(role="system", content="Be brief."), USER)
    await ask(stage.backend(cancel_after="90s"), a_request(messages=messages, sampling=sampling))
    (seen,) = stage.server.seen
    assert seen["headers"]["cancel-after"] == "90s"
    assert seen["body"]["input"] == {
        "prompt": "hello",
        "system_prompt": "Be brief.",
        "max_tokens": 9,
        "temperature": 0.5,
        "top_k": 4,
        "seed": 3,
        "stop_sequences": "\n\n,END",
    }


async def test_turns_become_a_prompt_where_the_model_has_a_template(stage: Stage) -> None:
    """The template of the service is kept from it."""
    turns = (USER, Message(role="assistant", content="Hi."), Message(role="user", content="And now?"))
    await ask(stage.backend(chat_template="chatml"), a_request(messages=turns))
    given = stage.server.seen[-1]["body"]["input"]
    assert given["prompt_template"] == "{prompt}"
    assert given["prompt"].endswith("<|im_start|>user\nAnd now?<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize(
    ("model", "options", "path"),
    [
        (MODEL, {}, f"/v1/models/{MODEL}/predictions"),
        (MODEL, {"deployment": "true"}, f"/v1/deployments/{MODEL}/predictions"),
        (f"{MODEL}:{VERSION}", {}, "/v1/predictions"),
        (VERSION, {}, "/v1/predictions"),
    ],
)
async def test_a_model_is_a_name_a_version_or_a_deployment(
    stage: Stage, model: str, options: dict[str, str], path: str
) -> None:
    """Each has an address of its own."""
    assert text(await ask(stage.backend(**options), a_request(model=model)))
    assert stage.server.seen[-1]["body"]["path"] == path


async def test_a_connection_that_ends_too_early_is_resumed_once(stage: Stage) -> None:
    """After the last event that came; nothing is said twice and nothing is lost."""
    whole = text(await ask(stage.backend(), REQUEST))
    stage.server.interrupts.append(3)
    assert text(await ask(stage.backend(), REQUEST)) == whole
    asked = [request["headers"].get("last-event-id") for request in stage.server.streams.seen]
    assert asked == [None, None, "1707756341:2"]


async def test_a_connection_that_ends_before_anything_came_is_begun_again(stage: Stage) -> None:
    """There is nothing to go on after."""
    stage.server.interrupts.append(0)
    assert text(await ask(stage.backend(), REQUEST))
    assert not stage.server.cancelled


async def test_a_stream_that_keeps_ending_is_broken(stage: Stage) -> None:
    """Once is bad luck; and the prediction is cancelled."""
    stage.server.interrupts.extend([3, 3])
    chunks, error = await ask_until_broken(stage.backend(), REQUEST)
    assert sum(chunk.events for chunk in chunks) == 6
    assert isinstance(error, StreamBroken)
    assert "ended before the prediction did" in error.message
    assert len(await stage.cancelled()) == 1


async def test_a_stream_that_begins_anew_is_broken(stage: Stage) -> None:
    """The caller must not read the beginning twice."""
    stage.server.interrupts.append(3)
    stage.server.forgets = True
    chunks, error = await ask_until_broken(stage.backend(), REQUEST)
    assert sum(chunk.events for chunk in chunks) == 3
    assert isinstance(error, StreamBroken)
    assert "began anew" in error.message


async def test_a_connection_that_breaks_is_resumed_too(stage: Stage) -> None:
    """Until it breaks again."""
    stage.server.faults = Faults(cut_after=2)
    chunks, error = await ask_until_broken(stage.backend(), REQUEST)
    assert isinstance(error, StreamBroken)
    assert sum(chunk.events for chunk in chunks) == 4
    assert len(stage.server.streams.seen) == 2


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(malformed_after=3), "not of this wire"),
        (Faults(error_after=3), "Prediction interrupted"),
    ],
)
async def test_a_stream_that_goes_wrong_is_broken_and_the_prediction_cancelled(
    stage: Stage, faults: Faults, words: str
) -> None:
    """Nobody reads on, so nobody shall pay on."""
    stage.server.faults = faults
    chunks, error = await ask_until_broken(stage.backend(), REQUEST)
    assert sum(chunk.events for chunk in chunks) == 3
    assert isinstance(error, StreamBroken)
    assert re.search(words, error.message)
    assert len(await stage.cancelled()) == 1


@pytest.mark.parametrize(("reason", "words"), [("error", "CUDA out of memory"), ("canceled", "ended as 'canceled'")])
async def test_a_prediction_that_failed_is_no_answer(stage: Stage, reason: str, words: str) -> None:
    """Though its stream ended well; the prediction has the words. It is over, so it is not cancelled."""
    stage.server.ends_as = reason
    _, error = await ask_until_broken(stage.backend(), REQUEST)
    assert isinstance(error, StreamBroken)
    assert words in error.message
    assert not stage.server.cancelled


@pytest.mark.parametrize(
    ("status", "kind", "wait"),
    [
        (429, RateLimited, 30.0),
        (402, QuotaExhausted, None),
        (401, AuthFailed, None),
        (404, ModelNotServed, None),
        (422, BadRequest, None),
        (500, UpstreamFault, None),
    ],
)
async def test_refusals_have_their_kind(
    stage: Stage, status: int, kind: type[BackendError], wait: float | None
) -> None:
    """With the wait out of the words, where no header says it."""
    stage.server.faults = Faults(status=status)
    with pytest.raises(kind) as caught:
        await ask(stage.backend(), REQUEST)
    assert (caught.value.status, caught.value.retry_after_s) == (status, wait)


async def test_a_throttled_account_says_when_to_come_back_and_what_is_left(stage: Stage) -> None:
    """The header is more exact than the words."""
    headers = {"ratelimit_remaining": "0", "ratelimit_reset": "12"}
    stage.server.faults = Faults(status=429, headers=headers)
    with pytest.raises(RateLimited) as caught:
        await ask(stage.backend(), REQUEST)
    assert caught.value.retry_after_s == 12.0
    assert caught.value.signals is not None


async def test_a_prompt_that_is_too_long_is_told_apart(stage: Stage) -> None:
    """By the words of the validation."""
    with pytest.raises(ContextTooLong):
        await ask(stage.backend(), a_request(messages=(Message(role="user", content="x" * 40_000),)))
    with pytest.raises(ModelNotServed, match="version does not exist"):
        await ask(stage.backend(), a_request(model="f" * 64))
    with pytest.raises(ModelNotServed, match="not owner/name"):
        await ask(stage.backend(), a_request(model="llama"))


async def test_a_probe_asks_for_the_account_and_nothing_that_bills(stage: Stage) -> None:
    """A token that is refused is seen by it."""
    backend = stage.backend()
    assert (await backend.probe(timeout_s=2.0)).healthy
    assert not stage.server.predictions
    async with adapters(secret="wrong") as strangers:
        stranger = strangers.bind("replicate", f"http://127.0.0.1:{stage.server.port}", credential=True)
        assert (await stranger.probe(timeout_s=2.0)).reason.startswith("AUTH_FAILED")


async def test_the_token_is_in_no_repr_and_no_error(stage: Stage) -> None:
    """Also where the service echoes it."""
    backend = stage.backend()
    assert TOKEN not in repr(backend)
    stage.server.faults = Faults(status=401, code=f"the token {TOKEN} is not valid")
    with pytest.raises(AuthFailed) as caught:
        await ask(backend, REQUEST)
    assert TOKEN not in str(caught.value)
