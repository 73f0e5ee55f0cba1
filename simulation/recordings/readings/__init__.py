"""What a recording says, read independently of the adapters: plain dictionaries, no structs, no shared decoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from simulation.recordings.interaction import Interaction
from simulation.recordings.readings import anthropic, bedrock, gemini, ollama, openai, replicate, sagemaker
from simulation.recordings.readings.said import Said

READERS: Mapping[str, Callable[[Interaction], Said]] = {
    "openai_chat": openai.read,
    "anthropic": anthropic.read,
    "gemini": gemini.read,
    "bedrock": bedrock.read,
    "sagemaker": sagemaker.read,
    "ollama": ollama.read,
    "replicate": replicate.read,
}


def read(interaction: Interaction, wire: str) -> Said:
    """What the answer says, which may be that it is none of that wire."""
    try:
        return READERS[wire](interaction)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        return Said(unread=f"not an answer of this wire: {type(error).__name__}: {error}")
