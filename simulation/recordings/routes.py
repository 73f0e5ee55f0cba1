"""Which adapter a recorded exchange is for, or why none is: told by its URL first, by its provider second.

The wire follows from the endpoint: any host that answers `/chat/completions` speaks the chat wire. The provider (its
folder, else the host) only chooses the dialect of that wire. A provider nobody has heard of gets the generic one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from backends.registry import WIRES
from backends.wire import GENERIC
from simulation.recordings.interaction import Interaction
from simulation.recordings.predictions import created, stream_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The adapter that is judged, as a configuration names it.

    `probes` where the exchange is the question that a probe asks.
    """

    wire: str
    profile: str
    options: dict[str, str] = field(default_factory=dict)
    probes: bool = False


@dataclass(frozen=True, slots=True)
class NotApplicable:
    reason: str


# Endpoints that generate, by the end of their path.
_WIRES: Final = (
    (re.compile(r"/(?:chat/)?completions$"), "openai_chat"),
    (re.compile(r"/messages$"), "anthropic"),
    (re.compile(r":(?:streamG|g)enerateContent$"), "gemini"),
    (re.compile(r"/model/[^/]+(?:/[^/]+)?/converse(?:-stream)?$"), "bedrock"),
    (re.compile(r"/endpoints/[^/]+/invocations(?:-response-stream)?$"), "sagemaker"),
    (re.compile(r"/api/(?:chat|generate)$"), "ollama"),
    (re.compile(r"/predictions$"), "replicate"),
)

# Endpoints that do not, or not in a wire that the router speaks; the first match holds.
_REASONS: Final = (
    (r"/(?:fim|agents|audio)/", "fill-in-the-middle, agents or audio"),
    (r"/threads/", "Assistants API"),
    (r"/messages/count_tokens$|:countTokens$|/count-tokens$|/(?:de)?tokenize$", "counts tokens only"),
    (r"/responses(?:/|$)", "Responses API"),
    (r"/messages/batches|/batches(?:/|$)", "batches"),
    (r"/embed(?:dings?|)$|/api/embed|:(?:batchE|e)mbedContents?$|/feature-extraction", "embeddings"),
    (r"/images?/|/generations$|:predict(?:LongRunning)?$", "images, video or other predictions"),
    (r"/files?(?:/|$)|/upload|/cachedContents", "files and caches"),
    (r"/moderations$|/rerank|/classif", "moderation, reranking or classification"),
    (r"/model/.+/invoke(?:-with-response-stream)?$", "InvokeModel: a body of the model's own, not Converse"),
    (r":(?:streamR|r)awPredict$", "rawPredict: another vendor's body inside Vertex"),
    (r"/(?:assistants|conversations|vector_stores|fine_tuning|evals|interactions)(?:/|$)", "agents or training"),
    (r"/completion$|(?<!/api)/generate(?:_stream)?$|/infill$", "an engine's native endpoint, not its OpenAI one"),
)  # fmt: skip
_OTHER_REASONS: Final = tuple((re.compile(pattern), reason) for pattern, reason in _REASONS)

_VERTEX_PLACE: Final = re.compile(r"/projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)/")

_MODEL_LISTS: Final = re.compile(r"/models$|/api/tags$|/foundation-models$")

# Folder names of recorders -> the profile's name here, where they differ.
_ALIASES: Final = {
    "llamacpp": "llama_cpp",
    "llama-cpp": "llama_cpp",
    "llama.cpp": "llama_cpp",
    "llama-server": "llama_cpp",
    "azure_openai": "azure",
    "azure-openai": "azure",
    "fireworks_ai": "fireworks",
    "fireworks-ai": "fireworks",
    "together_ai": "together",
    "togetherai": "together",
    "grok": "xai",
    "x-ai": "xai",
    "mistralai": "mistral",
    "google": "gemini",
    "google-vertex": "vertex",
    "vertexai": "vertex",
    "vertex_ai": "vertex",
    "trt-llm": "trtllm",
    "tensorrt-llm": "trtllm",
    "mlx-lm": "mlx",
    "lm-studio": "lmstudio",
    "hf": "huggingface",
}

