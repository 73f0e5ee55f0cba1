"""What the URL of a store may say, and what goes beside it; nothing here connects, and no message shows a secret.

    redis://[USER:PASSWORD@]HOST[:PORT][/DB]                          one server; rediss:// with TLS
    unix://[USER:PASSWORD@]/PATH                                      one server, by its socket file
    redis+sentinel://[USER:PASSWORD@]HOST[:PORT],.../SERVICE[/DB]     the primary that these Sentinels name
    redis+cluster://[USER:PASSWORD@]HOST[:PORT],...                   the cluster that these nodes are part of

rediss+sentinel:// and rediss+cluster:// are those with TLS. Options follow a "?": client_name, db, ssl_ca_certs,
ssl_ca_path, ssl_certfile, ssl_keyfile, ssl_cert_reqs and ssl_check_hostname.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

EXPECTED = "expected redis://, rediss://, unix://, redis+sentinel:// or redis+cluster:// (rediss+...: with TLS)"
REDIS_PORT = 6379
SENTINEL_PORT = 26379
_SWITCHES = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_TLS_FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
_OPTIONS = frozenset({"client_name", "db", "password", "username", "ssl_cert_reqs", "ssl_check_hostname", *_TLS_FILES})
_SHOWN_OPTIONS = ", ".join(sorted(_OPTIONS - {"password", "username"}))


class BadStoreUrlError(ValueError):
    """The URL of the store, or what is configured beside it, cannot be used; the message never shows a password."""


class Topology(Enum):
    """Who holds the data."""

    ALONE = "redis"
    SENTINEL = "redis+sentinel"
    CLUSTER = "redis+cluster"


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How servers are known, and how we are; files in PEM. Without a CA the system's are trusted."""

    ca_certs: str | None = None
    ca_path: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    cert_reqs: str = "required"
    check_hostname: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUrl:
    """A URL in its parts.

    Attributes:
        addresses: of the server, the Sentinels, or nodes of the cluster; empty for a socket file.
        path: of the socket file.
        service: the name by which Sentinels know the primary.
        tls: None: the wire is plain.
    """

    topology: Topology
    addresses: tuple[Address, ...] = ()
    path: str = ""
    service: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    client_name: str | None = None
    tls: Tls | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """What is configured beside the URL; each wins over the same in the URL.

    Attributes:
        username: of the data servers; the name itself or a reference.
        password: a reference, "env:NAME" or "file:PATH"; never the password itself.
        sentinel_username: of the Sentinels, which have users of their own.
        sentinel_password: a reference.
        ssl_ca_certs: file of the CAs to trust; the ssl_* are for URLs with TLS only.
        acknowledge_replicas: a replicated call ends well when so many replicas have it; None: 1 with Sentinel, else 0.
    """

    username: str | None = None
    password: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    ssl_ca_certs: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_check_hostname: bool | None = None
    acknowledge_replicas: int | None = None


def parse_store_url(url: str) -> StoreUrl:
    """A URL in its parts.

    Raises:
        BadStoreUrlError: it says what is wrong.
    """
    try:
        return _parse(url)
    except ValueError as error:
        raise BadStoreUrlError(f"{mask(url)}: {error}") from None


def mask(url: str) -> str:
    """The URL without its password and options, and without what may be a password where it cannot be told."""
    scheme, separator, rest = url.rpartition("://")
    authority, tail = _authority(rest)
    if "@" in tail:
        return f"{scheme}{separator}***"
    credentials, at, hosts = authority.rpartition("@")
    if at:
        user, colon, _ = credentials.partition(":")
        hosts = f"{user}:***@{hosts}" if colon else f"***@{hosts}"
    elif re.search(r":[^,:\]]*[^,:\]\d]", hosts):
        # A port that is not a number may be a password whose host was forgotten.
        hosts = "***"
    return f"{scheme}{separator}{hosts}{tail}".partition("?")[0]


def store_identity(url: str | None, namespace: str) -> str:
    """Which store this is, for the names of what replicas keep on disk about it; None: the embedded one.

    The same whatever the credentials, the options and the order of the addresses are.
    """
    if url is None:
        place = "embedded"
    else:
        parsed = parse_store_url(url)
        addresses = ",".join(sorted(map(str, parsed.addresses)))
        place = f"{parsed.topology.value}|{addresses}|{parsed.path}|{parsed.service}|{parsed.db}"
    return hashlib.sha256(f"{place}|{namespace}".encode()).hexdigest()[:16]


