"""Hosted services, told by the host of their address: nobody needs to be asked."""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One service. `options` may use the groups of the host's pattern."""

    pattern: str
    title: str
    wire: str
    profile: str
    options: dict[str, str] = field(default_factory=dict)


HOSTS = (
    Host(pattern=r"api\.openai\.com", title="OpenAI", wire="openai_chat", profile="openai"),
    Host(
        pattern=r"[\w-]+\.(?:openai\.azure\.com|services\.ai\.azure\.com|cognitiveservices\.azure\.com)",
        title="Azure OpenAI",
        wire="openai_chat",
        profile="azure_v1",
    ),
    Host(pattern=r"api\.groq\.com", title="Groq", wire="openai_chat", profile="groq"),
    Host(pattern=r"api\.cerebras\.ai", title="Cerebras", wire="openai_chat", profile="cerebras"),
    Host(pattern=r"api\.mistral\.ai", title="Mistral", wire="openai_chat", profile="mistral"),
    Host(pattern=r"api\.together\.(?:ai|xyz)", title="Together", wire="openai_chat", profile="together"),
    Host(pattern=r"api\.fireworks\.ai", title="Fireworks", wire="openai_chat", profile="fireworks"),
    Host(pattern=r"openrouter\.ai", title="OpenRouter", wire="openai_chat", profile="openrouter"),
    Host(pattern=r"api\.deepseek\.com", title="DeepSeek", wire="openai_chat", profile="deepseek"),
    Host(pattern=r"(?:[\w-]+\.)?api\.x\.ai|api\.x\.ai", title="xAI", wire="openai_chat", profile="xai"),
    Host(pattern=r"router\.huggingface\.co", title="Hugging Face", wire="openai_chat", profile="huggingface"),
    Host(pattern=r"api\.anthropic\.com", title="Anthropic", wire="anthropic", profile="anthropic"),
    Host(pattern=r"generativelanguage\.googleapis\.com", title="Google Gemini API", wire="gemini", profile="gemini"),
    Host(
        pattern=r"(?P<location>[\w-]+)-aiplatform\.googleapis\.com",
        title="Google Vertex AI",
        wire="gemini",
        profile="vertex",
        options={"location": "{location}", "project": "YOUR-PROJECT"},
    ),
    Host(
        pattern=r"aiplatform\.googleapis\.com",
        title="Google Vertex AI",
        wire="gemini",
        profile="vertex",
        options={"location": "global", "project": "YOUR-PROJECT"},
    ),
    Host(
        pattern=r"bedrock-runtime(?:-fips)?\.(?P<region>[\w-]+)\.amazonaws\.com(?:\.cn)?",
        title="AWS Bedrock",
        wire="bedrock",
        profile="bedrock",
    ),
    Host(
        pattern=r"runtime\.sagemaker(?:-fips)?\.(?P<region>[\w-]+)\.amazonaws\.com(?:\.cn)?",
        title="AWS SageMaker",
        wire="sagemaker",
        profile="vllm",
    ),
    Host(pattern=r"api\.replicate\.com", title="Replicate", wire="replicate", profile="replicate"),
    Host(pattern=r"ollama\.com", title="Ollama's cloud", wire="ollama", profile="ollama_cloud"),
)


def known_host(host: str) -> tuple[Host, dict[str, str]] | None:
    """The service of that host with its options filled in; None where the host is nobody's that we know."""
    for service in HOSTS:
        found = re.fullmatch(service.pattern, host.lower())
        if found is not None:
            groups = {name: value or "" for name, value in found.groupdict().items()}
            return service, {name: value.format(**groups) for name, value in service.options.items()}
    return None
