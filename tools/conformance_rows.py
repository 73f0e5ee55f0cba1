"""The families of the conformance table, and why a judge has nothing to say about some of them.

A judge is outside of this project: an official SDK that drives the emulated server, traffic that somebody recorded from
the real service, the real server itself. `decoder` names what is fuzzed for the family's framing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

JUDGES = ("sdk", "recordings", "real", "fuzz")
TITLES = {"sdk": "official SDK", "recordings": "recorded traffic", "real": "real server", "fuzz": "fuzzing"}

_NO_ACCOUNT = "a hosted service: nothing to run"
_NOT_RECORDED = "no public recording known"
_NO_ACCELERATOR = "needs its accelerator"
_OPENAI_SDK = "openai"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One row.

    Attributes:
        name: as tests mark it, `@pytest.mark.judge(name, judge)`.
        title: for people.
        reached: wire and profile, as the configuration has them.
        sdk: which official SDK judges it; "" if there is none.
        decoder: the name under which its framing is fuzzed.
        absent: judge -> why it has nothing to judge.
    """

    name: str
    title: str
    reached: str
    sdk: str = _OPENAI_SDK
    decoder: str = "sse"
    absent: dict[str, str] = field(default_factory=dict)


def _hosted(name: str, title: str, *, sdk: str = _OPENAI_SDK, reached: str = "", **absent: str) -> Family:
    return Family(
        name=name,
        title=title,
        reached=reached or f"openai_chat, {name}",
        sdk=sdk,
        absent={"real": _NO_ACCOUNT, **absent},
    )


FAMILIES = (
    Family(name="vllm", title="vLLM on GPU and CPU", reached="openai_chat, vllm"),
    Family(
        name="vllm_tpu",
        title="vLLM on TPU v5p",
        reached="openai_chat, vllm_tpu",
        absent={"recordings": _NOT_RECORDED, "real": _NO_ACCELERATOR},
    ),
    Family(
        name="vllm_neuron",
        title="vLLM on Inferentia2, Trainium",
        reached="openai_chat, vllm_neuron",
        absent={"recordings": _NOT_RECORDED, "real": _NO_ACCELERATOR},
    ),
    Family(
        name="trtllm",
        title="TensorRT-LLM, trtllm-serve",
        reached="openai_chat, trtllm",
        absent={"recordings": _NOT_RECORDED, "real": _NO_ACCELERATOR},
    ),
    Family(
        name="triton",
        title="Triton: TensorRT-LLM and vLLM backends",
        reached="triton, tensorrtllm or vllm",
        sdk="tritonclient",
        decoder="",
        absent={"recordings": _NOT_RECORDED, "real": _NO_ACCELERATOR, "fuzz": "framed by gRPC"},
    ),
    Family(
        name="sglang",
        title="SGLang",
        reached="openai_chat, sglang",
        absent={"recordings": _NOT_RECORDED, "real": _NO_ACCELERATOR},
    ),
    Family(name="llama_cpp", title="llama.cpp, also Hexagon", reached="openai_chat, llama_cpp"),
    Family(
        name="llama_cpp_embedded",
        title="llama.cpp in a child process",
        reached="llama_cpp_embedded",
        absent={"sdk": "not a server", "recordings": "not a server"},
    ),
    Family(
        name="tabbyapi",
        title="ExLlamaV2, V3 through TabbyAPI",
        reached="openai_chat, tabbyapi",
        absent={"recordings": _NOT_RECORDED, "real": _NO_ACCELERATOR},
    ),
    Family(
        name="mlx",
        title="Apple, mlx-lm",
        reached="openai_chat, mlx",
        absent={"recordings": _NOT_RECORDED},
    ),
    Family(
        name="local",
        title="LM Studio; Snapdragon: GenieX, Nexa, Foundry Local",
        reached="openai_chat, local",
        absent={"recordings": _NOT_RECORDED, "real": "desktop programs of other systems"},
    ),
    Family(
        name="ollama",
        title="Ollama",
        reached="ollama",
        sdk="ollama",
        decoder="ndjson",
        absent={"real": "not in a package index"},
    ),
    _hosted("openai", "OpenAI"),
    _hosted("azure", "Azure OpenAI, also Maia", sdk="openai (AzureOpenAI)", reached="openai_chat, azure or azure_v1"),
    _hosted("groq", "Groq", sdk="groq"),
    _hosted("cerebras", "Cerebras", sdk="cerebras-cloud-sdk"),
    _hosted("mistral", "Mistral", sdk="mistralai"),
    _hosted("together", "Together", sdk="together"),
    _hosted("fireworks", "Fireworks", sdk="fireworks-ai", recordings=_NOT_RECORDED),
    _hosted("openrouter", "OpenRouter"),
    _hosted("deepseek", "DeepSeek"),
    _hosted("xai", "xAI"),
    Family(
        name="huggingface",
        title="Hugging Face",
        reached="openai_chat, huggingface",
        sdk="",
        absent={"sdk": "as OpenAI's", "real": _NO_ACCOUNT},
    ),
    Family(
        name="gpustack",
        title="GPUStack",
        reached="openai_chat, gpustack",
        sdk="",
        absent={"sdk": "as vLLM's", "real": _NO_ACCELERATOR},
    ),
    Family(
        name="mistralrs",
        title="mistral.rs",
        reached="openai_chat, mistralrs",
        sdk="",
        absent={"sdk": "as OpenAI's", "real": "not in a package index"},
    ),
    _hosted("anthropic", "Anthropic", sdk="anthropic", reached="anthropic"),
    _hosted("gemini", "Google Gemini", sdk="google-genai", reached="gemini, gemini"),
    _hosted("vertex", "Google Vertex AI", sdk="google-genai", reached="gemini, vertex"),
    Family(
        name="bedrock",
        title="AWS Bedrock",
        reached="bedrock",
        sdk="boto3",
        decoder="event_stream",
        absent={"real": _NO_ACCOUNT},
    ),
    Family(
        name="sagemaker",
        title="AWS SageMaker, Inferentia2 endpoints",
        reached="sagemaker",
        sdk="boto3",
        decoder="event_stream",
        absent={"real": _NO_ACCOUNT, "recordings": "the one recorded is of a container without a chat"},
    ),
    Family(
        name="jetstream",
        title="Google TPU through JetStream",
        reached="jetstream",
        sdk="",
        decoder="",
        absent={
            "sdk": "its package is older than the wire",
            "recordings": _NOT_RECORDED,
            "real": _NO_ACCELERATOR,
            "fuzz": "framed by gRPC",
        },
    ),
    _hosted("replicate", "Replicate", sdk="replicate", reached="replicate"),
)