def _authority(rest: str) -> tuple[str, str]:
    end = min((rest.find(mark) for mark in "/?#" if mark in rest), default=len(rest))
    return rest[:end], rest[end:]


def _parse(url: str) -> StoreUrl:
    """Raises ValueError with words that hold no part of the URL that may be secret."""
    scheme, separator, rest = url.partition("://")
    authority, tail = _authority(rest)
    encrypted = scheme.startswith("rediss")
    names = {topology.value: topology for topology in Topology} | {"unix": Topology.ALONE}
    topology = names.get(scheme.replace("rediss", "redis", 1))
    if not separator or topology is None:
        raise ValueError(EXPECTED)
    if "@" in tail or "#" in tail:
        raise ValueError("write @ / ? # in a user, password, path or option as %40 %2F %3F %23")
    credentials, at, hosts = authority.rpartition("@")
    user, colon, password = credentials.partition(":")
    options = _options(tail.partition("?")[2], encrypted=encrypted)
    parts = [unquote(part) for part in tail.partition("?")[0].split("/")[1:]]
    service = ""
    addresses: tuple[Address, ...] = ()
    path = ""
    if scheme == "unix":
        path = unquote(tail.partition("?")[0])
        parts = []
        if hosts or path in {"", "/"}:
            raise ValueError("no path; expected unix:///path/to/socket")
    else:
        default = SENTINEL_PORT if topology is Topology.SENTINEL else REDIS_PORT
        addresses = tuple(dict.fromkeys(_address(host, default) for host in hosts.split(",")))
        if topology is Topology.ALONE and len(addresses) > 1:
            raise ValueError("more than one host; redis+sentinel:// and redis+cluster:// take several")
    if topology is Topology.SENTINEL:
        service, *parts = parts or [""]
        if not service:
            raise ValueError(f"no service; expected {scheme}://HOST,.../SERVICE")
    return StoreUrl(
        topology=topology,
        addresses=addresses,
        path=path,
        service=service,
        db=_database(parts, options, topology),
        username=unquote(user) if at and user else options.get("username"),
        password=unquote(password) if colon and password else options.get("password"),
        client_name=options.get("client_name"),
        tls=_tls(options) if encrypted else None,
    )


def _address(text: str, default_port: int) -> Address:
    host, port = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("an IPv6 address is written [ADDRESS]:PORT")
        port = rest[1:]
    elif ":" in text:
        host, _, port = text.rpartition(":")
    if not host:
        raise ValueError("no host" if not text else "a host is missing")
    if ":" in host and not text.startswith("["):
        raise ValueError("an IPv6 address is written [ADDRESS]:PORT")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise ValueError("a port is not a number from 1 to 65535")
    return Address(unquote(host), int(port) if port else default_port)


def _options(query: str, *, encrypted: bool) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(options.keys() - _OPTIONS):
        raise ValueError(f"unknown options {', '.join(unknown)}; allowed: {_SHOWN_OPTIONS}")
    for name, value in options.items():
        if name.startswith("ssl_") and not encrypted:
            raise ValueError(f"{name} needs TLS: rediss:// in place of redis://")
        if not value:
            raise ValueError(f"{name} is empty")
    return options


def _database(parts: list[str], options: Mapping[str, str], topology: Topology) -> int:
    given = [part for part in (*parts, options.get("db", "")) if part]
    if len(given) > 1:
        raise ValueError("more than one database" if "db" in options else "more after the host than one name")
    if not given:
        return 0
    if not (given[0].isascii() and given[0].isdigit()):
        raise ValueError(f"{given[0]!r} is not the number of a database")
    if topology is Topology.CLUSTER and int(given[0]):
        raise ValueError("a cluster has only database 0")
    return int(given[0])


def _tls(options: Mapping[str, str]) -> Tls:
    cert_reqs = options.get("ssl_cert_reqs", "required")
    if cert_reqs not in {"required", "optional", "none"}:
        raise ValueError("ssl_cert_reqs is required, optional or none")
    check = _SWITCHES.get(options.get("ssl_check_hostname", "true").lower())
    if check is None:
        raise ValueError("ssl_check_hostname is true or false")
    files = {name.removeprefix("ssl_"): options[name] for name in _TLS_FILES if name in options}
    return Tls(cert_reqs=cert_reqs, check_hostname=check and cert_reqs != "none", **files)