_HOSTS: Final = (
    ("api.openai.com", "openai"),
    (".openai.azure.com", "azure"),
    (".services.ai.azure.com", "azure"),
    (".cognitiveservices.azure.com", "azure"),
    ("api.groq.com", "groq"),
    ("api.cerebras.ai", "cerebras"),
    ("api.mistral.ai", "mistral"),
    ("api.together.", "together"),
    ("api.fireworks.ai", "fireworks"),
    ("api.deepseek.com", "deepseek"),
    ("openrouter.ai", "openrouter"),
    ("api.x.ai", "xai"),
    ("aiplatform.googleapis.com", "vertex"),
    ("generativelanguage.googleapis.com", "gemini"),
)


def route(interaction: Interaction) -> Route | NotApplicable:
    """The adapter for this exchange, or why there is none."""
    path = interaction.path.rstrip("/")
    for pattern, reason in _OTHER_REASONS:
        if pattern.search(path):
            return NotApplicable(reason)
    if interaction.method == "GET" and _MODEL_LISTS.search(path):
        if interaction.status < 400:
            return NotApplicable("a list of models that was given: nothing generated")
        return _routed(_wire_of_provider(interaction), interaction, probes=True)
    wire = next((wire for pattern, wire in _WIRES if pattern.search(path)), None)
    if wire is None or interaction.method != "POST":
        return NotApplicable(f"an endpoint of no wire here: {interaction.method} {_shape(path)}")
    if interaction.status == 0:
        return NotApplicable("no status was recorded")
    reason = _unanswerable(interaction, wire) if wire != "replicate" else _not_a_stream(interaction)
    return NotApplicable(reason) if reason else _routed(wire, interaction)


def provider_of(interaction: Interaction) -> str:
    """Its folder if that names a provider that is known here, else what its host says, else its folder."""
    folder = interaction.provider.lower()
    name = _ALIASES.get(folder, folder)
    if any(name in wire.dialects or name == wire.name for wire in WIRES.values()):
        return name
    by_host = next((name for host, name in _HOSTS if host in interaction.host), None)
    return by_host or name


def _routed(wire: str, interaction: Interaction, *, probes: bool = False) -> Route:
    name = provider_of(interaction)
    options: dict[str, str] = {}
    if wire == "gemini":
        place = _VERTEX_PLACE.search(interaction.path)
        if place is not None:
            name, options = "vertex", {"project": place["project"], "location": place["location"]}
        elif name == "vertex":
            name = "vertex_express"
    elif name == "azure" and "/openai/v1/" in interaction.path:
        name = "azure_v1"
    elif interaction.host.endswith("ollama.com"):
        name = "ollama_cloud"
    dialects = WIRES[wire].dialects if wire in WIRES else {}
    profile = next((one for one in (name, f"{name}_openai") if one in dialects), GENERIC)
    return Route(wire=wire, profile=profile, options=options, probes=probes)


def _wire_of_provider(interaction: Interaction) -> str:
    name = provider_of(interaction)
    if name in WIRES:
        return name
    return "gemini" if name == "vertex" else "openai_chat"


def _unanswerable(interaction: Interaction, wire: str) -> str:
    """Why the router would never get such an answer: it asks for one answer, in text."""
    asked = interaction.request if isinstance(interaction.request, dict) else {}
    settings = asked.get("generationConfig") or asked.get("generation_config") or {}
    wanted: Any = settings if isinstance(settings, dict) else {}
    if (asked.get("n") or 1) > 1 or (asked.get("best_of") or 1) > 1 or (wanted.get("candidateCount") or 1) > 1:
        return "several answers to one request were asked for (n > 1)"
    spoken = {str(kind).lower() for kind in (asked.get("modalities") or wanted.get("responseModalities") or ())}
    if spoken - {"text"}:
        return "an answer in sound or images was asked for"
    if isinstance(asked.get("prompt"), list) and len(asked["prompt"]) != 1:
        return "several prompts in one request, or one of token ids"
    if wire == "sagemaker" and "inputs" in asked and "messages" not in asked:
        return "a container that takes {inputs, parameters}, not a chat"
    return ""


def _not_a_stream(interaction: Interaction) -> str:
    """Why a recorded prediction is nothing that the router asks for; "" if it is."""
    if interaction.status >= 400:
        return ""
    urls = created(interaction).get("urls")
    if not isinstance(urls, dict) or not urls.get("stream"):
        return "a prediction without a stream: an image, or one that was polled"
    return "a prediction whose stream was not recorded" if stream_of(interaction) is None else ""


def _shape(path: str) -> str:
    """A path without what is different in each recording."""
    parts = [part if len(part) < 24 and not re.search(r"\d{3}", part) else "…" for part in path.split("/")]
    return "/".join(parts) or "/"
