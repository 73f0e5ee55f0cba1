import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ConfigFile(_message.Message):
    __slots__ = ("name", "text")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    name: str
    text: str
    def __init__(self, name: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class FieldDifference(_message.Message):
    __slots__ = ("path", "before", "after", "ratio")
    PATH_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    RATIO_FIELD_NUMBER: _ClassVar[int]
    path: str
    before: str
    after: str
    ratio: float
    def __init__(self, path: _Optional[str] = ..., before: _Optional[str] = ..., after: _Optional[str] = ..., ratio: _Optional[float] = ...) -> None: ...

class DocumentDifference(_message.Message):
    __slots__ = ("kind", "id", "operation", "fields")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    kind: str
    id: str
    operation: str
    fields: _containers.RepeatedCompositeFieldContainer[FieldDifference]
    def __init__(self, kind: _Optional[str] = ..., id: _Optional[str] = ..., operation: _Optional[str] = ..., fields: _Optional[_Iterable[_Union[FieldDifference, _Mapping]]] = ...) -> None: ...

class BackendEffect(_message.Message):
    __slots__ = ("backend", "requests_before", "requests_after", "cost_usd_before", "cost_usd_after")
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_AFTER_FIELD_NUMBER: _ClassVar[int]
    COST_USD_BEFORE_FIELD_NUMBER: _ClassVar[int]
    COST_USD_AFTER_FIELD_NUMBER: _ClassVar[int]
    backend: str
    requests_before: int
    requests_after: int
    cost_usd_before: float
    cost_usd_after: float
    def __init__(self, backend: _Optional[str] = ..., requests_before: _Optional[int] = ..., requests_after: _Optional[int] = ..., cost_usd_before: _Optional[float] = ..., cost_usd_after: _Optional[float] = ...) -> None: ...

class Effect(_message.Message):
    __slots__ = ("requests", "moved", "unserved_before", "unserved_after", "cost_usd_before", "cost_usd_after", "mean_ttft_s_before", "mean_ttft_s_after", "slo_attainment_before", "slo_attainment_after", "backends")
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    MOVED_FIELD_NUMBER: _ClassVar[int]
    UNSERVED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    UNSERVED_AFTER_FIELD_NUMBER: _ClassVar[int]
    COST_USD_BEFORE_FIELD_NUMBER: _ClassVar[int]
    COST_USD_AFTER_FIELD_NUMBER: _ClassVar[int]
    MEAN_TTFT_S_BEFORE_FIELD_NUMBER: _ClassVar[int]
    MEAN_TTFT_S_AFTER_FIELD_NUMBER: _ClassVar[int]
    SLO_ATTAINMENT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    SLO_ATTAINMENT_AFTER_FIELD_NUMBER: _ClassVar[int]
    BACKENDS_FIELD_NUMBER: _ClassVar[int]
    requests: int
    moved: int
    unserved_before: int
    unserved_after: int
    cost_usd_before: float
    cost_usd_after: float
    mean_ttft_s_before: float
    mean_ttft_s_after: float
    slo_attainment_before: float
    slo_attainment_after: float
    backends: _containers.RepeatedCompositeFieldContainer[BackendEffect]
    def __init__(self, requests: _Optional[int] = ..., moved: _Optional[int] = ..., unserved_before: _Optional[int] = ..., unserved_after: _Optional[int] = ..., cost_usd_before: _Optional[float] = ..., cost_usd_after: _Optional[float] = ..., mean_ttft_s_before: _Optional[float] = ..., mean_ttft_s_after: _Optional[float] = ..., slo_attainment_before: _Optional[float] = ..., slo_attainment_after: _Optional[float] = ..., backends: _Optional[_Iterable[_Union[BackendEffect, _Mapping]]] = ...) -> None: ...

class PlanRequest(_message.Message):
    __slots__ = ("files", "prune")
    FILES_FIELD_NUMBER: _ClassVar[int]
    PRUNE_FIELD_NUMBER: _ClassVar[int]
    files: _containers.RepeatedCompositeFieldContainer[ConfigFile]
    prune: bool
    def __init__(self, files: _Optional[_Iterable[_Union[ConfigFile, _Mapping]]] = ..., prune: bool = ...) -> None: ...

class PlanResponse(_message.Message):
    __slots__ = ("config_version", "differences", "effect", "notes")
    CONFIG_VERSION_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    config_version: int
    differences: _containers.RepeatedCompositeFieldContainer[DocumentDifference]
    effect: Effect
    notes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, config_version: _Optional[int] = ..., differences: _Optional[_Iterable[_Union[DocumentDifference, _Mapping]]] = ..., effect: _Optional[_Union[Effect, _Mapping]] = ..., notes: _Optional[_Iterable[str]] = ...) -> None: ...

