"""The fleet: backends, their health, and what changes of them look like."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class PrivacyLevel(IntEnum):
    """How far a prompt may travel; a greater level is stricter. Same numbers as in common.proto."""

    ANY = 1
    NO_TRAINING = 2
    ZERO_RETENTION = 3
    OWN_HARDWARE = 4
    ON_DEVICE = 5


class Capability(StrEnum):
    TOOLS = "tools"
    JSON_OBJECT = "json_object"
    JSON_SCHEMA = "json_schema"
    VISION = "vision"
    LOGPROBS = "logprobs"
    TEXT_COMPLETION = "text_completion"
    ASSISTANT_PREFILL = "assistant_prefill"
    REASONING = "reasoning"
    AUDIO = "audio"
    SEED = "seed"
    BATCH = "batch"


class Parameter(StrEnum):
    """What a request may ask of sampling and of calls, as `backends.contract` calls it.

    `logprobs` is a capability: a server may have to be started for it. `tool_choice` is a call that must be made,
    `parallel_tool_calls` one call at a time.
    """

    MAX_OUTPUT_TOKENS = "max_output_tokens"
    TEMPERATURE = "temperature"
    TOP_P = "top_p"
    TOP_K = "top_k"
    MIN_P = "min_p"
    STOP = "stop"
    SEED = "seed"
    PRESENCE_PENALTY = "presence_penalty"
    FREQUENCY_PENALTY = "frequency_penalty"
    REPETITION_PENALTY = "repetition_penalty"
    TOP_LOGPROBS = "top_logprobs"
    REASONING_EFFORT = "reasoning_effort"
    TOOL_CHOICE = "tool_choice"
    PARALLEL_TOOL_CALLS = "parallel_tool_calls"


class HealthState(StrEnum):
    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    SUSPECT = "suspect"
    EJECTED = "ejected"
    DRAINING = "draining"
    WARMING = "warming"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model as one backend serves it. `bytes_per_weight`: 2 for bf16, 1 for fp8, 0.56 for Q4.

    `bytes_per_kv` are of one cached value: 2 unless the cache is quantised. With `expert_parallel` each device holds
    whole experts. `draft_tokens` are guessed at each step (speculative decoding), and each is right with probability
    `draft_acceptance` given that those before it were.
    """

    model: str
    upstream_name: str = ""
    context_tokens: int | None = None
    bytes_per_weight: float | None = None
    bytes_per_kv: float | None = None
    expert_parallel: bool = False
    draft_tokens: int = 0
    draft_acceptance: float = 0.0

    @property
    def name_upstream(self) -> str:
        return self.upstream_name or self.model


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One registered backend, as admins describe it; `version` counts its changes.

    `privacy` is what the place guarantees. `credential` is a reference ("env:NAME", "file:PATH"). `options` are its
    wire's own settings, sorted by name.
    """

    id: str
    wire: str
    address: str
    models: tuple[ServedModel, ...]
    profile: str = "generic"
    hardware: str = "hosted"
    hardware_count: int = 1
    emulated: bool = False
    region: str = ""
    privacy: PrivacyLevel = PrivacyLevel.ANY
    capabilities: frozenset[Capability] = frozenset()
    max_concurrency: int = 32
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    credential: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    network_rtt_s: float = 0.0
    first_token_timeout_s: float | None = None
    drained: bool = False
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What the fleet agrees on about a backend; `since` is Unix seconds, `evidence` one line."""

    state: HealthState = HealthState.UNKNOWN
    reason: str = ""
    since: float = 0.0
    evidence: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What a vendor says is left of a limit, less what was sent since; it holds until then (Unix time)."""

    remaining: float
    until_unix: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveLoad:
    """What this replica sees of a backend beside the snapshot. None: not known; `health` None: the fleet's own."""

    in_flight: int = 0
    running: int | None = None
    waiting: int | None = None
    kv_cache_usage: float | None = None
    load_at_unix: float | None = None
    requests_left: Left | None = None
    tokens_left: Left | None = None
    health: Health | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One entry of the change stream."""

    fleet_version: int
    kind: str
    id: str
    operation: str
    version: int
    at: float
    actor: str = ""
