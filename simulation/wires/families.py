"""One emulated server of every family, and the entry of fleet.yaml that registers it.

All of them stand in for one and the same model, so that a router may move a request from any family to any other.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from backends import registry
from simulation.wires import WireServer
from simulation.wires.anthropic import KEY as ANTHROPIC_KEY
from simulation.wires.anthropic import EmulatedAnthropic
from simulation.wires.aws_signature import ACCESS_KEY, SECRET_KEY
from simulation.wires.bedrock import EmulatedBedrock
from simulation.wires.gemini import BEARER, GeminiServer
from simulation.wires.gemini import KEY as GOOGLE_KEY
from simulation.wires.jetstream import JetStreamServer
from simulation.wires.ollama import OllamaServer
from simulation.wires.openai_engines import ENGINES
from simulation.wires.openai_vendor import KEY, MODEL, ROOM, EmulatedVendor
from simulation.wires.openai_vendors import VENDORS
from simulation.wires.replicate import CONTEXT_TOKENS, TOKEN, ReplicateServer
from simulation.wires.sagemaker import ENDPOINT, WINDOW, EmulatedSageMaker
from simulation.wires.triton import TritonServer
from simulation.wires.triton_models import TritonModel, ensemble, vllm

SHARED_MODEL = "gemma-3-4b"
CLAUDE, GEMINI = "claude-emulated", "gemini-3-emulated"
BEDROCK_CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
OLLAMA_MODEL, REPLICATE_MODEL = "emulated:latest", "emulated/emulated-model"
# The engine itself wants none; a proxy in front of it may.
PROXY_KEY = "emulated-proxy-key"
AWS_KEYS = f"{ACCESS_KEY}:{SECRET_KEY}"
# What the emulated servers can do, of what their families can.
_SHOWN = frozenset({"tools", "json_object", "json_schema", "vision", "seed", "assistant_prefill"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """One server, and how a router reaches it.

    Attributes:
        id: of the backend.
        title: of the family, for people.
        make: the server, not yet listening.
        upstream: the model's name there.
        secret: what the server wants for a credential; "" for one without.
        path: of the address, behind the port.
        scheme: of the address.
        hardware: an entry of hardware.yaml that it stands in for, `count` of them.
        own: it stands in for a server of one's own, not for a service.
    """

    id: str
    title: str
    wire: str
    make: Callable[[], WireServer]
    upstream: str
    profile: str = "generic"
    secret: str = ""
    path: str = ""
    scheme: str = "http"
    hardware: str = "hosted"
    count: int = 1
    own: bool = False
    context_tokens: int = ROOM
    options: dict[str, str] = field(default_factory=dict)

    @property
    def variable(self) -> str:
        """The environment variable that holds the secret."""
        return f"EMULATED_{self.id.upper().replace('-', '_')}_KEY" if self.secret else ""

    @property
    def capabilities(self) -> tuple[str, ...]:
        family = registry.wire(self.wire).dialect(self.profile).features
        return tuple(sorted(family.capabilities & _SHOWN))

    def address(self, host: str, port: int) -> str:
        return f"{self.scheme}://{host}:{port}{self.path}"

    def entry(self, address: str) -> dict[str, Any]:
        """The backend as fleet.yaml has it."""
        found: dict[str, Any] = {"wire": self.wire, "profile": self.profile, "address": address}
        if self.options:
            found["options"] = self.options
        if self.secret:
            found["credential"] = f"env:{self.variable}"
        found["hardware"] = self.hardware
        if self.count > 1:
            found["hardware_count"] = self.count
        return {
            **found,
            "emulated": True,
            "region": "local",
            "privacy": "own_hardware" if self.own else "no_training",
            "capabilities": list(self.capabilities),
            "models": [{"model": SHARED_MODEL, "upstream_name": self.upstream, "context_tokens": self.context_tokens}],
        }


def _openai(
    profile: str, title: str, *, path: str = "", hardware: str = "hosted", count: int = 1, **options: str
) -> Stand:
    vendor = {**VENDORS, **ENGINES}[profile]
    return Stand(
        id=profile.replace("_", "-"),
        title=title,
        wire="openai_chat",
        profile=profile,
        make=lambda: EmulatedVendor(vendor),
        upstream=MODEL,
        secret=KEY if vendor.key_header else "",
        path=path,
        hardware=hardware,
        count=count,
        own=profile in ENGINES,
        options=options,
    )


def _google(profile: str, title: str, secret: str, **options: str) -> Stand:
    return Stand(
        id=profile.replace("_", "-"),
        title=title,
        wire="gemini",
        profile=profile,
        make=GeminiServer,
        upstream=GEMINI,
        secret=secret,
        options=options,
    )


def _anthropic(profile: str, title: str) -> Stand:
    return Stand(
        id=profile.replace("_", "-"),
        title=title,
        wire="anthropic",
        profile=profile,
        make=EmulatedAnthropic,
        upstream=CLAUDE,
        secret=ANTHROPIC_KEY,
    )


def _triton(profile: str, title: str, model: TritonModel, hardware: str) -> Stand:
    return Stand(
        id=f"triton-{profile}",
        title=title,
        wire="triton",
        profile=profile,
        make=lambda: TritonServer([model]),
        upstream=model.name,
        scheme="grpc",
        hardware=hardware,
        own=True,
        context_tokens=model.window,
        options={"chat_template": "gemma"},
    )


STANDS: tuple[Stand, ...] = (
    _openai("vllm", "vLLM on GPU", hardware="h100-sxm-80"),
    _openai("vllm_tpu", "vLLM on TPU", hardware="tpu-v5p"),
    _openai("vllm_neuron", "vLLM on Inferentia2", hardware="inferentia2"),
    _openai("trtllm", "TensorRT-LLM (trtllm-serve)", hardware="b200-sxm-180"),
    _triton("tensorrtllm", "TensorRT-LLM (Triton)", ensemble(), "b200-sxm-180"),
    _triton("vllm", "vLLM (Triton)", vllm(), "h100-sxm-80"),
    _openai("sglang", "SGLang", hardware="mi300x"),
    _openai("llama_cpp", "llama.cpp (llama-server)", hardware="m4-max"),
    _openai("tabbyapi", "ExLlama (TabbyAPI)", hardware="rtx4090"),
    _openai("mlx", "Apple (mlx-lm)", hardware="m4"),
    _openai("local", "Snapdragon, LM Studio", hardware="snapdragon-x-elite"),
    Stand(
        id="ollama",
        title="Ollama",
        wire="ollama",
        make=lambda: OllamaServer({OLLAMA_MODEL: frozenset({"tools", "vision"})}),
        upstream=OLLAMA_MODEL,
        hardware="m4",
        own=True,
        options={"num_ctx": str(ROOM)},
    ),
    _openai("groq", "Groq", path="/openai", hardware="groq-lpu-v1", count=576),
    _openai("cerebras", "Cerebras", hardware="cerebras-wse3"),
    _openai("mistral", "Mistral"),
    _openai("together", "Together"),
    _openai("fireworks", "Fireworks", path="/inference"),
    _openai("openai", "OpenAI"),
    _openai("azure", "Azure OpenAI (Maia)", hardware="maia100", api_version="2024-10-21"),
    _openai("azure_v1", "Azure OpenAI, v1", path="/openai"),
    _openai("openrouter", "OpenRouter", path="/api"),
    _openai("deepseek", "DeepSeek"),
    _openai("xai", "xAI"),
    _openai("gemini_openai", "Gemini, its OpenAI face", path="/v1beta/openai"),
    _anthropic("anthropic", "Anthropic"),
    _anthropic("anthropic_2026", "Anthropic, newer version"),
    _google("gemini", "Google Gemini", GOOGLE_KEY),
    _google("vertex", "Google Vertex AI", BEARER, project="emulated-project", location="europe-west4"),
    _google("vertex_express", "Vertex AI, express", GOOGLE_KEY),
    Stand(
        id="bedrock",
        title="AWS Bedrock",
        wire="bedrock",
        make=EmulatedBedrock,
        upstream=BEDROCK_CLAUDE,
        secret=AWS_KEYS,
        options={"region": "us-east-1"},
    ),
    Stand(
        id="sagemaker",
        title="AWS SageMaker on Inferentia2",
        wire="sagemaker",
        profile="vllm_neuron",
        make=EmulatedSageMaker,
        upstream=ENDPOINT,
        secret=AWS_KEYS,
        hardware="inferentia2",
        context_tokens=WINDOW,
        options={"region": "us-east-1"},
    ),
    Stand(
        id="jetstream",
        title="Google TPU through JetStream",
        wire="jetstream",
        make=lambda: JetStreamServer(window=ROOM, key=PROXY_KEY),
        upstream=MODEL,
        secret=PROXY_KEY,
        scheme="grpc",
        hardware="tpu-v5p",
        own=True,
        options={"chat_template": "gemma"},
    ),
    Stand(
        id="replicate",
        title="Replicate",
        wire="replicate",
        make=lambda: ReplicateServer(REPLICATE_MODEL),
        upstream=REPLICATE_MODEL,
        secret=TOKEN,
        context_tokens=CONTEXT_TOKENS,
        options={"chat_template": "llama3"},
    ),
)


@asynccontextmanager
async def running(
    stands: Iterable[Stand] = STANDS, *, host: str = "127.0.0.1", first_port: int = 0
) -> AsyncGenerator[dict[str, WireServer]]:
    """The servers by the id of their stand, on consecutive ports from `first_port`, or on free ones where that is 0.

    Raises:
        OSError: a port is taken.
    """
    async with AsyncExitStack() as stack:
        servers: dict[str, WireServer] = {}
        for number, stand in enumerate(stands):
            server = stand.make()
            await server.start(host, first_port + number if first_port else 0)
            stack.push_async_callback(server.close)
            servers[stand.id] = server
        yield servers
