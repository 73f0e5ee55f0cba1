"""router.yaml and the environment: where this process listens and how it behaves as a process.

The environment overrides the file, so that one directory serves every machine: `INFERENCE_ROUTER_GRPC_PORT` is
`grpc_port`. `REDIS_URL` is taken too, because every platform sets that one.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError

from router.settings import quantity as q
from router.settings.strict import PositiveSeconds, Problem, Strict, describe, nearest
from router.settings.yaml_text import Document

PREFIX = "INFERENCE_ROUTER_"
CLIENT_VARIABLES = frozenset({"INFERENCE_ROUTER_ADDRESS", "INFERENCE_ROUTER_ADMIN_ADDRESS"})

LogLevel = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSettings:
    """One router process.

    Attributes:
        host: the address to listen on.
        pick_free_ports: take any free port where the named one is taken.
        redis_url: of the shared state store; None starts an embedded one. It may hold a password, so it is not in repr.
        namespace: prefix of every key; two fleets may share a store.
        max_message_bytes: bound on one gRPC message and one HTTP body.
        drain_limit_s: how long a stop waits for streams in flight.
        rng_seed: makes choices among near-ties repeatable; None is a fresh seed.
    """

    host: str = "127.0.0.1"
    grpc_port: int = 50051
    admin_port: int = 50052
    http_port: int = 8080
    pick_free_ports: bool = False
    redis_url: str | None = field(default=None, repr=False)
    namespace: str = "router"
    max_message_bytes: int = 8 * 1024 * 1024
    drain_limit_s: float = 30.0
    replica_id: str = ""
    log_level: LogLevel = "info"
    log_json: bool = False
    rng_seed: int | None = None


_DEFAULT = RouterSettings()


def _redis_url(value: object) -> object:
    if value is None or (isinstance(value, str) and value.startswith(("redis://", "rediss://", "unix://"))):
        return value
    raise ValueError("expected a URL that starts with redis://, rediss:// or unix://")


def _whole_bytes(value: object) -> int:
    return round(q.parse_quantity(value, q.BYTES))


Port = Annotated[int, Field(ge=0, le=65535)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class RouterFile(Strict):
    """router.yaml."""

    synonyms: ClassVar = {"port": "grpc_port", "valkey_url": "redis_url", "seed": "rng_seed", "address": "host"}

    host: Annotated[str, Field(min_length=1)] = _DEFAULT.host
    grpc_port: Port = _DEFAULT.grpc_port
    admin_port: Port = _DEFAULT.admin_port
    http_port: Port = _DEFAULT.http_port
    pick_free_ports: bool = _DEFAULT.pick_free_ports
    redis_url: Annotated[str | None, BeforeValidator(_redis_url)] = None
    namespace: Name = _DEFAULT.namespace
    max_message_bytes: Annotated[int, BeforeValidator(_whole_bytes), Field(ge=65536, le=1 << 30)] = (
        _DEFAULT.max_message_bytes
    )
    drain_limit_s: PositiveSeconds = _DEFAULT.drain_limit_s
    replica_id: Name | None = None
    log_level: LogLevel = _DEFAULT.log_level
    log_json: bool = _DEFAULT.log_json
    rng_seed: Annotated[int, Field(ge=0)] | None = None


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
    replica_id = parsed.replica_id or f"{socket.gethostname()}-{os.getpid()}"
    return RouterSettings(**parsed.model_dump() | {"replica_id": replica_id})


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


def _scalar(name: str, text: str) -> object:
    annotation = RouterFile.model_fields[name].annotation
    if annotation is str or name in {"redis_url", "namespace", "replica_id", "log_level"}:
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _variable(field_name: str, env: Mapping[str, str]) -> str:
    variable = f"{PREFIX}{field_name.upper()}"
    return variable if variable in env else "REDIS_URL"
