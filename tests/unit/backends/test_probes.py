"""What a probe asks, how often, and what it makes of the answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from backends.authorise import KeyAuthoriser
from backends.contract import LoadReport
from backends.dialect import KeyHeader
from backends.openai.profiles import PROFILES
from backends.probing.fetch import MAX_PROBE_BODY_BYTES
from backends.probing.prober import HttpProber
from backends.spec import BackendSpec
from router.clock import FakeClock

MODELS = httpx.Response(200, json={"data": [{"id": "m1"}, {"id": "m2", "max_model_len": 5}]})


class Server:
    """Answers by path, and counts who asked for what."""

    def __init__(self, profile: str, answers: dict[str, httpx.Response | Exception]) -> None:
        self.answers = answers
        self.asked: Counter[str] = Counter()
        self.headers: list[httpx.Headers] = []
        self.clock = FakeClock()
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        spec = BackendSpec(id="b", wire="openai_chat", profile=profile, base_url="http://server:8000/base/v1")
        self.prober = HttpProber(
            spec,
            PROFILES[profile],
            self.client,
            authoriser=KeyAuthoriser("env:KEY", {"KEY": "k"}, KeyHeader()),
            now=self.clock.monotonic,
        )

    async def probe(self) -> LoadReport:
        return await self.prober.probe(timeout_s=5)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked[request.url.path] += 1
        self.headers.append(request.headers)
        self.clock.advance(0.25)
        answer = self.answers.get(request.url.path.removeprefix("/base"), httpx.Response(404))
        if isinstance(answer, Exception):
            raise answer
        return answer


Serve = Callable[[str, dict[str, httpx.Response | Exception]], Awaitable[Server]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    servers: list[Server] = []

    async def start(profile: str, answers: dict[str, httpx.Response | Exception]) -> Server:
        servers.append(Server(profile, answers))
        return servers[-1]

    yield start
    for server in servers:
        await server.client.aclose()


async def test_a_healthy_engine_tells_its_load(serve: Serve) -> None:
    """Health, round trip, models and load come together in one report."""
    metrics = "vllm:num_requests_running 2\nvllm:num_requests_waiting 1\nvllm:kv_cache_usage_perc 0.5\n"
    server = await serve(
        "vllm", {"/health": httpx.Response(200), "/metrics": httpx.Response(200, text=metrics), "/v1/models": MODELS}
    )
    assert await server.probe() == LoadReport(
        healthy=True, rtt_s=0.25, running=2, waiting=1, kv_cache_usage=0.5, models=("m1", "m2")
    )
    assert server.headers[0]["authorization"] == "Bearer k"


async def test_models_are_asked_for_once_a_minute(serve: Serve) -> None:
    """A list that changes rarely is not fetched with every probe."""
    server = await serve("vllm", {"/health": httpx.Response(200), "/v1/models": MODELS})
    for _ in range(20):
        assert (await server.probe()).models == ("m1", "m2")
    assert server.asked["/base/v1/models"] == 1
    server.clock.advance(60)
    await server.probe()
    assert server.asked["/base/v1/models"] == 2


async def test_a_hosted_service_is_asked_for_its_models_only(serve: Serve) -> None:
    """Nothing that could bill, and at most once a minute while it is well."""
    server = await serve("groq", {"/v1/models": MODELS})
    for _ in range(20):
        assert (await server.probe()).healthy
    assert server.asked == {"/base/v1/models": 1}


async def test_sglang_is_never_asked_at_the_path_that_generates(serve: Serve) -> None:
    """Its /health runs the model; /ping does not."""
    server = await serve("sglang", {"/ping": httpx.Response(200), "/v1/models": MODELS})
    assert (await server.probe()).healthy
    assert "/base/health" not in server.asked


async def test_a_loading_model_is_warming(serve: Serve) -> None:
    """llama.cpp's 503 while it loads is neither healthy nor sick."""
    loading = httpx.Response(
        503, json={"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
    )
    report = await (await serve("llama_cpp", {"/health": loading})).probe()
    assert (report.healthy, report.warming) == (False, True)
    assert report.reason.startswith("WARMING")


async def test_metrics_that_are_switched_off_are_tolerated(serve: Serve) -> None:
    """A 501 leaves the load unknown, and is not asked for again at once."""
    server = await serve(
        "llama_cpp", {"/health": httpx.Response(200), "/metrics": httpx.Response(501), "/v1/models": MODELS}
    )
    for _ in range(5):
        report = await server.probe()
        assert (report.healthy, report.running, report.waiting) == (True, None, None)
    assert server.asked["/base/metrics"] == 1


@pytest.mark.parametrize(
    ("profile", "path", "answer", "code"),
    [
        ("vllm", "/health", httpx.Response(503), "UPSTREAM_FAULT"),
        ("vllm", "/health", httpx.ConnectError("refused"), "CONNECT_FAILED"),
        ("vllm", "/health", httpx.ReadTimeout("slow"), "TIMED_OUT"),
        ("groq", "/v1/models", httpx.Response(401, json={"error": {"message": "Invalid API Key"}}), "AUTH_FAILED"),
        ("groq", "/v1/models", httpx.Response(500), "UPSTREAM_FAULT"),
        ("groq", "/v1/models", httpx.ConnectError("refused"), "CONNECT_FAILED"),
    ],
)
async def test_what_does_not_answer_well_is_unhealthy(
    serve: Serve, profile: str, path: str, answer: httpx.Response | Exception, code: str
) -> None:
    """A probe reports the reason and never raises."""
    report = await (await serve(profile, {path: answer})).probe()
    assert (report.healthy, report.warming) == (False, False)
    assert report.reason.startswith(code)


async def test_a_refused_credential_is_found_where_health_is_open(serve: Serve) -> None:
    """The /health of vLLM needs no key, so the list of models tells that ours is wrong."""
    server = await serve("vllm", {"/health": httpx.Response(200), "/v1/models": httpx.Response(401)})
    assert (await server.probe()).reason.startswith("AUTH_FAILED")


async def test_a_server_without_a_list_of_models_is_healthy(serve: Serve) -> None:
    """What is not offered is unknown, not an illness."""
    for profile in ("vllm", "generic"):
        server = await serve(profile, {"/health": httpx.Response(200)})
        report = await server.probe()
        assert (report.healthy, report.models) == (True, None)


async def test_a_list_of_models_may_be_bare(serve: Serve) -> None:
    """Together sends the list without an object around it."""
    server = await serve("together", {"/v1/models": httpx.Response(200, json=[{"id": "a"}, {"id": "b", "x": 1}])})
    assert (await server.probe()).models == ("a", "b")


async def test_a_huge_body_is_cut(serve: Serve) -> None:
    """A probe reads no more than its bound."""
    big = httpx.Response(200, content=b"vllm:num_requests_running 1\n" + b"#" * (2 * MAX_PROBE_BODY_BYTES))
    server = await serve("vllm", {"/health": httpx.Response(200), "/metrics": big, "/v1/models": MODELS})
    assert (await server.probe()).running == 1


async def test_a_silent_server_costs_no_more_than_the_timeout() -> None:
    """A probe ends by itself, and says why."""
    never = asyncio.Event()

    async def hang(_: httpx.Request) -> httpx.Response:
        await never.wait()
        return httpx.Response(200)

    async with httpx.AsyncClient(transport=httpx.MockTransport(hang)) as client:
        spec = BackendSpec(id="b", wire="openai_chat", base_url="http://s")
        report = await HttpProber(
            spec, PROFILES["vllm"], client, authoriser=KeyAuthoriser(None, {}, KeyHeader())
        ).probe(timeout_s=0.01)
    assert report.reason.startswith("TIMED_OUT")


async def test_sglang_without_metrics_tells_its_load_as_json(serve: Serve) -> None:
    """Switched-off metrics are asked for once a minute, the load every time."""
    rows = [
        {"dp_rank": 0, "num_running_reqs": 2, "num_waiting_reqs": 1, "token_usage": 0.5},
        {"dp_rank": 1, "num_running_reqs": 3, "num_waiting_reqs": 0, "token_usage": 0.25},
    ]
    loads = httpx.Response(200, json={"version": "x", "loads": rows})
    server = await serve("sglang", {"/ping": httpx.Response(200), "/v1/models": MODELS, "/v1/loads": loads})
    for _ in range(3):
        report = await server.probe()
        assert (report.running, report.waiting, report.kv_cache_usage) == (5, 1, 0.375)
    assert (server.asked["/base/metrics"], server.asked["/base/v1/loads"]) == (1, 3)


async def test_metrics_that_say_something_are_enough(serve: Serve) -> None:
    """The second source is not asked where the first has spoken."""
    metrics = httpx.Response(200, text="sglang:num_running_reqs 1\n")
    server = await serve("sglang", {"/ping": httpx.Response(200), "/metrics": metrics, "/v1/models": MODELS})
    report = await server.probe()
    assert (report.running, report.waiting) == (1, None)
    assert "/base/v1/loads" not in server.asked


@pytest.mark.parametrize(
    ("body", "load"),
    [
        (
            b'{"loads": [{"num_running_reqs": 1}, {"num_running_reqs": 2, "num_waiting_reqs": null}, 7]}',
            (3, None, None),
        ),
        (b'{"loads": [{"token_usage": 1.5, "num_waiting_reqs": true}]}', (None, None, 1.0)),
        (b'{"loads": []}', (None, None, None)),
        (b'{"loads": {}}', (None, None, None)),
        (b"[]", (None, None, None)),
        (b"\xff", (None, None, None)),
    ],
)
async def test_a_field_that_is_missing_is_unknown(
    serve: Serve, body: bytes, load: tuple[int | None, int | None, float | None]
) -> None:
    """Never zero; and a page of another kind says nothing."""
    answers = {"/ping": httpx.Response(200), "/v1/loads": httpx.Response(200, content=body)}
    report = await (await serve("sglang", {**answers, "/v1/models": MODELS})).probe()
    assert report.healthy
    assert (report.running, report.waiting, report.kv_cache_usage) == load


async def test_a_server_that_sleeps_is_healthy_and_has_nothing_in_memory(serve: Serve) -> None:
    """It is not woken by being asked: what counts as a task is left alone."""
    props = httpx.Response(200, json={"is_sleeping": True, "total_slots": 4})
    server = await serve("llama_cpp", {"/health": httpx.Response(200), "/v1/models": MODELS, "/props": props})
    report = await server.probe()
    assert (report.healthy, report.loaded) == (True, ())
    assert report.reason.startswith("asleep")
    server.answers["/props"] = httpx.Response(200, json={"is_sleeping": False})
    server.clock.advance(60)
    report = await server.probe()
    assert (report.healthy, report.loaded, report.reason) == (True, None, "")
    assert "/base/slots" not in server.asked


@pytest.mark.parametrize("profile", ["trtllm", "tgi"])
async def test_pages_that_drain_or_generate_are_never_asked_for(serve: Serve, profile: str) -> None:
    """The text of the metrics is elsewhere, and health has a page that is only read."""
    text = "trtllm_num_requests_running 1\ntgi_batch_current_size 1\n"
    pages = ("/health", "/info", "/metrics", "/prometheus/metrics", "/health_generate")
    server = await serve(profile, {**{page: httpx.Response(200, text=text) for page in pages}, "/v1/models": MODELS})
    assert (await server.probe()).running == 1
    drains = {"trtllm": "/base/metrics", "tgi": "/base/health"}[profile]
    assert drains not in server.asked
    assert "/base/health_generate" not in server.asked


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"data": [{"id": "a"}, {"id": "b"}]}, ("a", "b")),
        ([{"id": "a"}], ("a",)),
        ({"models": [{"name": "llama3:8b", "model": "llama3:8b"}]}, ("llama3:8b",)),
        ({"models": [{"name": "models/gemini-x", "displayName": "X"}]}, ("gemini-x",)),
        ({"object": "list", "data": [{"id": "a"}], "models": [{"name": "b"}]}, ("a",)),
        ({"data": [{"other": 1}]}, ()),
        ({"data": None}, None),
        ({"data": [{"id": 5}]}, None),
        ("no list", None),
    ],
)
async def test_a_list_of_models_in_any_form(serve: Serve, body: object, names: tuple[str, ...] | None) -> None:
    """OpenAI's, bare, Ollama's and Google's; anything else is unknown."""
    server = await serve("generic", {"/v1/models": httpx.Response(200, json=body)})
    report = await server.probe()
    assert (report.healthy, report.models) == (True, names)


async def test_a_connection_is_the_only_question_where_nothing_may_be_asked() -> None:
    """It is made once a minute while all is well, and sends nothing."""
    said: list[bytes] = []
    closed = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said.append(await reader.read())
        writer.close()
        closed.set()

    clock = FakeClock()
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with httpx.AsyncClient() as client:
        prober = HttpProber(
            BackendSpec(id="b", wire="openai_chat", profile="azure", base_url=f"http://127.0.0.1:{port}"),
            PROFILES["azure"],
            client,
            authoriser=KeyAuthoriser(None, {}, KeyHeader()),
            now=clock.monotonic,
        )
        for _ in range(3):
            report = await prober.probe(timeout_s=2)
            assert (report.healthy, report.rtt_s, report.models) == (True, 0.0, None)
        await asyncio.wait_for(closed.wait(), 2)
        assert said == [b""]
        server.close()
        await server.wait_closed()
        clock.advance(60)
        report = await prober.probe(timeout_s=2)
        assert (report.healthy, report.reason.partition(":")[0]) == (False, "CONNECT_FAILED")
