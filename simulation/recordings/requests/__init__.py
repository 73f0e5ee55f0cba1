"""Recorded requests, read into canonical ones and compared with what our encoders make of those.

One reader per wire reads both: the vendor's client's request, and ours. What they are compared in is what an answer
depends on most: roles, texts, calls and results of tools, tools with their schemas, the token limit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from simulation.recordings.interaction import Interaction
from simulation.recordings.requests import anthropic, bedrock, gemini, ollama, openai, replicate
from simulation.recordings.requests.asked import Asked, Beyond, differences

READERS: Mapping[str, Callable[[Mapping[str, Any]], Asked]] = {
    "openai_chat": openai.read,
    "anthropic": anthropic.read,
    "gemini": gemini.read,
    "bedrock": bedrock.read,
    "sagemaker": openai.read,
    "ollama": ollama.read,
    "replicate": replicate.read,
}


def read(wire: str, body: Any) -> Asked:
    """What a request of that wire asks for.

    Raises:
        Beyond: it holds something that the canonical model has no word for, or it was not kept.
    """
    if not isinstance(body, Mapping):
        raise Beyond("the request was not recorded")
    try:
        return READERS[wire](body)
    except Beyond:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise Beyond(f"a request that is not of this wire: {type(error).__name__}: {error}") from error


def model_of(interaction: Interaction) -> str:
    """The model that was asked for, by its body or by its path."""
    body = interaction.request
    if isinstance(body, Mapping) and isinstance(body.get("model"), str) and body["model"]:
        return str(body["model"])
    for before in ("/models/", "/model/", "/endpoints/", "/deployments/"):
        _, found, rest = interaction.path.partition(before)
        if found:
            return rest.partition(":" if before == "/models/" else "/")[0].removesuffix("/predictions") or "m"
    return "m"


__all__ = ["Asked", "Beyond", "differences", "model_of", "read"]
