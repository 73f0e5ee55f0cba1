"""The official SDK turns the face's errors into its own classes, with message, code and field, and retries rightly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from backends.contract import Chunk
from router.api.http_server import HttpServer
from router.dispatch.events import Rerouted
from router.dispatch.scripted import ScriptedDirector, Step, finished, routed, sample_candidate
from router.domain.decision import Drop, DropReason
from router.domain.request import StreamBreakAction
from router.errors import (
    DeadlineExceeded,
    NoEndpoint,
    Shed,
    ShuttingDown,
    SloInfeasible,
    StreamBroken,
    UnknownModel,
    UpstreamFailed,
)

ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]
HARDWARE = sample_candidate().hardware


@dataclass(frozen=True)
class Case:
    """An error of the director, and what a user of the SDK sees of it."""

    id: str
    error: Exception
    kind: type[openai.APIStatusError]
    status: int
    code: str
    retry: str
    param: str | None = None


def _no_endpoint(reason: DropReason) -> NoEndpoint:
    return NoEndpoint(
        "no backend can serve this", drops=(Drop(backend="a", reason=reason, detail="", hardware=HARDWARE),)
    )


def _upstream(code: str, param: str | None = None) -> UpstreamFailed:
    return UpstreamFailed("every attempt failed", attempts=(), last_code=code, param=param)


CASES = (
    Case(
        "unknown-model", UnknownModel("no such model"), openai.NotFoundError, 404, "model_not_found", "false", "model"
    ),
    Case("shed", Shed("full", retry_after_s=1.5), openai.RateLimitError, 429, "shed", "true"),
    Case("transient", _no_endpoint(DropReason.HEALTH), openai.InternalServerError, 503, "no_endpoint", "true"),
    Case("never", _no_endpoint(DropReason.PRIVACY), openai.UnprocessableEntityError, 422, "no_endpoint", "false"),
    Case("slo", SloInfeasible("too fast"), openai.UnprocessableEntityError, 422, "slo_infeasible", "false"),
    Case("deadline", DeadlineExceeded("too late"), openai.InternalServerError, 504, "deadline_exceeded", "false"),
    Case("refused", _upstream("BAD_REQUEST", "top_k"), openai.BadRequestError, 400, "invalid_value", "false", "top_k"),
    Case("limited", _upstream("RATE_LIMITED"), openai.RateLimitError, 429, "rate_limit_exceeded", "true"),
    Case("quota", _upstream("QUOTA_EXHAUSTED"), openai.RateLimitError, 429, "insufficient_quota", "false"),
    Case("faulty", _upstream("UPSTREAM_FAULT"), openai.InternalServerError, 502, "upstream_fault", "true"),
    Case("our-key", _upstream("AUTH_FAILED"), openai.InternalServerError, 502, "upstream_auth_failed", "false"),
    Case("leaving", ShuttingDown("going"), openai.InternalServerError, 503, "shutting_down", "true"),
    Case("bug", KeyError("secret"), openai.InternalServerError, 500, "internal_error", "false"),
)


@pytest.mark.parametrize("extra_body", [{}, {"stream": True}], ids=["whole", "stream"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_an_error_before_the_first_token_has_its_status(
    client: AsyncOpenAI, director: ScriptedDirector, case: Case, extra_body: dict[str, bool]
) -> None:
    """Streamed or not, an error before the first piece is an HTTP error of the right class, code and retry advice."""
    director.script = (routed(), case.error)

    with pytest.raises(case.kind) as caught:
        await client.chat.completions.create(model="m", messages=ASK, extra_body=extra_body)

    error = caught.value
    assert (error.status_code, error.code, error.param) == (case.status, case.code, case.param)
    assert error.response.headers["x-should-retry"] == case.retry
    assert error.response.headers["x-request-id"] == director.served[0][1].request_id
    assert "secret" not in str(error)


async def test_the_sdk_is_told_how_long_to_wait(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """retry-after is in whole seconds, rounded up, and retry-after-ms to the millisecond."""
    director.script = (Shed("full", retry_after_s=1.5),)

    with pytest.raises(openai.RateLimitError) as caught:
        await client.chat.completions.create(model="m", messages=ASK)

    headers = caught.value.response.headers
    assert (headers["retry-after"], headers["retry-after-ms"]) == ("2", "1500")


async def test_the_sdk_retries_what_is_worth_it(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """With retries on, a shed request is sent again and answered; one that nobody can serve is sent once."""
    attempts: Iterator[Step] = iter((Shed("full", retry_after_s=0.001), routed(), Chunk(text="Hi"), finished()))
    director.script = attempts  # each request goes on where the last one stopped
    retrying = client.with_options(max_retries=2)

    answer = await retrying.chat.completions.create(model="m", messages=ASK)
    director.script = (SloInfeasible("too fast"),)
    with pytest.raises(openai.UnprocessableEntityError):
        await retrying.chat.completions.create(model="m", messages=ASK)

    assert answer.choices[0].message.content == "Hi"
    assert len(director.served) == 3


@pytest.mark.parametrize("error", [StreamBroken("reset"), _upstream("UPSTREAM_FAULT"), KeyError("secret")], ids=repr)
async def test_an_error_inside_a_stream_is_raised(
    client: AsyncOpenAI, director: ScriptedDirector, error: Exception
) -> None:
    """After the first piece the error is an event: the SDK gives the pieces, then raises, and sees no finish reason."""
    director.script = (routed(), Chunk(text="Hel", events=1), error)
    stream = await client.chat.completions.create(model="m", messages=ASK, stream=True)
    first, second = await anext(stream), await anext(stream)

    with pytest.raises(openai.APIError) as caught:
        await anext(stream)

    assert (first.choices[0].delta.role, second.choices[0].delta.content) == ("assistant", "Hel")
    assert second.choices[0].finish_reason is None
    assert isinstance(caught.value.body, dict)
    assert set(caught.value.body) == {"message", "type", "param", "code", "router"}
    assert caught.value.body["router"]["request_id"] == director.served[0][1].request_id
    assert "secret" not in str(caught.value.body)


async def test_a_stream_cannot_start_over(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """A RESTART after text was streamed, which no request can ask for, ends the stream with an error."""
    rerouted = Rerouted(
        from_backend="a",
        candidate=sample_candidate(),
        reason="STREAM_BROKEN",
        detail="",
        resume=StreamBreakAction.RESTART,
    )
    director.script = (routed(), Chunk(text="Hel", events=1), rerouted, Chunk(text="Hello", events=1), finished())

    stream = await client.chat.completions.create(model="m", messages=ASK, stream=True)
    with pytest.raises(openai.APIError, match="cannot be taken back"):
        async for _ in stream:
            pass


async def test_an_answer_without_an_outcome_is_an_error(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """A director that just stops never looks like success."""
    director.script = (routed(), Chunk(text="Hel", events=1))

    with pytest.raises(openai.InternalServerError):
        await client.chat.completions.create(model="m", messages=ASK)
    stream = await client.chat.completions.create(model="m", messages=ASK, stream=True)
    with pytest.raises(openai.APIError):
        async for _ in stream:
            pass


async def test_bad_requests_name_the_field(client: AsyncOpenAI) -> None:
    """A wrong image is a BadRequestError whose param is the exact path; what is not offered has a code of its own."""
    part = {"type": "image_url", "image_url": "https://example.com/a.png"}
    with pytest.raises(openai.BadRequestError) as wrong:
        await client.chat.completions.create(
            model="m",
            messages=[{"role": "system", "content": "x"}, {"role": "user", "content": [part]}],  # type: ignore[list-item, misc]  # wrong on purpose
        )
    with pytest.raises(openai.BadRequestError) as unsupported:
        await client.chat.completions.create(model="m", messages=ASK, n=2)
    with pytest.raises(openai.BadRequestError) as unknown:
        await client.chat.completions.create(model="m", messages=ASK, extra_body={"router": {"privcy": "on_device"}})

    assert (wrong.value.param, wrong.value.code) == ("messages.1.content.0.image_url", "invalid_value")
    assert (unsupported.value.param, unsupported.value.code) == ("n", "unsupported_parameter")
    assert (unknown.value.param, unknown.value.code) == ("router.privcy", "unknown_parameter")
    assert "did you mean 'privacy'?" in unknown.value.message


async def test_restart_is_refused_for_a_stream(client: AsyncOpenAI) -> None:
    """on_stream_break restart with stream is a 400 that says what to use in its place."""
    with pytest.raises(openai.BadRequestError, match="use 'continue'") as caught:
        await client.chat.completions.create(
            model="m", messages=ASK, stream=True, extra_body={"router": {"on_stream_break": "restart"}}
        )

    assert caught.value.param == "router.on_stream_break"


async def test_an_unknown_model_is_not_found(client: AsyncOpenAI) -> None:
    """GET of a model that does not exist is NotFoundError with OpenAI's code."""
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve("nope")

    assert caught.value.code == "model_not_found"


async def test_an_unknown_endpoint_is_not_found(client: AsyncOpenAI) -> None:
    """An API that is not served is NotFoundError, and the message says what is."""
    with pytest.raises(openai.NotFoundError, match="/v1/chat/completions"):
        await client.embeddings.create(model="m", input="x")


async def test_a_server_that_is_gone_is_a_connection_error(client: AsyncOpenAI, server: HttpServer) -> None:
    """After stop nobody listens on the port."""
    await server.stop(limit_s=1)

    with pytest.raises(openai.APIConnectionError):
        await client.models.list()
