"""Google's own SDK drives the emulated server, as the Gemini API and as Vertex AI.

What passes here is what the adapter is tested against.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest
from google import genai
from google.genai import errors, types
from google.oauth2.credentials import Credentials
from pydantic import BaseModel

from simulation.wires.gemini import BEARER, KEY, GeminiServer

gemini = pytest.mark.judge("gemini", "sdk")
vertex = pytest.mark.judge("vertex", "sdk")
# The SDK subclasses a class of aiohttp that warns of it.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")

NEW, OLD = "gemini-3-emulated", "gemini-2.5-emulated"
PNG = b"\x89PNG\r\n\x1a\n"
WEATHER = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="get_weather",
            description="The weather of a city",
            parameters_json_schema={
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        )
    ]
)


class City(BaseModel):
    name: str
    population: int


@pytest.fixture
async def server() -> AsyncIterator[GeminiServer]:
    server = GeminiServer()
    await server.start("127.0.0.1", 0)
    yield server
    await server.close()


@contextlib.asynccontextmanager
async def closing(client: genai.Client) -> AsyncIterator[genai.client.AsyncClient]:
    try:
        yield client.aio
    finally:
        await client.aio.aclose()
        client.close()


def options(server: GeminiServer) -> types.HttpOptions:
    return types.HttpOptions(base_url=f"http://127.0.0.1:{server.port}")


@pytest.fixture
async def client(server: GeminiServer) -> AsyncIterator[genai.client.AsyncClient]:
    async with closing(genai.Client(api_key=KEY, http_options=options(server))) as client:
        yield client


@gemini
@pytest.mark.parametrize("model", [NEW, OLD])
async def test_one_answer(client: genai.client.AsyncClient, server: GeminiServer, model: str) -> None:
    """A whole answer passes the SDK's types, with its counts."""
    answer = await client.models.generate_content(model=model, contents="Hello")
    assert answer.text
    assert answer.text.startswith(f"Emulated answer of {model}")
    assert answer.candidates
    assert answer.candidates[0].finish_reason is types.FinishReason.STOP
    usage = answer.usage_metadata
    assert usage is not None
    assert usage.total_token_count == (usage.prompt_token_count or 0) + (usage.candidates_token_count or 0)
    assert server.seen[-1]["path"] == f"/v1/models/{model}:generateContent"


@gemini
async def test_a_stream_with_thoughts(client: genai.client.AsyncClient, server: GeminiServer) -> None:
    """Thought, text, then a signature with the finish reason; sampling is taken and bounds hold."""
    config = types.GenerateContentConfig(
        max_output_tokens=10,
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        seed=7,
        stop_sequences=["\n\n"],
        presence_penalty=0.1,
        frequency_penalty=0.1,
        system_instruction="Be brief.",
        thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_level=types.ThinkingLevel.LOW),
    )
    stream = await client.models.generate_content_stream(model=NEW, contents="Hello", config=config)
    responses = [response async for response in stream]
    parts = [part for response in responses for part in response.parts or []]
    assert parts[0].thought
    assert "".join(part.text or "" for part in parts if not part.thought) == "Emulated answer of gemini-3-emulated: no"
    assert parts[-1].thought_signature
    assert responses[-1].candidates
    assert responses[-1].candidates[0].finish_reason is types.FinishReason.MAX_TOKENS
    usage = responses[-1].usage_metadata
    assert usage is not None
    assert (usage.candidates_token_count, usage.thoughts_token_count) == (10, 9)
    assert server.seen[-1]["query"] == "alt=sse"


@gemini
async def test_log_probabilities(client: genai.client.AsyncClient) -> None:
    """One for each token, with the others beside it."""
    config = types.GenerateContentConfig(response_logprobs=True, logprobs=1, max_output_tokens=4)
    answer = await client.models.generate_content(model=NEW, contents="Hello", config=config)
    assert answer.candidates
    result = answer.candidates[0].logprobs_result
    assert result is not None
    assert len(result.chosen_candidates or []) == len(result.top_candidates or []) == 4


