"""Who serves at an address is told by what only he says, and never by a question that costs something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from backends.auth import MissingCredential
from backends.discovery.discover import Discovery, discover
from backends.discovery.facts import FoundModel
from backends.discovery.hosts import HOSTS, known_host
from backends.registry import WIRES

LISTED = {"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "nobody"}]}
NEVER = {"/health_generate", "/api/generate", "/v1/chat/completions", "/generate"}


def listed(owner: str, **fields: Any) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": "org/Model-8B", "owned_by": owner, **fields}]}


# What each engine answers; everything else is 404.
ENGINES: dict[str, tuple[dict[str, Any], str, str, FoundModel | None]] = {
    "vLLM": (
        {
            "/v1/models": listed("vllm", max_model_len=4096),
            "/version": {"version": "0.32.0"},
            "/health": "",
            "/metrics": "vllm:num_requests_running 0\nvllm:num_requests_waiting 0\n",
        },
        "openai_chat",
        "vllm",
        FoundModel(name="org/Model-8B", context_tokens=4096),
    ),
    "vLLM on TPU": (
        {"/v1/models": listed("vllm"), "/health": "", "/metrics": "vllm:tpu_cores 8\nvllm:num_requests_running 0\n"},
        "openai_chat",
        "vllm_tpu",
        FoundModel(name="org/Model-8B"),
    ),
    "TensorRT-LLM": (
        {"/v1/models": listed("tensorrt_llm"), "/version": {"version": "1.2"}, "/health": ""},
        "openai_chat",
        "trtllm",
        FoundModel(name="org/Model-8B"),
    ),
    "SGLang": (
        {
            "/v1/models": listed("sglang", max_model_len=8192),
            "/api/version": {"version": "0"},  # it speaks Ollama's wire as well
            "/server_info": {"tp_size": 1, "version": "0.5.23", "max_running_requests": 48},
            "/ping": "",
        },
        "openai_chat",
        "sglang",
        FoundModel(name="org/Model-8B", context_tokens=8192),
    ),
    "an older SGLang": (
        {"/v1/models": LISTED, "/get_server_info": {"tp_size": 1, "context_length": 2048}, "/ping": ""},
        "openai_chat",
        "sglang",
        FoundModel(name="m", context_tokens=2048),
    ),
    "llama.cpp": (
        {
            "/v1/models": {"models": [], **LISTED},
            "/props": {"total_slots": 4, "default_generation_settings": {"n_ctx": 1024}, "build_info": "b1"},
            "/health": {"status": "ok"},
        },
        "openai_chat",
        "llama_cpp",
        FoundModel(name="m", context_tokens=1024),
    ),
    "TabbyAPI": (
        {
            "/v1/models": LISTED,
            "/health": {"status": "healthy", "issues": []},
            "/v1/model": {"id": "exl3", "parameters": {"max_seq_len": 32768}},
        },
        "openai_chat",
        "tabbyapi",
        FoundModel(name="exl3", context_tokens=32768),
    ),
    "Text Generation Inference": (
        {"/info": {"model_id": "org/m", "max_total_tokens": 4096, "version": "3", "max_concurrent_requests": 128}},
        "openai_chat",
        "tgi",
        FoundModel(name="org/m", context_tokens=4096),
    ),
    "LM Studio": (
        {"/v1/models": LISTED, "/api/v0/models": {"data": [{"id": "m", "max_context_length": 32768}]}},
        "openai_chat",
        "lmstudio",
        FoundModel(name="m", context_tokens=32768),
    ),
    "Ollama": (
        {
            "/": "Ollama is running",
            "/v1/models": {},
            "/api/version": {"version": "0.13.0"},
            "/api/tags": {"models": [{"name": "llama3.2:3b"}]},
            "/api/ps": {"models": []},
        },
        "ollama",
        "ollama",
        FoundModel(name="llama3.2:3b"),
    ),
    "Triton": ({"/v2": {"name": "triton", "extensions": []}}, "triton", "tensorrtllm", None),
    "anybody": ({"/v1/models": LISTED}, "openai_chat", "generic", FoundModel(name="m")),
}


async def look(
    answers: Mapping[str, Any], url: str = "http://10.0.0.1:8000", **options: Any
) -> tuple[Discovery, list[httpx.Request]]:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        value = answers.get(request.url.path)
        if value is None:
            return httpx.Response(404, json={"detail": "Not Found"})
        return httpx.Response(200, text=value) if isinstance(value, str) else httpx.Response(200, json=value)

    transport = httpx.MockTransport(answer)
    async with httpx.AsyncClient(transport=transport) as client:
        found = await discover(url, client=client, transport=transport, env={"KEY": "k"}, timeout_s=0.2, **options)
    return found, seen


@pytest.mark.parametrize("engine", ENGINES)
async def test_each_engine_is_told_from_the_others(engine: str) -> None:
    """By fields that only it sends; its model and window are found, and nothing that costs is asked."""
    answers, wire, profile, model = ENGINES[engine]
    found, seen = await look(answers)
    assert (found.wire, found.profile) == (wire, profile)
    assert found.facts.models == (() if model is None else (model,))
    assert found.place == "own"
    paths = {request.url.path for request in seen}
    assert not paths & NEVER
    if profile != "sglang":
        assert all(request.method == "GET" for request in seen)


async def test_the_metrics_of_an_engine_that_drains_them_are_left_alone() -> None:
    """TensorRT-LLM's /metrics is read by nobody here."""
    _, seen = await look(ENGINES["TensorRT-LLM"][0])
    assert "/metrics" not in {request.url.path for request in seen}


