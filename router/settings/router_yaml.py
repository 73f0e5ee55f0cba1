"""router.yaml and the environment: where this process listens and how it behaves as a process.

The environment overrides the file, so that one directory serves every machine: `INFERENCE_ROUTER_GRPC_PORT` is
`grpc_port`. `REDIS_URL` is taken too, because every platform sets that one.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError

from router.settings import quantity as q
from router.settings.strict import PositiveSeconds, Problem, Strict, describe, nearest
from router.settings.yaml_text import Document
from router.state.url import StoreOptions, parse_store_url

PREFIX = "INFERENCE_ROUTER_"
CLIENT_VARIABLES = frozenset({"INFERENCE_ROUTER_ADDRESS", "INFERENCE_ROUTER_ADMIN_ADDRESS"})

LogLevel = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionSettings:
    """The log of decisions.

    Attributes:
        path: its directory; None: below `state_dir`, and nowhere without one.
        max_bytes: of all segments together.
        share: of the requests that are neither failed nor late: None follows the room that there is, 0 keeps no log.
        hide_names: tenants and sessions are written as hashes.
    """

    path: str | None = None
    max_bytes: int = 64 << 20
    share: float | None = None
    hide_names: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSettings:
    """One router process.

    Attributes:
        host: the address to listen on.
        pick_free_ports: take any free port where the named one is taken.
        redis_url: of the shared state store; None starts an embedded one. It may hold a password, so it is not in repr.
        redis_options: users, secrets by reference, TLS and acknowledgements, beside the URL.
        namespace: prefix of every key; two fleets may share a store.
        max_message_bytes: bound on one gRPC message and one HTTP body.
        drain_limit_s: how long a stop waits for streams in flight.
        state_dir: where this replica keeps its last snapshot and its journals; None: nowhere.
        require_api_key: a request without a tenant's key is refused.
        rng_seed: makes choices among near-ties repeatable; None is a fresh seed.
        decisions: the log of decisions.
    """

    host: str = "127.0.0.1"
    grpc_port: int = 50051
    admin_port: int = 50052
    http_port: int = 8080
    pick_free_ports: bool = False
    redis_url: str | None = field(default=None, repr=False)
    redis_options: StoreOptions = StoreOptions()  # noqa: RUF009 - frozen
    namespace: str = "router"
    max_message_bytes: int = 8 * 1024 * 1024
    drain_limit_s: float = 30.0
    replica_id: str = ""
    state_dir: str | None = None
    require_api_key: bool = False
    log_level: LogLevel = "info"
    log_json: bool = False
    rng_seed: int | None = None
    decisions: DecisionSettings = DecisionSettings()


_DEFAULT = RouterSettings()


def _redis_url(value: object) -> object:
    if isinstance(value, str):
        parse_store_url(value)
    return value


def _reference(value: object) -> object:
    if value is None or (isinstance(value, str) and re.match(r"(?:env|file):.", value)):
        return value
    raise ValueError("expected a reference, env:NAME or file:PATH, never the secret itself")


def _whole_bytes(value: object) -> int:
    return round(q.parse_quantity(value, q.BYTES))


Port = Annotated[int, Field(ge=0, le=65535)]
Text = Annotated[str, Field(min_length=1)]
Reference = Annotated[str, BeforeValidator(_reference)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


def _sample(value: object) -> float | None:
    if value == "auto":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise ValueError("expected 'auto' or a share between 0 and 1")
    return float(value)


class DecisionsEntry(Strict):
    """`decisions` of router.yaml."""

    synonyms: ClassVar = {"directory": "path", "dir": "path", "share": "sample", "size": "max_bytes"}

    path: Text | None = None
    max_bytes: Annotated[int, BeforeValidator(_whole_bytes), Field(ge=1 << 20, le=1 << 40)] = 64 << 20
    sample: Annotated[float | None, BeforeValidator(_sample)] = None
    hide_names: bool = False


class RouterFile(Strict):
    """router.yaml."""

    synonyms: ClassVar = {
        "port": "grpc_port",
        "valkey_url": "redis_url",
        "seed": "rng_seed",
        "address": "host",
        "data_dir": "state_dir",
        "redis_user": "redis_username",
        **{name: f"redis_{name}" for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")},
    }

    host: Text = _DEFAULT.host
    grpc_port: Port = _DEFAULT.grpc_port
    admin_port: Port = _DEFAULT.admin_port
    http_port: Port = _DEFAULT.http_port
    pick_free_ports: bool = _DEFAULT.pick_free_ports
    redis_url: Annotated[str | None, BeforeValidator(_redis_url)] = None
    redis_username: Text | None = None
    redis_password: Reference | None = None
    redis_sentinel_username: Text | None = None
    redis_sentinel_password: Reference | None = None
    redis_ssl_ca_certs: Text | None = None
    redis_ssl_certfile: Text | None = None
    redis_ssl_keyfile: Text | None = None
    redis_ssl_check_hostname: bool | None = None
    acknowledge_replicas: Annotated[int, Field(ge=0, le=16)] | None = None
    namespace: Name = _DEFAULT.namespace
    max_message_bytes: Annotated[int, BeforeValidator(_whole_bytes), Field(ge=65536, le=1 << 30)] = (
        _DEFAULT.max_message_bytes
    )
    drain_limit_s: PositiveSeconds = _DEFAULT.drain_limit_s
    replica_id: Name | None = None
    state_dir: Text | None = None
    require_api_key: bool = _DEFAULT.require_api_key
    log_level: LogLevel = _DEFAULT.log_level
    log_json: bool = _DEFAULT.log_json
    rng_seed: Annotated[int, Field(ge=0)] | None = None
    decisions: DecisionsEntry = DecisionsEntry()


def router_settings(
    document: Document | None, env: Mapping[str, str], file: str, problems: list[Problem]
) -> RouterSettings | None:
    """The file with the environment over it; None, and every problem, when they are wrong."""
    value = document.value if document is not None else {}
    if not isinstance(value, dict | None):
        problems.append(Problem(file, "", "expected keys and values at the top", 1))
        return None
    overrides = _overrides(env, problems)
    before = len(problems)
    merged = {**(value or {}), **overrides}
    try:
        parsed = RouterFile.model_validate(merged)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            path, message = describe(RouterFile, detail)
            if path in overrides:
                problems.append(Problem("environment", _variable(path, env), message))
            else:
                line = document.lines.get(path, 0) if document is not None else 0
                problems.append(Problem(file, path, message, line))
        return None
    ports = [p for p in (parsed.grpc_port, parsed.admin_port, parsed.http_port) if p]
    if len(set(ports)) < len(ports):
        problems.append(Problem(file, "grpc_port", "grpc_port, admin_port and http_port must differ"))
    if len(problems) > before:
        return None
    values = parsed.model_dump()
    options = {f.name: values.pop(_OPTION_KEYS[f.name]) for f in fields(StoreOptions)}
    values["redis_options"] = StoreOptions(**options)
    values["replica_id"] = parsed.replica_id or f"{socket.gethostname()}-{os.getpid()}"
    values["state_dir"] = _state_dir(parsed.state_dir, env)
    kept = parsed.decisions
    values["decisions"] = DecisionSettings(
        path=str(Path(kept.path).expanduser()) if kept.path is not None else None,
        max_bytes=kept.max_bytes,
        share=kept.sample,
        hide_names=kept.hide_names,
    )
    return RouterSettings(**values)


_OPTION_KEYS = {f.name: f"redis_{f.name}" for f in fields(StoreOptions)} | {
    "acknowledge_replicas": "acknowledge_replicas"
}


def _state_dir(given: str | None, env: Mapping[str, str]) -> str | None:
    """Where the XDG specification has it; None where this user has no home."""
    try:
        if given is not None:
            return str(Path(given).expanduser())
        base = Path(env.get("XDG_STATE_HOME", ""))
        if not base.is_absolute():
            base = Path(env["HOME"] if env.get("HOME") else "~").expanduser() / ".local" / "state"
    except RuntimeError:
        return None
    return str(base / "inference-router")


def _overrides(env: Mapping[str, str], problems: list[Problem]) -> dict[str, object]:
    """The fields that the environment sets, as YAML would read them."""
    found: dict[str, object] = {}
    if env.get("REDIS_URL"):
        found["redis_url"] = env["REDIS_URL"]
    names = {f"{PREFIX}{name.upper()}": name for name in RouterFile.model_fields}
    for variable in sorted(v for v in env if v.startswith(PREFIX)):
        if variable in CLIENT_VARIABLES:
            continue
        if variable not in names:
            near = nearest(variable, [*names, *CLIENT_VARIABLES])
            problems.append(Problem("environment", variable, f"unknown variable{near}"))
            continue
        found[names[variable]] = _scalar(names[variable], env[variable])
    return found


# YAML would read some names and passwords as numbers or dates.
_TEXT_KEYS = frozenset({"redis_url", "namespace", "replica_id", "log_level", "state_dir"}) | {
    key for name, key in _OPTION_KEYS.items() if name not in {"acknowledge_replicas", "ssl_check_hostname"}
}


def _scalar(name: str, text: str) -> object:
    annotation = RouterFile.model_fields[name].annotation
    if annotation is str or name in _TEXT_KEYS:
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _variable(field_name: str, env: Mapping[str, str]) -> str:
    variable = f"{PREFIX}{field_name.upper()}"
    return variable if variable in env else "REDIS_URL"
