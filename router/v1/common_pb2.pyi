import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PrivacyLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIVACY_LEVEL_UNSPECIFIED: _ClassVar[PrivacyLevel]
    PRIVACY_LEVEL_ANY: _ClassVar[PrivacyLevel]
    PRIVACY_LEVEL_NO_TRAINING: _ClassVar[PrivacyLevel]
    PRIVACY_LEVEL_ZERO_RETENTION: _ClassVar[PrivacyLevel]
    PRIVACY_LEVEL_OWN_HARDWARE: _ClassVar[PrivacyLevel]
    PRIVACY_LEVEL_ON_DEVICE: _ClassVar[PrivacyLevel]

class Capability(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAPABILITY_UNSPECIFIED: _ClassVar[Capability]
    CAPABILITY_TOOLS: _ClassVar[Capability]
    CAPABILITY_JSON_OBJECT: _ClassVar[Capability]
    CAPABILITY_JSON_SCHEMA: _ClassVar[Capability]
    CAPABILITY_VISION: _ClassVar[Capability]
    CAPABILITY_LOGPROBS: _ClassVar[Capability]
    CAPABILITY_TEXT_COMPLETION: _ClassVar[Capability]
    CAPABILITY_ASSISTANT_PREFILL: _ClassVar[Capability]
    CAPABILITY_REASONING: _ClassVar[Capability]
    CAPABILITY_AUDIO: _ClassVar[Capability]
    CAPABILITY_SEED: _ClassVar[Capability]
    CAPABILITY_BATCH: _ClassVar[Capability]

class HealthState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HEALTH_STATE_UNSPECIFIED: _ClassVar[HealthState]
    HEALTH_STATE_UNKNOWN: _ClassVar[HealthState]
    HEALTH_STATE_HEALTHY: _ClassVar[HealthState]
    HEALTH_STATE_SUSPECT: _ClassVar[HealthState]
    HEALTH_STATE_EJECTED: _ClassVar[HealthState]
    HEALTH_STATE_DRAINING: _ClassVar[HealthState]
    HEALTH_STATE_WARMING: _ClassVar[HealthState]

class FinishReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINISH_REASON_UNSPECIFIED: _ClassVar[FinishReason]
    FINISH_REASON_STOP: _ClassVar[FinishReason]
    FINISH_REASON_LENGTH: _ClassVar[FinishReason]
    FINISH_REASON_TOOL_CALLS: _ClassVar[FinishReason]
    FINISH_REASON_CONTENT_FILTER: _ClassVar[FinishReason]
    FINISH_REASON_ERROR: _ClassVar[FinishReason]

class EstimateSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ESTIMATE_SOURCE_UNSPECIFIED: _ClassVar[EstimateSource]
    ESTIMATE_SOURCE_PRIOR: _ClassVar[EstimateSource]
    ESTIMATE_SOURCE_MIXED: _ClassVar[EstimateSource]
    ESTIMATE_SOURCE_LEARNED: _ClassVar[EstimateSource]

class SloInfeasibleAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SLO_INFEASIBLE_ACTION_UNSPECIFIED: _ClassVar[SloInfeasibleAction]
    SLO_INFEASIBLE_ACTION_BEST_EFFORT: _ClassVar[SloInfeasibleAction]
    SLO_INFEASIBLE_ACTION_REJECT: _ClassVar[SloInfeasibleAction]
PRIVACY_LEVEL_UNSPECIFIED: PrivacyLevel
PRIVACY_LEVEL_ANY: PrivacyLevel
PRIVACY_LEVEL_NO_TRAINING: PrivacyLevel
PRIVACY_LEVEL_ZERO_RETENTION: PrivacyLevel
PRIVACY_LEVEL_OWN_HARDWARE: PrivacyLevel
PRIVACY_LEVEL_ON_DEVICE: PrivacyLevel
CAPABILITY_UNSPECIFIED: Capability
CAPABILITY_TOOLS: Capability
CAPABILITY_JSON_OBJECT: Capability
CAPABILITY_JSON_SCHEMA: Capability
CAPABILITY_VISION: Capability
CAPABILITY_LOGPROBS: Capability
CAPABILITY_TEXT_COMPLETION: Capability
CAPABILITY_ASSISTANT_PREFILL: Capability
CAPABILITY_REASONING: Capability
CAPABILITY_AUDIO: Capability
CAPABILITY_SEED: Capability
CAPABILITY_BATCH: Capability
HEALTH_STATE_UNSPECIFIED: HealthState
HEALTH_STATE_UNKNOWN: HealthState
HEALTH_STATE_HEALTHY: HealthState
HEALTH_STATE_SUSPECT: HealthState
HEALTH_STATE_EJECTED: HealthState
HEALTH_STATE_DRAINING: HealthState
HEALTH_STATE_WARMING: HealthState
FINISH_REASON_UNSPECIFIED: FinishReason
FINISH_REASON_STOP: FinishReason
FINISH_REASON_LENGTH: FinishReason
FINISH_REASON_TOOL_CALLS: FinishReason
FINISH_REASON_CONTENT_FILTER: FinishReason
FINISH_REASON_ERROR: FinishReason
ESTIMATE_SOURCE_UNSPECIFIED: EstimateSource
ESTIMATE_SOURCE_PRIOR: EstimateSource
ESTIMATE_SOURCE_MIXED: EstimateSource
ESTIMATE_SOURCE_LEARNED: EstimateSource
SLO_INFEASIBLE_ACTION_UNSPECIFIED: SloInfeasibleAction
SLO_INFEASIBLE_ACTION_BEST_EFFORT: SloInfeasibleAction
SLO_INFEASIBLE_ACTION_REJECT: SloInfeasibleAction

class Slo(_message.Message):
    __slots__ = ("ttft_s", "tpot_s", "e2e_s", "probability", "on_infeasible")
    TTFT_S_FIELD_NUMBER: _ClassVar[int]
    TPOT_S_FIELD_NUMBER: _ClassVar[int]
    E2E_S_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    ON_INFEASIBLE_FIELD_NUMBER: _ClassVar[int]
    ttft_s: float
    tpot_s: float
    e2e_s: float
    probability: float
    on_infeasible: SloInfeasibleAction
    def __init__(self, ttft_s: _Optional[float] = ..., tpot_s: _Optional[float] = ..., e2e_s: _Optional[float] = ..., probability: _Optional[float] = ..., on_infeasible: _Optional[_Union[SloInfeasibleAction, str]] = ...) -> None: ...

class Placement(_message.Message):
    __slots__ = ("privacy", "regions", "only_backends", "excluded_backends")
    PRIVACY_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    ONLY_BACKENDS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_BACKENDS_FIELD_NUMBER: _ClassVar[int]
    privacy: PrivacyLevel
    regions: _containers.RepeatedScalarFieldContainer[str]
    only_backends: _containers.RepeatedScalarFieldContainer[str]
    excluded_backends: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, privacy: _Optional[_Union[PrivacyLevel, str]] = ..., regions: _Optional[_Iterable[str]] = ..., only_backends: _Optional[_Iterable[str]] = ..., excluded_backends: _Optional[_Iterable[str]] = ...) -> None: ...

