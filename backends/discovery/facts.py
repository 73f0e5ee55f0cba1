"""What a known engine says of its models: names, windows, and how many sequences it works on at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from backends.discovery.clues import MODELS, Answer, entries

Ask = Callable[[str], Awaitable[Answer]]
MAX_MODELS = 200
# Where each engine's list says how long a window is.
_WINDOWS = ("max_model_len", "max_context_length", "context_length", "context_window", "max_seq_len")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """A model as the server calls it; None where it does not say."""

    name: str
    context_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    models: tuple[FoundModel, ...] = ()
    max_concurrency: int | None = None
    version: str = ""


async def facts_of(profile: str, ask: Ask) -> Facts:
    """Asks where this engine has its facts; what it does not say stays unknown."""
    path = {"ollama": "/api/tags", "lmstudio": "/api/v0/models"}.get(profile, MODELS)
    models = [_model(entry) for entry in entries((await ask(path)).value)[:MAX_MODELS]]
    models = [model for model in models if model.name]
    version, slots = "", None
    match profile:
        case "llama_cpp":
            props = _object(await ask("/props"))
            slots = _count(props.get("total_slots"))
            window = _count((props.get("default_generation_settings") or {}).get("n_ctx"))
            models = [FoundModel(name=model.name, context_tokens=window) for model in models]
            version = str(props.get("build_info") or "")
        case "tabbyapi":
            card = _object(await ask("/v1/model"))
            window = _count((card.get("parameters") or {}).get("max_seq_len"))
            models = [FoundModel(name=str(card["id"]), context_tokens=window)] if card.get("id") else models
        case "sglang":
            info = _object(await ask("/server_info")) or _object(await ask("/get_server_info"))
            slots, version = _count(info.get("max_running_requests")), str(info.get("version") or "")
            window = _count(info.get("context_length") or info.get("max_req_input_len"))
            models = [FoundModel(name=m.name, context_tokens=m.context_tokens or window) for m in models]
        case "tgi":
            info = _object(await ask("/info"))
            slots, version = _count(info.get("max_concurrent_requests")), str(info.get("version") or "")
            window = _count(info.get("max_total_tokens"))
            models = [FoundModel(name=str(info["model_id"]), context_tokens=window)]
        case "ollama":
            version = str(_object(await ask("/api/version")).get("version") or "")
        case "vllm" | "trtllm":
            version = str(_object(await ask("/version")).get("version") or "")
    return Facts(models=tuple(models), max_concurrency=slots, version=version[:40])


def _model(entry: dict[str, Any]) -> FoundModel:
    name = entry.get("id") or entry.get("name") or ""
    window = next((found for key in _WINDOWS if (found := _count(entry.get(key))) is not None), None)
    return FoundModel(name=str(name)[:200], context_tokens=window)


def _object(answer: Answer) -> dict[str, Any]:
    return answer.value if answer.status == 200 and isinstance(answer.value, dict) else {}


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and 0 < value < 1e9 else None
