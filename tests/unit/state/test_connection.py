"""The URL of the store: what is accepted, and clear words, without secrets, for what is not."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection

from router.state.connection import BadStoreUrlError, mask, open_client
from router.state.keys import Keys, Kind


@pytest.mark.parametrize(
    ("url", "kind", "wanted"),
    [
        ("redis://h:6380/2", Connection, {"host": "h", "port": 6380, "db": 2}),
        ("redis://h", Connection, {"host": "h"}),
        ("rediss://user:p%40ss@h/0", SSLConnection, {"username": "user", "password": "p@ss"}),
        ("rediss://h?ssl_ca_certs=/ca.pem", SSLConnection, {"ssl_ca_certs": "/ca.pem"}),
        ("unix:///run/v.sock?db=1", UnixDomainSocketConnection, {"path": "/run/v.sock", "db": 1}),
    ],
)
def test_urls_become_connections(url: str, kind: type[object], wanted: dict[str, object]) -> None:
    """Plain, TLS and socket URLs, users, passwords and databases are configuration."""
    pool = open_client(url, timeout_s=0.5).connection_pool
    assert pool.connection_class is kind
    assert wanted.items() <= pool.connection_kwargs.items()
    assert pool.connection_kwargs["socket_connect_timeout"] == 0.5


@dataclass(frozen=True)
class Case:
    id: str
    url: str
    says: str


CASES = (
    Case("another scheme", "http://user:hunter2@h", "expected redis://, rediss:// or unix://"),
    Case("no scheme", "localhost:6379", "expected redis://"),
    Case("empty", "", "expected redis://"),
    Case("no host", "redis://:hunter2@/0", "no host"),
    Case("no path", "unix://", "no path"),
    Case("port", "redis://:hunter2@h:notaport", "expected redis://"),
    Case("database", "redis://:hunter2@h/first", "'first' is not the number of a database"),
    Case("option", "redis://:hunter2@h?socket_timeout=60", "unknown options socket_timeout"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_bad_url_is_explained_without_its_password(case: Case) -> None:
    """Each mistake is named, and no message holds the password."""
    with pytest.raises(BadStoreUrlError) as error:
        open_client(case.url, timeout_s=0.5)
    assert case.says in str(error.value)
    assert "hunter2" not in str(error.value)


def test_masking() -> None:
    """A URL as it is shown keeps user and host, and drops password and options."""
    assert mask("redis://u:p@ss@h:1/0?password=x") == "redis://u:***@h:1/0"
    assert mask("redis://h/0") == "redis://h/0"


def test_the_keys_of_a_namespace_share_one_slot() -> None:
    """Every key carries the same hash tag, and a namespace that could break it is refused."""
    keys = Keys("team-a.prod")
    assert all(key.startswith("{team-a.prod}:") for key in keys.for_scripts)
    assert len(set(keys.for_scripts)) == 2 + len(Kind)
    for wrong in ("", "a}b", "{a}", "a b", "-a", "x" * 65):
        with pytest.raises(ValueError, match="namespace"):
            Keys(wrong)
