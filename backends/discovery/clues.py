"""By which answers to which harmless questions a server is known, in the order in which they are asked.

Engines imitate each other's paths (SGLang and llama-server answer Ollama's, TGI and TensorRT-LLM vLLM's), so that a
path alone proves nothing: a clue is a field that only one of them sends. Nothing here generates, loads a model, drains
a buffer or bills; TensorRT-LLM's /metrics is why metrics are looked at only when the engine is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a question brought. `value` is the JSON of it, None where it is none."""

    status: int
    headers: Mapping[str, str]
    value: Any
    text: str
    http_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Clue:
    """`tells` says of an answer whether it is this engine's."""

    title: str
    wire: str
    profile: str
    path: str
    tells: Callable[[Answer], bool]


def _has(*names: str) -> Callable[[Answer], bool]:
    return lambda answer: (
        answer.status == 200 and isinstance(answer.value, dict) and all(name in answer.value for name in names)
    )


def _owned_by(*owners: str) -> Callable[[Answer], bool]:
    return lambda answer: any(entry.get("owned_by") in owners for entry in entries(answer.value))


def _says(text: str) -> Callable[[Answer], bool]:
    return lambda answer: answer.status == 200 and text in answer.text


def _is_old_python_server(answer: Answer) -> bool:
    return answer.http_version == "HTTP/1.0" and answer.headers.get("server", "").startswith("BaseHTTP")


def entries(value: Any) -> list[dict[str, Any]]:
    """The models of a list, whoever sent it."""
    if isinstance(value, dict):
        value = value.get("data") or value.get("models")
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


MODELS = "/v1/models"

CLUES = (
    Clue(title="vLLM", wire="openai_chat", profile="vllm", path=MODELS, tells=_owned_by("vllm")),
    Clue(title="TensorRT-LLM", wire="openai_chat", profile="trtllm", path=MODELS, tells=_owned_by("tensorrt_llm")),
    Clue(title="SGLang", wire="openai_chat", profile="sglang", path=MODELS, tells=_owned_by("sglang")),
    Clue(
        title="llama.cpp",
        wire="openai_chat",
        profile="llama_cpp",
        path="/props",
        tells=_has("default_generation_settings"),
    ),
    Clue(title="SGLang", wire="openai_chat", profile="sglang", path="/server_info", tells=_has("tp_size")),
    Clue(title="SGLang", wire="openai_chat", profile="sglang", path="/get_server_info", tells=_has("tp_size")),
    Clue(title="TabbyAPI", wire="openai_chat", profile="tabbyapi", path="/health", tells=_has("status", "issues")),
    Clue(
        title="Text Generation Inference",
        wire="openai_chat",
        profile="tgi",
        path="/info",
        tells=_has("model_id", "max_total_tokens"),
    ),
    Clue(
        title="LM Studio",
        wire="openai_chat",
        profile="lmstudio",
        path="/api/v0/models",
        tells=lambda answer: any("max_context_length" in entry for entry in entries(answer.value)),
    ),
    Clue(
        title="Foundry Local",
        wire="openai_chat",
        profile="local",
        path="/openai/status",
        tells=lambda answer: answer.status == 200 and isinstance(answer.value, dict),
    ),
    Clue(title="Triton", wire="triton", profile="tensorrtllm", path="/v2", tells=_has("name", "extensions")),
    Clue(title="Ollama", wire="ollama", profile="ollama", path="/", tells=_says("Ollama is running")),
    Clue(title="mlx-lm", wire="openai_chat", profile="mlx", path=MODELS, tells=_is_old_python_server),
    Clue(
        title="an OpenAI-compatible server",
        wire="openai_chat",
        profile="generic",
        path=MODELS,
        tells=lambda answer: bool(entries(answer.value)),
    ),
)
