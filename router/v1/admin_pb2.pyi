import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from router.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PriceSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRICE_SOURCE_UNSPECIFIED: _ClassVar[PriceSource]
    PRICE_SOURCE_CATALOGUE: _ClassVar[PriceSource]
    PRICE_SOURCE_CONFIG: _ClassVar[PriceSource]
    PRICE_SOURCE_FEED: _ClassVar[PriceSource]
    PRICE_SOURCE_ADMIN: _ClassVar[PriceSource]
PRICE_SOURCE_UNSPECIFIED: PriceSource
PRICE_SOURCE_CATALOGUE: PriceSource
PRICE_SOURCE_CONFIG: PriceSource
PRICE_SOURCE_FEED: PriceSource
PRICE_SOURCE_ADMIN: PriceSource

class ServedModel(_message.Message):
    __slots__ = ("model", "upstream_name", "context_tokens", "bytes_per_weight", "bytes_per_kv", "expert_parallel", "draft_tokens", "draft_acceptance")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_NAME_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_KV_FIELD_NUMBER: _ClassVar[int]
    EXPERT_PARALLEL_FIELD_NUMBER: _ClassVar[int]
    DRAFT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DRAFT_ACCEPTANCE_FIELD_NUMBER: _ClassVar[int]
    model: str
    upstream_name: str
    context_tokens: int
    bytes_per_weight: float
    bytes_per_kv: float
    expert_parallel: bool
    draft_tokens: int
    draft_acceptance: float
    def __init__(self, model: _Optional[str] = ..., upstream_name: _Optional[str] = ..., context_tokens: _Optional[int] = ..., bytes_per_weight: _Optional[float] = ..., bytes_per_kv: _Optional[float] = ..., expert_parallel: bool = ..., draft_tokens: _Optional[int] = ..., draft_acceptance: _Optional[float] = ...) -> None: ...

class RateLimits(_message.Message):
    __slots__ = ("requests_per_minute", "tokens_per_minute")
    REQUESTS_PER_MINUTE_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_MINUTE_FIELD_NUMBER: _ClassVar[int]
    requests_per_minute: int
    tokens_per_minute: int
    def __init__(self, requests_per_minute: _Optional[int] = ..., tokens_per_minute: _Optional[int] = ...) -> None: ...

class BackendSpec(_message.Message):
    __slots__ = ("id", "wire", "profile", "address", "models", "hardware", "region", "privacy", "capabilities", "max_concurrency", "limits", "credential", "labels", "network_rtt_s", "first_token_timeout_s", "options")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class OptionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    WIRE_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    PRIVACY_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    NETWORK_RTT_S_FIELD_NUMBER: _ClassVar[int]
    FIRST_TOKEN_TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    id: str
    wire: str
    profile: str
    address: str
    models: _containers.RepeatedCompositeFieldContainer[ServedModel]
    hardware: _common_pb2.Hardware
    region: str
    privacy: _common_pb2.PrivacyLevel
    capabilities: _containers.RepeatedScalarFieldContainer[_common_pb2.Capability]
    max_concurrency: int
    limits: RateLimits
    credential: str
    labels: _containers.ScalarMap[str, str]
    network_rtt_s: float
    first_token_timeout_s: float
    options: _containers.ScalarMap[str, str]
    def __init__(self, id: _Optional[str] = ..., wire: _Optional[str] = ..., profile: _Optional[str] = ..., address: _Optional[str] = ..., models: _Optional[_Iterable[_Union[ServedModel, _Mapping]]] = ..., hardware: _Optional[_Union[_common_pb2.Hardware, _Mapping]] = ..., region: _Optional[str] = ..., privacy: _Optional[_Union[_common_pb2.PrivacyLevel, str]] = ..., capabilities: _Optional[_Iterable[_Union[_common_pb2.Capability, str]]] = ..., max_concurrency: _Optional[int] = ..., limits: _Optional[_Union[RateLimits, _Mapping]] = ..., credential: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., network_rtt_s: _Optional[float] = ..., first_token_timeout_s: _Optional[float] = ..., options: _Optional[_Mapping[str, str]] = ...) -> None: ...

