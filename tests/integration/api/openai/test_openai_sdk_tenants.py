"""API keys, permissions, limits and budgets as users of the official SDK meet them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from backends.contract import Chunk, FinishReason
from router.api.authenticate import Authenticator
from router.api.http_server import HttpServer, bind
from router.api.openai_http import OpenAiHttp
from router.clock import FakeClock
from router.dispatch.scripted import ScriptedDirector, finished, routed
from router.domain import api_key
from router.domain.tenant import ApiKey, Tenant
from router.errors import BudgetExhausted, PermissionDenied, TenantLimited

ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]
KEY_ID, TEXT = api_key.new_key()
_, STRANGE = api_key.new_key()


@pytest.fixture
async def server(director: ScriptedDirector) -> AsyncIterator[HttpServer]:
    tenants = {"team-a": Tenant(id="team-a", keys=(ApiKey(id=KEY_ID, sha256=api_key.digest(TEXT)),))}
    app = OpenAiHttp(
        director,
        clock=FakeClock(),
        readiness=lambda: (True, {}),
        metrics=lambda: (b"", "text/plain"),
        authenticator=Authenticator(lambda: tenants, clock=FakeClock()),
    )
    server = HttpServer(app, bind("127.0.0.1", 0))
    await server.start()
    yield server
    await server.stop(limit_s=1)


@pytest.fixture(autouse=True)
def answer(director: ScriptedDirector) -> None:
    director.script = (routed(), Chunk(text="hello", events=1, finish_reason=FinishReason.STOP), finished())


def user(client: AsyncOpenAI, key: str) -> AsyncOpenAI:
    return client.with_options(api_key=key)


async def test_a_key_is_its_tenant_and_goes_no_further(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """The request is served as the key's tenant; nothing of what goes upstream holds the key."""
    await user(client, TEXT).chat.completions.create(model="m", messages=ASK)
    ((request, profile),) = director.served

    assert profile.tenant == "team-a"
    assert TEXT not in repr(request) + repr(profile)


async def test_any_other_key_is_the_default_tenant(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """The key that the SDK insists on may be anything, and whatever the body says of a tenant is not believed."""
    await client.chat.completions.create(model="m", messages=ASK, user="team-a")

    assert director.served[0][1].tenant == "default"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_unknown_key_is_an_authentication_error(
    client: AsyncOpenAI, director: ScriptedDirector, *, stream: bool
) -> None:
    """401 with the code of OpenAI, a hint, and not a character of the key; the director is not asked."""
    with pytest.raises(openai.AuthenticationError) as caught:
        await user(client, STRANGE).chat.completions.create(model="m", messages=ASK, extra_body={"stream": stream})

    assert caught.value.code == "invalid_api_key"
    assert STRANGE not in caught.value.response.text
    assert "hint" in caught.value.response.text
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert not director.served


async def test_models_are_listed_for_valid_keys(client: AsyncOpenAI) -> None:
    """An unknown key of ours lists nothing; a known one and a stranger's do."""
    with pytest.raises(openai.AuthenticationError):
        await user(client, STRANGE).models.list()

    assert (await user(client, TEXT).models.list()).data
    assert (await client.models.list()).data


async def test_what_is_not_allowed_is_a_permission_error(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """403 that names the field."""
    director.script = (PermissionDenied("model: 'm' is not allowed; allowed are other"),)
    with pytest.raises(openai.PermissionDeniedError, match="model: 'm' is not allowed") as caught:
        await user(client, TEXT).chat.completions.create(model="m", messages=ASK)

    assert caught.value.code == "permission_denied"


async def test_a_limit_is_a_rate_limit_error_that_says_when_to_come_back(
    client: AsyncOpenAI, director: ScriptedDirector
) -> None:
    """429 with retry-after, which the SDK follows by itself."""
    director.script = (TenantLimited("too fast", tenant="team-a", limit="requests_per_s", retry_after_s=0.25),)
    with pytest.raises(openai.RateLimitError) as caught:
        await user(client, TEXT).chat.completions.create(model="m", messages=ASK)

    headers = caught.value.response.headers
    assert caught.value.code == "rate_limit_exceeded"
    assert (headers["retry-after-ms"], headers["x-should-retry"]) == ("250", "true")


async def test_an_exhausted_budget_is_not_worth_retrying(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """429 insufficient_quota, as OpenAI says it, and the SDK is told not to try again by itself."""
    director.script = (BudgetExhausted("no money", tenant="team-a", limit="usd_per_day", retry_after_s=3_600.0),)
    with pytest.raises(openai.RateLimitError) as caught:
        await user(client, TEXT).chat.completions.create(model="m", messages=ASK)

    assert caught.value.code == "insufficient_quota"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert caught.value.response.headers["retry-after"] == "3600"
