"""Where a backend is and what dialect it speaks: the adapter's share of a registered backend."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSpec:
    """Connection facts of one backend.

    Attributes:
        id: the router's name for it.
        wire: which adapter (`openai_chat`, `scripted`).
        profile: which dialect of the wire (`vllm`, `llama_cpp`, `openai`, `generic`).
        base_url: "http://127.0.0.1:8000"; a path is kept and prefixed.
        credential: a reference, "env:NAME" or "file:PATH"; never the secret.
        connect_timeout_s: for TCP and TLS together.
        options: settings of the adapter itself (the scripted backend's script).
    """

    id: str
    wire: str
    base_url: str
    profile: str = "generic"
    credential: str | None = None
    connect_timeout_s: float = 5.0
    options: dict[str, str] = field(default_factory=dict)