class BackendState(_message.Message):
    __slots__ = ("health", "health_reason", "health_since", "drained", "in_flight", "running", "waiting", "kv_cache_usage", "load_at", "health_version", "requests_left", "tokens_left")
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    HEALTH_REASON_FIELD_NUMBER: _ClassVar[int]
    HEALTH_SINCE_FIELD_NUMBER: _ClassVar[int]
    DRAINED_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    KV_CACHE_USAGE_FIELD_NUMBER: _ClassVar[int]
    LOAD_AT_FIELD_NUMBER: _ClassVar[int]
    HEALTH_VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_LEFT_FIELD_NUMBER: _ClassVar[int]
    TOKENS_LEFT_FIELD_NUMBER: _ClassVar[int]
    health: _common_pb2.HealthState
    health_reason: str
    health_since: _timestamp_pb2.Timestamp
    drained: bool
    in_flight: int
    running: int
    waiting: int
    kv_cache_usage: float
    load_at: _timestamp_pb2.Timestamp
    health_version: int
    requests_left: Headroom
    tokens_left: Headroom
    def __init__(self, health: _Optional[_Union[_common_pb2.HealthState, str]] = ..., health_reason: _Optional[str] = ..., health_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., drained: bool = ..., in_flight: _Optional[int] = ..., running: _Optional[int] = ..., waiting: _Optional[int] = ..., kv_cache_usage: _Optional[float] = ..., load_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., health_version: _Optional[int] = ..., requests_left: _Optional[_Union[Headroom, _Mapping]] = ..., tokens_left: _Optional[_Union[Headroom, _Mapping]] = ...) -> None: ...