async def test_what_was_asked_is_told_when_nobody_is_recognised() -> None:
    """Each question stands beside its answer."""
    found, _ = await look({})
    assert not found.wire
    assert ("GET /v1/models", "HTTP 404") in found.asked
    assert len(found.asked) > 5


async def test_where_nobody_listens_one_question_is_enough() -> None:
    """A refused connection ends the asking."""

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    transport = httpx.MockTransport(refuse)
    async with httpx.AsyncClient(transport=transport) as client:
        found = await discover("http://127.0.0.1:9", client=client, transport=transport, env={})
    assert found.asked == (("GET /v1/models", "ConnectError: refused"),)
    assert found.place == "device"


async def test_a_hosted_service_is_not_asked() -> None:
    """Its host says who it is; no request leaves this machine."""
    found, seen = await look({}, url="https://europe-west4-aiplatform.googleapis.com")
    assert (found.wire, found.profile, found.options["location"]) == ("gemini", "vertex", "europe-west4")
    assert seen == []


@pytest.mark.parametrize("service", HOSTS, ids=lambda service: service.title)
def test_every_known_host_names_a_dialect_that_exists(service: Any) -> None:
    """No host leads to a wire or profile that nobody speaks."""
    assert service.profile in WIRES[service.wire].profiles


def test_a_host_that_only_looks_like_a_vendors_is_not_one() -> None:
    """The whole host counts."""
    assert known_host("api.openai.com.evil.example") is None
    assert known_host("notapi.groq.com") is None


async def test_a_key_goes_along_where_one_is_given() -> None:
    """Servers that want a key see it; what it is never shows in the findings."""
    found, seen = await look(ENGINES["vLLM"][0], credential="env:KEY")
    assert seen[0].headers["authorization"] == "Bearer k"
    assert "Bearer" not in repr(found)
    with pytest.raises(MissingCredential):
        await look({}, credential="env:ABSENT")


@pytest.mark.parametrize("url", ["", "foo", "ftp://host", "file:///etc/passwd", "http://"])
async def test_what_is_no_address_is_refused(url: str) -> None:
    """Before anything is asked."""
    with pytest.raises(ValueError, match="expected http"):
        await look({}, url=url)
