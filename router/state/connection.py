"""From a URL to a connection pool, and the one gate through which a failure of redis-py becomes `StoreUnavailable`.

redis-py retries by itself and so holds an awaiting caller for a whole outage. Its retries are therefore off and every
operation has a hard limit: a store that is slow, frozen or black-holed is the same as one that is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio as redis
from redis.asyncio.connection import UnixDomainSocketConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from router.errors import StoreUnavailable

MAX_CONNECTIONS = 16
_URL_OPTIONS = frozenset({
    "host", "port", "db", "path", "username", "password", "connection_class", "client_name",
    "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname",
})  # fmt: skip


class BadStoreUrlError(ValueError):
    """The URL of the store cannot be used; the message never shows its password."""


def open_client(url: str, *, timeout_s: float) -> redis.Redis:
    """A client that has not connected yet.

    Raises:
        BadStoreUrlError: it says what is wrong with the URL.
    """
    try:
        options: dict[str, Any] = dict(parse_url(url))
    except ValueError as error:
        raise BadStoreUrlError(f"{mask(url)}: {error}; expected redis://, rediss:// or unix://") from None
    if unknown := sorted(options.keys() - _URL_OPTIONS):
        raise BadStoreUrlError(f"{mask(url)}: unknown options {', '.join(unknown)}; allowed: client_name, db, ssl_*")
    tail = url.split("://", 1)[1].split("?", 1)[0]
    connection_class = options.pop("connection_class", redis.Connection)
    if connection_class is UnixDomainSocketConnection:
        if not options.get("path"):
            raise BadStoreUrlError(f"{mask(url)}: no path; expected unix:///path/to/socket")
    elif not options.get("host"):
        raise BadStoreUrlError(f"{mask(url)}: no host")
    elif "/" in tail and (database := tail.split("/", 1)[1]) and not database.isdigit():
        raise BadStoreUrlError(f"{mask(url)}: {database!r} is not the number of a database")
    pool = redis.BlockingConnectionPool(
        connection_class=connection_class,
        max_connections=MAX_CONNECTIONS,
        timeout=timeout_s,
        # `reach` bounds every operation. With a timeout of its own redis-py sends inside asyncio.wait_for, which loses
        # a cancellation that comes with the result (Python 3.11): the task would run on.
        socket_timeout=None,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        **options,
    )
    return redis.Redis.from_pool(pool)


def mask(url: str) -> str:
    """The URL without its password, and without what may be one in a URL that cannot be parsed."""
    scheme, separator, rest = url.partition("://")
    before, at, after = rest.rpartition("@")
    if not at:
        return url.partition("?")[0]
    user = before.partition(":")[0]
    return f"{scheme}{separator}{user}:***@{after}".partition("?")[0]


@asynccontextmanager
async def reach(what: str, timeout_s: float) -> AsyncIterator[None]:
    """Bounds what is done inside and turns every failure of the store into `StoreUnavailable`."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise StoreUnavailable(f"{what}: the state store did not answer within {timeout_s:g} s") from None
    except (RedisError, OSError) as error:
        refused = any(isinstance(e, AuthenticationError | NoPermissionError) for e in (error, error.__cause__))
        why = "the state store refuses our credentials" if refused else type(error).__name__
        raise StoreUnavailable(f"{what}: {why}: {error}") from error