class Headroom(_message.Message):
    __slots__ = ("remaining", "until")
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    remaining: float
    until: _timestamp_pb2.Timestamp
    def __init__(self, remaining: _Optional[float] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Backend(_message.Message):
    __slots__ = ("spec", "version", "state")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    spec: BackendSpec
    version: int
    state: BackendState
    def __init__(self, spec: _Optional[_Union[BackendSpec, _Mapping]] = ..., version: _Optional[int] = ..., state: _Optional[_Union[BackendState, _Mapping]] = ...) -> None: ...

class ListBackendsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListBackendsResponse(_message.Message):
    __slots__ = ("backends", "fleet_version", "snapshot_age_s")
    BACKENDS_FIELD_NUMBER: _ClassVar[int]
    FLEET_VERSION_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_AGE_S_FIELD_NUMBER: _ClassVar[int]
    backends: _containers.RepeatedCompositeFieldContainer[Backend]
    fleet_version: int
    snapshot_age_s: float
    def __init__(self, backends: _Optional[_Iterable[_Union[Backend, _Mapping]]] = ..., fleet_version: _Optional[int] = ..., snapshot_age_s: _Optional[float] = ...) -> None: ...

class GetBackendRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetBackendResponse(_message.Message):
    __slots__ = ("backend",)
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    backend: Backend
    def __init__(self, backend: _Optional[_Union[Backend, _Mapping]] = ...) -> None: ...

class RegisterBackendRequest(_message.Message):
    __slots__ = ("spec", "expected_version")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    spec: BackendSpec
    expected_version: int
    def __init__(self, spec: _Optional[_Union[BackendSpec, _Mapping]] = ..., expected_version: _Optional[int] = ...) -> None: ...

class RegisterBackendResponse(_message.Message):
    __slots__ = ("backend", "fleet_version")
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    FLEET_VERSION_FIELD_NUMBER: _ClassVar[int]
    backend: Backend
    fleet_version: int
    def __init__(self, backend: _Optional[_Union[Backend, _Mapping]] = ..., fleet_version: _Optional[int] = ...) -> None: ...

class UpdateBackendRequest(_message.Message):
    __slots__ = ("spec", "expected_version")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    spec: BackendSpec
    expected_version: int
    def __init__(self, spec: _Optional[_Union[BackendSpec, _Mapping]] = ..., expected_version: _Optional[int] = ...) -> None: ...

class UpdateBackendResponse(_message.Message):
    __slots__ = ("backend", "fleet_version")
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    FLEET_VERSION_FIELD_NUMBER: _ClassVar[int]
    backend: Backend
    fleet_version: int
    def __init__(self, backend: _Optional[_Union[Backend, _Mapping]] = ..., fleet_version: _Optional[int] = ...) -> None: ...

class RemoveBackendRequest(_message.Message):
    __slots__ = ("id", "expected_version")
    ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    id: str
    expected_version: int
    def __init__(self, id: _Optional[str] = ..., expected_version: _Optional[int] = ...) -> None: ...

class RemoveBackendResponse(_message.Message):
    __slots__ = ("fleet_version",)
    FLEET_VERSION_FIELD_NUMBER: _ClassVar[int]
    fleet_version: int
    def __init__(self, fleet_version: _Optional[int] = ...) -> None: ...

class DrainBackendRequest(_message.Message):
    __slots__ = ("id", "expected_version")
    ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    id: str
    expected_version: int
    def __init__(self, id: _Optional[str] = ..., expected_version: _Optional[int] = ...) -> None: ...

class DrainBackendResponse(_message.Message):
    __slots__ = ("backend", "fleet_version")
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    FLEET_VERSION_FIELD_NUMBER: _ClassVar[int]
    backend: Backend
    fleet_version: int
    def __init__(self, backend: _Optional[_Union[Backend, _Mapping]] = ..., fleet_version: _Optional[int] = ...) -> None: ...

class UndrainBackendRequest(_message.Message):
    __slots__ = ("id", "expected_version")
    ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    id: str
    expected_version: int
    def __init__(self, id: _Optional[str] = ..., expected_version: _Optional[int] = ...) -> None: ...

class UndrainBackendResponse(_message.Message):
    __slots__ = ("backend", "fleet_version")
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    FLEET_VERSION_FIELD_NUMBER: _ClassVar[int]
    backend: Backend
    fleet_version: int
    def __init__(self, backend: _Optional[_Union[Backend, _Mapping]] = ..., fleet_version: _Optional[int] = ...) -> None: ...

class Price(_message.Message):
    __slots__ = ("backend", "model", "input_usd_per_mtok", "cached_input_usd_per_mtok", "cache_write_usd_per_mtok", "output_usd_per_mtok", "request_usd", "usd_per_hour", "elastic_fraction", "electricity_usd_per_kwh", "batch_discount", "source", "effective_at", "expires_at", "schedule", "spot", "tiers", "preemptions_per_hour", "restart_usd")
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUT_USD_PER_MTOK_FIELD_NUMBER: _ClassVar[int]
    CACHED_INPUT_USD_PER_MTOK_FIELD_NUMBER: _ClassVar[int]
    CACHE_WRITE_USD_PER_MTOK_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_USD_PER_MTOK_FIELD_NUMBER: _ClassVar[int]
    REQUEST_USD_FIELD_NUMBER: _ClassVar[int]
    USD_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    ELASTIC_FRACTION_FIELD_NUMBER: _ClassVar[int]
    ELECTRICITY_USD_PER_KWH_FIELD_NUMBER: _ClassVar[int]
    BATCH_DISCOUNT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    SPOT_FIELD_NUMBER: _ClassVar[int]
    TIERS_FIELD_NUMBER: _ClassVar[int]
    PREEMPTIONS_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    RESTART_USD_FIELD_NUMBER: _ClassVar[int]
    backend: str
    model: str
    input_usd_per_mtok: float
    cached_input_usd_per_mtok: float
    cache_write_usd_per_mtok: float
    output_usd_per_mtok: float
    request_usd: float
    usd_per_hour: float
    elastic_fraction: float
    electricity_usd_per_kwh: float
    batch_discount: float
    source: str
    effective_at: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    schedule: _containers.RepeatedCompositeFieldContainer[PriceWindow]
    spot: bool
    tiers: _containers.RepeatedCompositeFieldContainer[PriceTier]
    preemptions_per_hour: float
    restart_usd: float
    def __init__(self, backend: _Optional[str] = ..., model: _Optional[str] = ..., input_usd_per_mtok: _Optional[float] = ..., cached_input_usd_per_mtok: _Optional[float] = ..., cache_write_usd_per_mtok: _Optional[float] = ..., output_usd_per_mtok: _Optional[float] = ..., request_usd: _Optional[float] = ..., usd_per_hour: _Optional[float] = ..., elastic_fraction: _Optional[float] = ..., electricity_usd_per_kwh: _Optional[float] = ..., batch_discount: _Optional[float] = ..., source: _Optional[str] = ..., effective_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., schedule: _Optional[_Iterable[_Union[PriceWindow, _Mapping]]] = ..., spot: bool = ..., tiers: _Optional[_Iterable[_Union[PriceTier, _Mapping]]] = ..., preemptions_per_hour: _Optional[float] = ..., restart_usd: _Optional[float] = ...) -> None: ...

class PriceTier(_message.Message):
    __slots__ = ("service", "above_tokens", "factor", "input_usd_per_mtok", "cached_input_usd_per_mtok", "cache_write_usd_per_mtok", "output_usd_per_mtok")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    ABOVE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    INPUT_USD_PER_MTOK_FIELD_NUMBER: _ClassVar[int]
    CACHED_INPUT_USD_PER_MTOK_FIELD_NUMBER: _ClassVar[int]
    CACHE_WRITE_USD_PER_MTOK_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_USD_PER_MTOK_FIELD_NUMBER: _ClassVar[int]
    service: str
    above_tokens: int
    factor: float
    input_usd_per_mtok: float
    cached_input_usd_per_mtok: float
    cache_write_usd_per_mtok: float
    output_usd_per_mtok: float
    def __init__(self, service: _Optional[str] = ..., above_tokens: _Optional[int] = ..., factor: _Optional[float] = ..., input_usd_per_mtok: _Optional[float] = ..., cached_input_usd_per_mtok: _Optional[float] = ..., cache_write_usd_per_mtok: _Optional[float] = ..., output_usd_per_mtok: _Optional[float] = ...) -> None: ...

class PriceWindow(_message.Message):
    __slots__ = ("start_minute", "end_minute", "factor", "days", "zone")
    START_MINUTE_FIELD_NUMBER: _ClassVar[int]
    END_MINUTE_FIELD_NUMBER: _ClassVar[int]
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    DAYS_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    start_minute: int
    end_minute: int
    factor: float
    days: _containers.RepeatedScalarFieldContainer[int]
    zone: str
    def __init__(self, start_minute: _Optional[int] = ..., end_minute: _Optional[int] = ..., factor: _Optional[float] = ..., days: _Optional[_Iterable[int]] = ..., zone: _Optional[str] = ...) -> None: ...

class PriceEntry(_message.Message):
    __slots__ = ("price", "version", "changed_at", "source_kind", "feed", "in_force", "factor_now", "checked_at", "age_s", "stale", "held")
    PRICE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CHANGED_AT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_KIND_FIELD_NUMBER: _ClassVar[int]
    FEED_FIELD_NUMBER: _ClassVar[int]
    IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    FACTOR_NOW_FIELD_NUMBER: _ClassVar[int]
    CHECKED_AT_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    price: Price
    version: int
    changed_at: _timestamp_pb2.Timestamp
    source_kind: PriceSource
    feed: str
    in_force: bool
    factor_now: float
    checked_at: _timestamp_pb2.Timestamp
    age_s: float
    stale: bool
    held: str
    def __init__(self, price: _Optional[_Union[Price, _Mapping]] = ..., version: _Optional[int] = ..., changed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., source_kind: _Optional[_Union[PriceSource, str]] = ..., feed: _Optional[str] = ..., in_force: bool = ..., factor_now: _Optional[float] = ..., checked_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., age_s: _Optional[float] = ..., stale: bool = ..., held: _Optional[str] = ...) -> None: ...

class SetPriceRequest(_message.Message):
    __slots__ = ("price", "expected_version")
    PRICE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    price: Price
    expected_version: int
    def __init__(self, price: _Optional[_Union[Price, _Mapping]] = ..., expected_version: _Optional[int] = ...) -> None: ...

class SetPriceResponse(_message.Message):
    __slots__ = ("entry", "fleet_version")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    FLEET_VERSION_FIELD_NUMBER: _ClassVar[int]
    entry: PriceEntry
    fleet_version: int
    def __init__(self, entry: _Optional[_Union[PriceEntry, _Mapping]] = ..., fleet_version: _Optional[int] = ...) -> None: ...

class ClearPriceRequest(_message.Message):
    __slots__ = ("backend", "model", "expected_version")
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    backend: str
    model: str
    expected_version: int
    def __init__(self, backend: _Optional[str] = ..., model: _Optional[str] = ..., expected_version: _Optional[int] = ...) -> None: ...

class ClearPriceResponse(_message.Message):
    __slots__ = ("entry", "fleet_version")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    FLEET_VERSION_FIELD_NUMBER: _ClassVar[int]
    entry: PriceEntry
    fleet_version: int
    def __init__(self, entry: _Optional[_Union[PriceEntry, _Mapping]] = ..., fleet_version: _Optional[int] = ...) -> None: ...

class ListPricesRequest(_message.Message):
    __slots__ = ("backend", "all")
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    backend: str
    all: bool
    def __init__(self, backend: _Optional[str] = ..., all: bool = ...) -> None: ...

class ListPricesResponse(_message.Message):
    __slots__ = ("prices", "fleet_version")
    PRICES_FIELD_NUMBER: _ClassVar[int]
    FLEET_VERSION_FIELD_NUMBER: _ClassVar[int]
    prices: _containers.RepeatedCompositeFieldContainer[PriceEntry]
    fleet_version: int
    def __init__(self, prices: _Optional[_Iterable[_Union[PriceEntry, _Mapping]]] = ..., fleet_version: _Optional[int] = ...) -> None: ...

class Policies(_message.Message):
    __slots__ = ("yaml", "version")
    YAML_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    yaml: str
    version: int
    def __init__(self, yaml: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class GetPoliciesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetPoliciesResponse(_message.Message):
    __slots__ = ("policies",)
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    policies: Policies
    def __init__(self, policies: _Optional[_Union[Policies, _Mapping]] = ...) -> None: ...

class SetPoliciesRequest(_message.Message):
    __slots__ = ("yaml", "expected_version", "validate_only")
    YAML_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    yaml: str
    expected_version: int
    validate_only: bool
    def __init__(self, yaml: _Optional[str] = ..., expected_version: _Optional[int] = ..., validate_only: bool = ...) -> None: ...

class SetPoliciesResponse(_message.Message):
    __slots__ = ("policies", "fleet_version")
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    FLEET_VERSION_FIELD_NUMBER: _ClassVar[int]
    policies: Policies
    fleet_version: int
    def __init__(self, policies: _Optional[_Union[Policies, _Mapping]] = ..., fleet_version: _Optional[int] = ...) -> None: ...

class WatchChangesRequest(_message.Message):
    __slots__ = ("after_version",)
    AFTER_VERSION_FIELD_NUMBER: _ClassVar[int]
    after_version: int
    def __init__(self, after_version: _Optional[int] = ...) -> None: ...

class WatchChangesResponse(_message.Message):
    __slots__ = ("fleet_version", "kind", "id", "operation", "version", "changed_at", "actor")
    FLEET_VERSION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CHANGED_AT_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    fleet_version: int
    kind: str
    id: str
    operation: str
    version: int
    changed_at: _timestamp_pb2.Timestamp
    actor: str
    def __init__(self, fleet_version: _Optional[int] = ..., kind: _Optional[str] = ..., id: _Optional[str] = ..., operation: _Optional[str] = ..., version: _Optional[int] = ..., changed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., actor: _Optional[str] = ...) -> None: ...
