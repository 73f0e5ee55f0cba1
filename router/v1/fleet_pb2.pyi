import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from router.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BackendOverview(_message.Message):
    __slots__ = ("id", "hardware", "region", "health", "health_reason", "health_since", "health_evidence", "drained", "in_flight", "max_concurrency", "running", "waiting", "kv_cache_usage", "ttft_predicted_s", "ttft_actual_s", "tpot_predicted_s", "tpot_actual_s", "usd_per_mtok_blended", "price", "price_source", "share", "requests_per_s", "tokens_per_s", "usd_per_hour", "failure_rate", "models")
    ID_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    HEALTH_REASON_FIELD_NUMBER: _ClassVar[int]
    HEALTH_SINCE_FIELD_NUMBER: _ClassVar[int]
    HEALTH_EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    DRAINED_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    KV_CACHE_USAGE_FIELD_NUMBER: _ClassVar[int]
    TTFT_PREDICTED_S_FIELD_NUMBER: _ClassVar[int]
    TTFT_ACTUAL_S_FIELD_NUMBER: _ClassVar[int]
    TPOT_PREDICTED_S_FIELD_NUMBER: _ClassVar[int]
    TPOT_ACTUAL_S_FIELD_NUMBER: _ClassVar[int]
    USD_PER_MTOK_BLENDED_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    PRICE_SOURCE_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_PER_S_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_S_FIELD_NUMBER: _ClassVar[int]
    USD_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    FAILURE_RATE_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    id: str
    hardware: _common_pb2.Hardware
    region: str
    health: _common_pb2.HealthState
    health_reason: str
    health_since: _timestamp_pb2.Timestamp
    health_evidence: str
    drained: bool
    in_flight: float
    max_concurrency: int
    running: float
    waiting: float
    kv_cache_usage: float
    ttft_predicted_s: float
    ttft_actual_s: float
    tpot_predicted_s: float
    tpot_actual_s: float
    usd_per_mtok_blended: float
    price: str
    price_source: str
    share: float
    requests_per_s: float
    tokens_per_s: float
    usd_per_hour: float
    failure_rate: float
    models: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., hardware: _Optional[_Union[_common_pb2.Hardware, _Mapping]] = ..., region: _Optional[str] = ..., health: _Optional[_Union[_common_pb2.HealthState, str]] = ..., health_reason: _Optional[str] = ..., health_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., health_evidence: _Optional[str] = ..., drained: bool = ..., in_flight: _Optional[float] = ..., max_concurrency: _Optional[int] = ..., running: _Optional[float] = ..., waiting: _Optional[float] = ..., kv_cache_usage: _Optional[float] = ..., ttft_predicted_s: _Optional[float] = ..., ttft_actual_s: _Optional[float] = ..., tpot_predicted_s: _Optional[float] = ..., tpot_actual_s: _Optional[float] = ..., usd_per_mtok_blended: _Optional[float] = ..., price: _Optional[str] = ..., price_source: _Optional[str] = ..., share: _Optional[float] = ..., requests_per_s: _Optional[float] = ..., tokens_per_s: _Optional[float] = ..., usd_per_hour: _Optional[float] = ..., failure_rate: _Optional[float] = ..., models: _Optional[_Iterable[str]] = ...) -> None: ...

class RecentDecision(_message.Message):
    __slots__ = ("at", "request_id", "tenant", "model", "workload_class", "backend", "result", "ttft_predicted_s", "ttft_actual_s", "cost_usd", "attempts", "candidates")
    AT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WORKLOAD_CLASS_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    TTFT_PREDICTED_S_FIELD_NUMBER: _ClassVar[int]
    TTFT_ACTUAL_S_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    at: _timestamp_pb2.Timestamp
    request_id: str
    tenant: str
    model: str
    workload_class: str
    backend: str
    result: str
    ttft_predicted_s: float
    ttft_actual_s: float
    cost_usd: float
    attempts: int
    candidates: int
    def __init__(self, at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., request_id: _Optional[str] = ..., tenant: _Optional[str] = ..., model: _Optional[str] = ..., workload_class: _Optional[str] = ..., backend: _Optional[str] = ..., result: _Optional[str] = ..., ttft_predicted_s: _Optional[float] = ..., ttft_actual_s: _Optional[float] = ..., cost_usd: _Optional[float] = ..., attempts: _Optional[int] = ..., candidates: _Optional[int] = ...) -> None: ...