@gemini
@pytest.mark.parametrize("model", [NEW, OLD])
async def test_a_tool_is_called_and_its_result_is_taken(client: genai.client.AsyncClient, model: str) -> None:
    """The SDK's chat gives calls and signatures back as they came."""
    chat = client.chats.create(model=model, config=types.GenerateContentConfig(tools=[WEATHER]))
    answer = await chat.send_message("What is the weather in Paris?")
    assert answer.function_calls
    assert [(call.name, call.args) for call in answer.function_calls] == [("get_weather", {"city": "emulated"})]
    result = types.Part.from_function_response(name="get_weather", response={"output": "rain"})
    assert (await chat.send_message(result)).text


@gemini
async def test_a_call_is_forced_and_forbidden(client: genai.client.AsyncClient) -> None:
    """The modes ANY with names and NONE."""

    def config(mode: types.FunctionCallingConfigMode, *names: str) -> types.GenerateContentConfig:
        calling = types.FunctionCallingConfig(mode=mode, allowed_function_names=list(names) or None)
        return types.GenerateContentConfig(
            tools=[WEATHER],
            tool_config=types.ToolConfig(function_calling_config=calling),
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        )

    modes = types.FunctionCallingConfigMode
    forced = await client.models.generate_content(model=NEW, contents="Hi", config=config(modes.ANY, "get_weather"))
    assert forced.function_calls
    free = await client.models.generate_content(model=NEW, contents="The weather?", config=config(modes.NONE))
    assert not free.function_calls


@gemini
async def test_a_lost_signature_is_refused(client: genai.client.AsyncClient) -> None:
    """The newer models refuse a call without one, take the documented word for a foreign call, and no other."""

    def contents(signature: bytes | None) -> types.ContentListUnion:
        call = types.Part.from_function_call(name="get_weather", args={})
        call.thought_signature = signature
        result = types.Part.from_function_response(name="get_weather", response={"output": "rain"})
        return [
            types.UserContent("Hi"),
            types.ModelContent(call),
            types.UserContent(result),
        ]

    with pytest.raises(errors.ClientError, match="missing a thought_signature"):
        await client.models.generate_content(model=NEW, contents=contents(None))
    with pytest.raises(errors.ClientError, match="Corrupted"):
        await client.models.generate_content(model=NEW, contents=contents(b"of another"))
    assert (await client.models.generate_content(model=OLD, contents=contents(None))).text


@gemini
@pytest.mark.parametrize("as_json_schema", [True, False])
async def test_structured_output(client: genai.client.AsyncClient, *, as_json_schema: bool) -> None:
    """A schema in either of its forms, parsed by the SDK."""
    config = types.GenerateContentConfig(response_mime_type="application/json")
    if as_json_schema:
        config.response_json_schema = City.model_json_schema()
    else:
        config.response_schema = City
    answer = await client.models.generate_content(model=NEW, contents="A city", config=config)
    assert City.model_validate_json(answer.text or "") == City(name="emulated", population=0)


@gemini
async def test_images(client: genai.client.AsyncClient, server: GeminiServer) -> None:
    """Bytes in the request, or an address."""
    parts = types.UserContent(
        [
            types.Part.from_text(text="What is this?"),
            types.Part.from_bytes(data=PNG, mime_type="image/png"),
            types.Part.from_uri(file_uri="https://example.com/a.png", mime_type="image/png"),
        ]
    )
    assert (await client.models.generate_content(model=NEW, contents=parts)).text
    sent = server.seen[-1]["body"]["contents"][0]["parts"]
    assert [next(iter(part)) for part in sent] == ["text", "inlineData", "fileData"]


@gemini
async def test_the_models_are_listed(client: genai.client.AsyncClient) -> None:
    """Where probes ask."""
    assert [model.name async for model in await client.models.list()] == [f"models/{NEW}", f"models/{OLD}"]


@gemini
async def test_filters(client: genai.client.AsyncClient, server: GeminiServer) -> None:
    """A blocked prompt has no candidate; a blocked answer has a reason."""
    server.finish = "SAFETY"
    answer = await client.models.generate_content(model=NEW, contents="Hello")
    assert answer.candidates
    assert answer.candidates[0].finish_reason is types.FinishReason.SAFETY
    server.blocks_prompts = True
    answer = await client.models.generate_content(model=NEW, contents="Hello")
    assert answer.prompt_feedback is not None
    assert answer.prompt_feedback.block_reason is types.BlockedReason.PROHIBITED_CONTENT
    assert not answer.candidates


