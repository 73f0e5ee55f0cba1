import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from router.v1 import common_pb2 as _common_pb2
from router.v1 import inference_pb2 as _inference_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TenantLimits(_message.Message):
    __slots__ = ("requests_per_s", "tokens_per_s", "burst_s", "usd_per_day", "usd_per_month", "max_in_flight")
    REQUESTS_PER_S_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_S_FIELD_NUMBER: _ClassVar[int]
    BURST_S_FIELD_NUMBER: _ClassVar[int]
    USD_PER_DAY_FIELD_NUMBER: _ClassVar[int]
    USD_PER_MONTH_FIELD_NUMBER: _ClassVar[int]
    MAX_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    requests_per_s: float
    tokens_per_s: float
    burst_s: float
    usd_per_day: float
    usd_per_month: float
    max_in_flight: int
    def __init__(self, requests_per_s: _Optional[float] = ..., tokens_per_s: _Optional[float] = ..., burst_s: _Optional[float] = ..., usd_per_day: _Optional[float] = ..., usd_per_month: _Optional[float] = ..., max_in_flight: _Optional[int] = ...) -> None: ...

class TenantPolicy(_message.Message):
    __slots__ = ("models", "classes", "default_class", "privacy", "regions", "priority", "max_cost_usd")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_CLASS_FIELD_NUMBER: _ClassVar[int]
    PRIVACY_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    MAX_COST_USD_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedScalarFieldContainer[str]
    classes: _containers.RepeatedScalarFieldContainer[str]
    default_class: str
    privacy: _common_pb2.PrivacyLevel
    regions: _containers.RepeatedScalarFieldContainer[str]
    priority: _inference_pb2.Priority
    max_cost_usd: float
    def __init__(self, models: _Optional[_Iterable[str]] = ..., classes: _Optional[_Iterable[str]] = ..., default_class: _Optional[str] = ..., privacy: _Optional[_Union[_common_pb2.PrivacyLevel, str]] = ..., regions: _Optional[_Iterable[str]] = ..., priority: _Optional[_Union[_inference_pb2.Priority, str]] = ..., max_cost_usd: _Optional[float] = ...) -> None: ...

class ApiKey(_message.Message):
    __slots__ = ("id", "created_at", "expires_at", "revoked")
    ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    REVOKED_FIELD_NUMBER: _ClassVar[int]
    id: str
    created_at: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    revoked: bool
    def __init__(self, id: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revoked: bool = ...) -> None: ...

class TenantSpec(_message.Message):
    __slots__ = ("id", "name", "disabled", "limits", "policy")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISABLED_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    disabled: bool
    limits: TenantLimits
    policy: TenantPolicy
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., disabled: bool = ..., limits: _Optional[_Union[TenantLimits, _Mapping]] = ..., policy: _Optional[_Union[TenantPolicy, _Mapping]] = ...) -> None: ...

class TenantState(_message.Message):
    __slots__ = ("usd_today", "usd_this_month", "in_flight", "refused")
    USD_TODAY_FIELD_NUMBER: _ClassVar[int]
    USD_THIS_MONTH_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    usd_today: float
    usd_this_month: float
    in_flight: int
    refused: int
    def __init__(self, usd_today: _Optional[float] = ..., usd_this_month: _Optional[float] = ..., in_flight: _Optional[int] = ..., refused: _Optional[int] = ...) -> None: ...

class Tenant(_message.Message):
    __slots__ = ("spec", "keys", "version", "state")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    spec: TenantSpec
    keys: _containers.RepeatedCompositeFieldContainer[ApiKey]
    version: int
    state: TenantState
    def __init__(self, spec: _Optional[_Union[TenantSpec, _Mapping]] = ..., keys: _Optional[_Iterable[_Union[ApiKey, _Mapping]]] = ..., version: _Optional[int] = ..., state: _Optional[_Union[TenantState, _Mapping]] = ...) -> None: ...

class ListTenantsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListTenantsResponse(_message.Message):
    __slots__ = ("tenants", "fleet_version")
    TENANTS_FIELD_NUMBER: _ClassVar[int]
    FLEET_VERSION_FIELD_NUMBER: _ClassVar[int]
    tenants: _containers.RepeatedCompositeFieldContainer[Tenant]
    fleet_version: int
    def __init__(self, tenants: _Optional[_Iterable[_Union[Tenant, _Mapping]]] = ..., fleet_version: _Optional[int] = ...) -> None: ...

class GetTenantRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetTenantResponse(_message.Message):
    __slots__ = ("tenant",)
    TENANT_FIELD_NUMBER: _ClassVar[int]
    tenant: Tenant
    def __init__(self, tenant: _Optional[_Union[Tenant, _Mapping]] = ...) -> None: ...

class PutTenantRequest(_message.Message):
    __slots__ = ("spec", "expected_version")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    spec: TenantSpec
    expected_version: int
    def __init__(self, spec: _Optional[_Union[TenantSpec, _Mapping]] = ..., expected_version: _Optional[int] = ...) -> None: ...

class PutTenantResponse(_message.Message):
    __slots__ = ("tenant", "fleet_version")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    FLEET_VERSION_FIELD_NUMBER: _ClassVar[int]
    tenant: Tenant
    fleet_version: int
    def __init__(self, tenant: _Optional[_Union[Tenant, _Mapping]] = ..., fleet_version: _Optional[int] = ...) -> None: ...

class RemoveTenantRequest(_message.Message):
    __slots__ = ("id", "expected_version")
    ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    id: str
    expected_version: int
    def __init__(self, id: _Optional[str] = ..., expected_version: _Optional[int] = ...) -> None: ...

class RemoveTenantResponse(_message.Message):
    __slots__ = ("fleet_version",)
    FLEET_VERSION_FIELD_NUMBER: _ClassVar[int]
    fleet_version: int
    def __init__(self, fleet_version: _Optional[int] = ...) -> None: ...

class CreateKeyRequest(_message.Message):
    __slots__ = ("tenant", "expected_version", "expires_at")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    expected_version: int
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, tenant: _Optional[str] = ..., expected_version: _Optional[int] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CreateKeyResponse(_message.Message):
    __slots__ = ("tenant", "key", "text", "fleet_version")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FLEET_VERSION_FIELD_NUMBER: _ClassVar[int]
    tenant: Tenant
    key: ApiKey
    text: str
    fleet_version: int
    def __init__(self, tenant: _Optional[_Union[Tenant, _Mapping]] = ..., key: _Optional[_Union[ApiKey, _Mapping]] = ..., text: _Optional[str] = ..., fleet_version: _Optional[int] = ...) -> None: ...

class RevokeKeyRequest(_message.Message):
    __slots__ = ("tenant", "key", "expected_version")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    key: str
    expected_version: int
    def __init__(self, tenant: _Optional[str] = ..., key: _Optional[str] = ..., expected_version: _Optional[int] = ...) -> None: ...

class RevokeKeyResponse(_message.Message):
    __slots__ = ("tenant", "fleet_version")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    FLEET_VERSION_FIELD_NUMBER: _ClassVar[int]
    tenant: Tenant
    fleet_version: int
    def __init__(self, tenant: _Optional[_Union[Tenant, _Mapping]] = ..., fleet_version: _Optional[int] = ...) -> None: ...