class ApplyRequest(_message.Message):
    __slots__ = ("files", "prune", "expected_config_version", "note", "wait_s")
    FILES_FIELD_NUMBER: _ClassVar[int]
    PRUNE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_CONFIG_VERSION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    WAIT_S_FIELD_NUMBER: _ClassVar[int]
    files: _containers.RepeatedCompositeFieldContainer[ConfigFile]
    prune: bool
    expected_config_version: int
    note: str
    wait_s: float
    def __init__(self, files: _Optional[_Iterable[_Union[ConfigFile, _Mapping]]] = ..., prune: bool = ..., expected_config_version: _Optional[int] = ..., note: _Optional[str] = ..., wait_s: _Optional[float] = ...) -> None: ...

class ReplicaVersion(_message.Message):
    __slots__ = ("replica", "fleet_version", "age_s")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    FLEET_VERSION_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    replica: str
    fleet_version: int
    age_s: float
    def __init__(self, replica: _Optional[str] = ..., fleet_version: _Optional[int] = ..., age_s: _Optional[float] = ...) -> None: ...

class ApplyResponse(_message.Message):
    __slots__ = ("config_version", "differences", "acknowledged", "missing", "waited_s")
    CONFIG_VERSION_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    WAITED_S_FIELD_NUMBER: _ClassVar[int]
    config_version: int
    differences: _containers.RepeatedCompositeFieldContainer[DocumentDifference]
    acknowledged: _containers.RepeatedCompositeFieldContainer[ReplicaVersion]
    missing: _containers.RepeatedCompositeFieldContainer[ReplicaVersion]
    waited_s: float
    def __init__(self, config_version: _Optional[int] = ..., differences: _Optional[_Iterable[_Union[DocumentDifference, _Mapping]]] = ..., acknowledged: _Optional[_Iterable[_Union[ReplicaVersion, _Mapping]]] = ..., missing: _Optional[_Iterable[_Union[ReplicaVersion, _Mapping]]] = ..., waited_s: _Optional[float] = ...) -> None: ...

class Revision(_message.Message):
    __slots__ = ("version", "changed_at", "actor", "origin", "action", "note", "documents", "summary")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CHANGED_AT_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    version: int
    changed_at: _timestamp_pb2.Timestamp
    actor: str
    origin: str
    action: str
    note: str
    documents: int
    summary: str
    def __init__(self, version: _Optional[int] = ..., changed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., actor: _Optional[str] = ..., origin: _Optional[str] = ..., action: _Optional[str] = ..., note: _Optional[str] = ..., documents: _Optional[int] = ..., summary: _Optional[str] = ...) -> None: ...

class ListHistoryRequest(_message.Message):
    __slots__ = ("before_version", "limit")
    BEFORE_VERSION_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    before_version: int
    limit: int
    def __init__(self, before_version: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class ListHistoryResponse(_message.Message):
    __slots__ = ("revisions", "config_version")
    REVISIONS_FIELD_NUMBER: _ClassVar[int]
    CONFIG_VERSION_FIELD_NUMBER: _ClassVar[int]
    revisions: _containers.RepeatedCompositeFieldContainer[Revision]
    config_version: int
    def __init__(self, revisions: _Optional[_Iterable[_Union[Revision, _Mapping]]] = ..., config_version: _Optional[int] = ...) -> None: ...

class GetRevisionRequest(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: int
    def __init__(self, version: _Optional[int] = ...) -> None: ...

class GetRevisionResponse(_message.Message):
    __slots__ = ("revision", "differences")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    revision: Revision
    differences: _containers.RepeatedCompositeFieldContainer[DocumentDifference]
    def __init__(self, revision: _Optional[_Union[Revision, _Mapping]] = ..., differences: _Optional[_Iterable[_Union[DocumentDifference, _Mapping]]] = ...) -> None: ...

class RollbackRequest(_message.Message):
    __slots__ = ("version", "expected_config_version", "note", "wait_s", "plan_only")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_CONFIG_VERSION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    WAIT_S_FIELD_NUMBER: _ClassVar[int]
    PLAN_ONLY_FIELD_NUMBER: _ClassVar[int]
    version: int
    expected_config_version: int
    note: str
    wait_s: float
    plan_only: bool
    def __init__(self, version: _Optional[int] = ..., expected_config_version: _Optional[int] = ..., note: _Optional[str] = ..., wait_s: _Optional[float] = ..., plan_only: bool = ...) -> None: ...

class RollbackResponse(_message.Message):
    __slots__ = ("config_version", "differences", "acknowledged", "missing", "waited_s")
    CONFIG_VERSION_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    WAITED_S_FIELD_NUMBER: _ClassVar[int]
    config_version: int
    differences: _containers.RepeatedCompositeFieldContainer[DocumentDifference]
    acknowledged: _containers.RepeatedCompositeFieldContainer[ReplicaVersion]
    missing: _containers.RepeatedCompositeFieldContainer[ReplicaVersion]
    waited_s: float
    def __init__(self, config_version: _Optional[int] = ..., differences: _Optional[_Iterable[_Union[DocumentDifference, _Mapping]]] = ..., acknowledged: _Optional[_Iterable[_Union[ReplicaVersion, _Mapping]]] = ..., missing: _Optional[_Iterable[_Union[ReplicaVersion, _Mapping]]] = ..., waited_s: _Optional[float] = ...) -> None: ...