@gemini
@pytest.mark.parametrize(
    ("status", "code", "name"),
    [
        (400, "API_KEY_INVALID", "INVALID_ARGUMENT"),
        (403, "", "PERMISSION_DENIED"),
        (429, "PerDay", "RESOURCE_EXHAUSTED"),
        (500, "", "INTERNAL"),
        (503, "", "UNAVAILABLE"),
    ],
)
async def test_errors(
    client: genai.client.AsyncClient, server: GeminiServer, status: int, code: str, name: str
) -> None:
    """The SDK finds status, name and message in every error."""
    server.faults.status, server.faults.code = status, code
    with pytest.raises(errors.APIError) as caught:
        await client.models.generate_content(model=NEW, contents="Hello")
    assert (caught.value.code, caught.value.status) == (status, name)
    assert caught.value.message


@gemini
async def test_errors_of_the_service_itself(client: genai.client.AsyncClient, server: GeminiServer) -> None:
    """An unknown model, a prompt that is too long, a key that is wrong."""
    with pytest.raises(errors.ClientError, match="is not found for API version"):
        await client.models.generate_content(model="gemini-0", contents="Hello")
    with pytest.raises(errors.ClientError, match="exceeds the maximum number of tokens"):
        await client.models.generate_content(model=OLD, contents="Hello " * 5000)
    async with closing(genai.Client(api_key="wrong", http_options=options(server))) as stranger:
        with pytest.raises(errors.ClientError, match="API key not valid"):
            await stranger.models.generate_content(model=NEW, contents="Hello")


@gemini
@pytest.mark.parametrize("bare", [False, True])
async def test_an_error_inside_a_stream(client: genai.client.AsyncClient, server: GeminiServer, *, bare: bool) -> None:
    """As an event or as it is, the SDK raises it after what came before."""
    server.faults.error_after, server.bare_errors = 2, bare
    stream = aiter(await client.models.generate_content_stream(model=NEW, contents="Hello"))
    assert (await anext(stream)).text
    assert (await anext(stream)).text
    with pytest.raises(errors.ServerError) as caught:
        await anext(stream)
    assert caught.value.code == 503


@vertex
async def test_vertex_by_token(server: GeminiServer) -> None:
    """The path holds project and location, the token is a bearer's; text and calls are streamed."""
    client = genai.Client(
        vertexai=True,
        project="our-project",
        location="europe-west4",
        credentials=Credentials(token=BEARER),  # type: ignore[no-untyped-call]
        http_options=options(server),
    )
    async with closing(client) as bound:
        config = types.GenerateContentConfig(
            tools=[WEATHER], automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True)
        )
        stream = await bound.models.generate_content_stream(model=NEW, contents="The weather?", config=config)
        responses = [response async for response in stream]
        assert [call.name for response in responses for call in response.function_calls or []] == ["get_weather"]
        assert (await bound.models.generate_content(model=NEW, contents="Hello")).text
        with pytest.raises(errors.ClientError, match="Publisher Model `projects/our-project"):
            await bound.models.generate_content(model="gemini-0", contents="Hello")
    parent = "projects/our-project/locations/europe-west4/publishers/google"
    assert server.seen[0]["path"].partition("/projects")[2] == f"/{parent}/models/{NEW}:streamGenerateContent"[9:]


@vertex
async def test_vertex_refuses_another_token(server: GeminiServer) -> None:
    """401, with the service's words."""
    client = genai.Client(
        vertexai=True,
        project="our-project",
        location="global",
        credentials=Credentials(token="ya29.other"),  # type: ignore[no-untyped-call]
        http_options=options(server),
    )
    async with closing(client) as bound:
        with pytest.raises(errors.ClientError) as caught:
            await bound.models.generate_content(model=NEW, contents="Hello")
    assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")


@vertex
async def test_vertex_by_key(server: GeminiServer) -> None:
    """Express mode: no project in the path, and a key."""
    async with closing(genai.Client(vertexai=True, api_key=KEY, http_options=options(server))) as bound:
        stream = await bound.models.generate_content_stream(model=OLD, contents="Hello")
        assert "".join([response.text or "" async for response in stream]).startswith("Emulated answer")
    assert server.seen[-1]["path"].endswith(f"/publishers/google/models/{OLD}:streamGenerateContent")