class Hardware(_message.Message):
    __slots__ = ("id", "name", "count", "emulated")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    EMULATED_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    count: int
    emulated: bool
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., count: _Optional[int] = ..., emulated: bool = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("input_tokens", "cached_input_tokens", "cache_write_input_tokens", "output_tokens", "reasoning_tokens", "estimated")
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_WRITE_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    REASONING_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    input_tokens: int
    cached_input_tokens: int
    cache_write_input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    estimated: bool
    def __init__(self, input_tokens: _Optional[int] = ..., cached_input_tokens: _Optional[int] = ..., cache_write_input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., reasoning_tokens: _Optional[int] = ..., estimated: bool = ...) -> None: ...

class Estimate(_message.Message):
    __slots__ = ("mean", "sd_log", "p90")
    MEAN_FIELD_NUMBER: _ClassVar[int]
    SD_LOG_FIELD_NUMBER: _ClassVar[int]
    P90_FIELD_NUMBER: _ClassVar[int]
    mean: float
    sd_log: float
    p90: float
    def __init__(self, mean: _Optional[float] = ..., sd_log: _Optional[float] = ..., p90: _Optional[float] = ...) -> None: ...

class Prediction(_message.Message):
    __slots__ = ("ttft", "tpot", "e2e", "input_tokens", "output_tokens", "cost_usd", "cost_p90_usd", "cost_marginal_usd", "cost_amortised_usd", "energy_j", "probability_ttft", "probability_tpot", "probability_e2e", "source", "observations", "carbon_g", "cost_lines", "cached_tokens")
    TTFT_FIELD_NUMBER: _ClassVar[int]
    TPOT_FIELD_NUMBER: _ClassVar[int]
    E2E_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    COST_P90_USD_FIELD_NUMBER: _ClassVar[int]
    COST_MARGINAL_USD_FIELD_NUMBER: _ClassVar[int]
    COST_AMORTISED_USD_FIELD_NUMBER: _ClassVar[int]
    ENERGY_J_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_TTFT_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_TPOT_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_E2E_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    CARBON_G_FIELD_NUMBER: _ClassVar[int]
    COST_LINES_FIELD_NUMBER: _ClassVar[int]
    CACHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ttft: Estimate
    tpot: Estimate
    e2e: Estimate
    input_tokens: float
    output_tokens: float
    cost_usd: float
    cost_p90_usd: float
    cost_marginal_usd: float
    cost_amortised_usd: float
    energy_j: float
    probability_ttft: float
    probability_tpot: float
    probability_e2e: float
    source: EstimateSource
    observations: int
    carbon_g: float
    cost_lines: _containers.RepeatedCompositeFieldContainer[ObjectiveTerm]
    cached_tokens: float
    def __init__(self, ttft: _Optional[_Union[Estimate, _Mapping]] = ..., tpot: _Optional[_Union[Estimate, _Mapping]] = ..., e2e: _Optional[_Union[Estimate, _Mapping]] = ..., input_tokens: _Optional[float] = ..., output_tokens: _Optional[float] = ..., cost_usd: _Optional[float] = ..., cost_p90_usd: _Optional[float] = ..., cost_marginal_usd: _Optional[float] = ..., cost_amortised_usd: _Optional[float] = ..., energy_j: _Optional[float] = ..., probability_ttft: _Optional[float] = ..., probability_tpot: _Optional[float] = ..., probability_e2e: _Optional[float] = ..., source: _Optional[_Union[EstimateSource, str]] = ..., observations: _Optional[int] = ..., carbon_g: _Optional[float] = ..., cost_lines: _Optional[_Iterable[_Union[ObjectiveTerm, _Mapping]]] = ..., cached_tokens: _Optional[float] = ...) -> None: ...

