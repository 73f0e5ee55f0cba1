"""Errors of the OpenAI chat wire in each vendor's own shape. The wire has one error format on paper and ten in use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

encode = msgspec.json.encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What went wrong, before it is put in a vendor's words."""

    status: int
    message: str
    kind: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None


Shape = Callable[[Problem], dict[str, Any]]


def nested(problem: Problem) -> dict[str, Any]:
    """OpenAI's, and most others'."""
    error = {"message": problem.message, "type": problem.kind, "param": problem.param, "code": problem.code}
    return {"error": error}


def short(problem: Problem) -> dict[str, Any]:
    """Groq: no field that says nothing."""
    error = {"message": problem.message, "type": problem.kind}
    return {"error": error | ({"code": problem.code} if problem.code else {})}


def numbered(problem: Problem) -> dict[str, Any]:
    """OpenRouter: the code is the status."""
    return {"error": {"message": problem.message, "code": problem.status}, "user_id": "user_emulated"}


def azure(problem: Problem) -> dict[str, Any]:
    """Azure: no type, and the status as a string where there is no better code."""
    error: dict[str, Any] = {"code": problem.code or str(problem.status), "message": problem.message}
    if problem.code == "content_filter":
        hit = {"filtered": True, "severity": "high"}
        error |= {"param": "prompt", "type": None, "status": problem.status}
        error["innererror"] = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"violence": hit}}
    return {"error": error}


def coded(problem: Problem) -> dict[str, Any]:
    """Engines: the code is the status."""
    error = {"message": problem.message, "type": problem.kind, "param": problem.param, "code": problem.status}
    return {"error": error}


def vllm(problem: Problem) -> dict[str, Any]:
    """A refused key is only a word there, since the middleware that refuses it is not the engine's."""
    return {"error": "Unauthorized"} if problem.status == 401 else coded(problem)


def flat(problem: Problem) -> dict[str, Any]:
    """Cerebras."""
    return {"message": problem.message, "type": problem.kind, "param": problem.param, "code": problem.code}


def flat_object(problem: Problem) -> dict[str, Any]:
    """SGLang and TensorRT-LLM, as older vLLM did."""
    said = {"object": "error", "message": problem.message, "type": problem.kind, "param": problem.param}
    return {**said, "code": problem.status}


def mistral(problem: Problem) -> dict[str, Any]:
    """Mistral: one shape for a bad key, one for a body that is not valid, one for the rest."""
    if problem.status == 401:
        return {"detail": problem.message}
    if problem.status == 422:
        where = ["body", *(problem.param or "").split(".")]
        return {"detail": [{"loc": where, "msg": problem.message, "type": "value_error"}]}
    said = {"object": "error", "message": problem.message, "type": problem.kind, "param": problem.param}
    return {**said, "code": problem.code, "raw_status_code": problem.status}


def xai(problem: Problem) -> dict[str, Any]:
    return {"code": problem.code or problem.kind, "error": problem.message}


def detail(problem: Problem) -> dict[str, Any]:
    """FastAPI's, as TabbyAPI leaves it."""
    return {"detail": problem.message}


def words(problem: Problem) -> dict[str, Any]:
    """mlx-lm."""
    return {"error": problem.message}


def google(problem: Problem) -> list[dict[str, Any]]:
    """Gemini's second face answers with its own error, in a list."""
    return [{"error": {"code": problem.status, "message": problem.message, "status": problem.code}}]