class GetOverviewRequest(_message.Message):
    __slots__ = ("decisions", "backends")
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    BACKENDS_FIELD_NUMBER: _ClassVar[int]
    decisions: int
    backends: int
    def __init__(self, decisions: _Optional[int] = ..., backends: _Optional[int] = ...) -> None: ...

class GetOverviewResponse(_message.Message):
    __slots__ = ("replica", "fleet_version", "snapshot_age_s", "store", "in_flight", "requests_per_s", "usd_per_hour", "backends", "decisions", "replicas", "alarms", "backend_count", "store_for_s")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    FLEET_VERSION_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_AGE_S_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_PER_S_FIELD_NUMBER: _ClassVar[int]
    USD_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    BACKENDS_FIELD_NUMBER: _ClassVar[int]
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    ALARMS_FIELD_NUMBER: _ClassVar[int]
    BACKEND_COUNT_FIELD_NUMBER: _ClassVar[int]
    STORE_FOR_S_FIELD_NUMBER: _ClassVar[int]
    replica: str
    fleet_version: int
    snapshot_age_s: float
    store: str
    in_flight: int
    requests_per_s: float
    usd_per_hour: float
    backends: _containers.RepeatedCompositeFieldContainer[BackendOverview]
    decisions: _containers.RepeatedCompositeFieldContainer[RecentDecision]
    replicas: _containers.RepeatedCompositeFieldContainer[Replica]
    alarms: _containers.RepeatedScalarFieldContainer[str]
    backend_count: int
    store_for_s: float
    def __init__(self, replica: _Optional[str] = ..., fleet_version: _Optional[int] = ..., snapshot_age_s: _Optional[float] = ..., store: _Optional[str] = ..., in_flight: _Optional[int] = ..., requests_per_s: _Optional[float] = ..., usd_per_hour: _Optional[float] = ..., backends: _Optional[_Iterable[_Union[BackendOverview, _Mapping]]] = ..., decisions: _Optional[_Iterable[_Union[RecentDecision, _Mapping]]] = ..., replicas: _Optional[_Iterable[_Union[Replica, _Mapping]]] = ..., alarms: _Optional[_Iterable[str]] = ..., backend_count: _Optional[int] = ..., store_for_s: _Optional[float] = ...) -> None: ...

class Replica(_message.Message):
    __slots__ = ("id", "fleet_version", "in_flight", "age_s", "started_at", "leases", "self")
    ID_FIELD_NUMBER: _ClassVar[int]
    FLEET_VERSION_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    LEASES_FIELD_NUMBER: _ClassVar[int]
    SELF_FIELD_NUMBER: _ClassVar[int]
    id: str
    fleet_version: int
    in_flight: int
    age_s: float
    started_at: _timestamp_pb2.Timestamp
    leases: int
    self: bool
    def __init__(self_, id: _Optional[str] = ..., fleet_version: _Optional[int] = ..., in_flight: _Optional[int] = ..., age_s: _Optional[float] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., leases: _Optional[int] = ..., self: bool = ...) -> None: ...

class ListReplicasRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListReplicasResponse(_message.Message):
    __slots__ = ("replicas", "fleet_version")
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    FLEET_VERSION_FIELD_NUMBER: _ClassVar[int]
    replicas: _containers.RepeatedCompositeFieldContainer[Replica]
    fleet_version: int
    def __init__(self, replicas: _Optional[_Iterable[_Union[Replica, _Mapping]]] = ..., fleet_version: _Optional[int] = ...) -> None: ...

class Feed(_message.Message):
    __slots__ = ("name", "kind", "state", "last_good_at", "interval_s", "max_age_s", "prices", "refused", "last_error", "owner")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    LAST_GOOD_AT_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_S_FIELD_NUMBER: _ClassVar[int]
    MAX_AGE_S_FIELD_NUMBER: _ClassVar[int]
    PRICES_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    state: str
    last_good_at: _timestamp_pb2.Timestamp
    interval_s: float
    max_age_s: float
    prices: int
    refused: int
    last_error: str
    owner: str
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., state: _Optional[str] = ..., last_good_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., interval_s: _Optional[float] = ..., max_age_s: _Optional[float] = ..., prices: _Optional[int] = ..., refused: _Optional[int] = ..., last_error: _Optional[str] = ..., owner: _Optional[str] = ...) -> None: ...

class ListFeedsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListFeedsResponse(_message.Message):
    __slots__ = ("feeds",)
    FEEDS_FIELD_NUMBER: _ClassVar[int]
    feeds: _containers.RepeatedCompositeFieldContainer[Feed]
    def __init__(self, feeds: _Optional[_Iterable[_Union[Feed, _Mapping]]] = ...) -> None: ...

class ListTokenPricesRequest(_message.Message):
    __slots__ = ("backend", "history", "backends")
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    BACKENDS_FIELD_NUMBER: _ClassVar[int]
    backend: str
    history: bool
    backends: int
    def __init__(self, backend: _Optional[str] = ..., history: bool = ..., backends: _Optional[int] = ...) -> None: ...

class TokenPrice(_message.Message):
    __slots__ = ("backend", "hardware", "price", "usd_per_mtok_blended", "usd_per_mtok_full", "usd_per_mtok_paid", "usd_per_mtok_amortised", "input_tokens", "output_tokens", "usd", "usd_amortised", "trend", "utilisation", "history", "g_per_kwh", "grid_known", "grid_source")
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    USD_PER_MTOK_BLENDED_FIELD_NUMBER: _ClassVar[int]
    USD_PER_MTOK_FULL_FIELD_NUMBER: _ClassVar[int]
    USD_PER_MTOK_PAID_FIELD_NUMBER: _ClassVar[int]
    USD_PER_MTOK_AMORTISED_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    USD_FIELD_NUMBER: _ClassVar[int]
    USD_AMORTISED_FIELD_NUMBER: _ClassVar[int]
    TREND_FIELD_NUMBER: _ClassVar[int]
    UTILISATION_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    G_PER_KWH_FIELD_NUMBER: _ClassVar[int]
    GRID_KNOWN_FIELD_NUMBER: _ClassVar[int]
    GRID_SOURCE_FIELD_NUMBER: _ClassVar[int]
    backend: str
    hardware: _common_pb2.Hardware
    price: str
    usd_per_mtok_blended: float
    usd_per_mtok_full: float
    usd_per_mtok_paid: float
    usd_per_mtok_amortised: float
    input_tokens: int
    output_tokens: int
    usd: float
    usd_amortised: float
    trend: float
    utilisation: float
    history: _containers.RepeatedCompositeFieldContainer[TokenPricePoint]
    g_per_kwh: float
    grid_known: bool
    grid_source: str
    def __init__(self, backend: _Optional[str] = ..., hardware: _Optional[_Union[_common_pb2.Hardware, _Mapping]] = ..., price: _Optional[str] = ..., usd_per_mtok_blended: _Optional[float] = ..., usd_per_mtok_full: _Optional[float] = ..., usd_per_mtok_paid: _Optional[float] = ..., usd_per_mtok_amortised: _Optional[float] = ..., input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., usd: _Optional[float] = ..., usd_amortised: _Optional[float] = ..., trend: _Optional[float] = ..., utilisation: _Optional[float] = ..., history: _Optional[_Iterable[_Union[TokenPricePoint, _Mapping]]] = ..., g_per_kwh: _Optional[float] = ..., grid_known: bool = ..., grid_source: _Optional[str] = ...) -> None: ...

class TokenPricePoint(_message.Message):
    __slots__ = ("at", "seconds", "input_tokens", "output_tokens", "usd", "usd_amortised")
    AT_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    USD_FIELD_NUMBER: _ClassVar[int]
    USD_AMORTISED_FIELD_NUMBER: _ClassVar[int]
    at: _timestamp_pb2.Timestamp
    seconds: float
    input_tokens: int
    output_tokens: int
    usd: float
    usd_amortised: float
    def __init__(self, at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., seconds: _Optional[float] = ..., input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., usd: _Optional[float] = ..., usd_amortised: _Optional[float] = ...) -> None: ...

class ListTokenPricesResponse(_message.Message):
    __slots__ = ("backends", "backend_count", "replica")
    BACKENDS_FIELD_NUMBER: _ClassVar[int]
    BACKEND_COUNT_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    backends: _containers.RepeatedCompositeFieldContainer[TokenPrice]
    backend_count: int
    replica: str
    def __init__(self, backends: _Optional[_Iterable[_Union[TokenPrice, _Mapping]]] = ..., backend_count: _Optional[int] = ..., replica: _Optional[str] = ...) -> None: ...