class ObjectiveTerm(_message.Message):
    __slots__ = ("name", "usd")
    NAME_FIELD_NUMBER: _ClassVar[int]
    USD_FIELD_NUMBER: _ClassVar[int]
    name: str
    usd: float
    def __init__(self, name: _Optional[str] = ..., usd: _Optional[float] = ...) -> None: ...

class CandidateReport(_message.Message):
    __slots__ = ("backend", "model", "hardware", "region", "privacy", "prediction", "objective_usd", "terms", "slo_feasible", "in_flight")
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    PRIVACY_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    OBJECTIVE_USD_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    SLO_FEASIBLE_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    backend: str
    model: str
    hardware: Hardware
    region: str
    privacy: PrivacyLevel
    prediction: Prediction
    objective_usd: float
    terms: _containers.RepeatedCompositeFieldContainer[ObjectiveTerm]
    slo_feasible: bool
    in_flight: float
    def __init__(self, backend: _Optional[str] = ..., model: _Optional[str] = ..., hardware: _Optional[_Union[Hardware, _Mapping]] = ..., region: _Optional[str] = ..., privacy: _Optional[_Union[PrivacyLevel, str]] = ..., prediction: _Optional[_Union[Prediction, _Mapping]] = ..., objective_usd: _Optional[float] = ..., terms: _Optional[_Iterable[_Union[ObjectiveTerm, _Mapping]]] = ..., slo_feasible: bool = ..., in_flight: _Optional[float] = ...) -> None: ...

class Drop(_message.Message):
    __slots__ = ("backend", "reason", "detail", "hardware")
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_FIELD_NUMBER: _ClassVar[int]
    backend: str
    reason: str
    detail: str
    hardware: Hardware
    def __init__(self, backend: _Optional[str] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ..., hardware: _Optional[_Union[Hardware, _Mapping]] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("id", "backend", "model", "fallbacks", "candidates", "drops", "why", "snapshot_version", "snapshot_age_s", "slo_infeasible", "workload_class", "decision_time_s", "decided_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FALLBACKS_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    DROPS_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_VERSION_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_AGE_S_FIELD_NUMBER: _ClassVar[int]
    SLO_INFEASIBLE_FIELD_NUMBER: _ClassVar[int]
    WORKLOAD_CLASS_FIELD_NUMBER: _ClassVar[int]
    DECISION_TIME_S_FIELD_NUMBER: _ClassVar[int]
    DECIDED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    backend: str
    model: str
    fallbacks: _containers.RepeatedScalarFieldContainer[str]
    candidates: _containers.RepeatedCompositeFieldContainer[CandidateReport]
    drops: _containers.RepeatedCompositeFieldContainer[Drop]
    why: str
    snapshot_version: int
    snapshot_age_s: float
    slo_infeasible: bool
    workload_class: str
    decision_time_s: float
    decided_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., backend: _Optional[str] = ..., model: _Optional[str] = ..., fallbacks: _Optional[_Iterable[str]] = ..., candidates: _Optional[_Iterable[_Union[CandidateReport, _Mapping]]] = ..., drops: _Optional[_Iterable[_Union[Drop, _Mapping]]] = ..., why: _Optional[str] = ..., snapshot_version: _Optional[int] = ..., snapshot_age_s: _Optional[float] = ..., slo_infeasible: bool = ..., workload_class: _Optional[str] = ..., decision_time_s: _Optional[float] = ..., decided_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
