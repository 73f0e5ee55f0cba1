"""From a URL and its options to connections, and the gate through which a failure of redis-py is `StoreUnavailable`.

Only redis-py's connections are used (sockets, TLS, login, the protocol), because its clients hold a caller for a whole
outage: they retry by themselves; that of a cluster waits for a frozen node's map of the slots, learns nothing from a
call that is cut off, and sends ASKING on another connection than the command that it is for. What to do about a failure
is decided in `client` and `topology`, and every operation has a hard limit: a store that is slow, frozen or black-holed
is the same as one that is gone.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import redis.asyncio as redis
from redis.asyncio.connection import AbstractConnection, Connection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from router.errors import StoreUnavailable
from router.state.bound import Bound
from router.state.url import (
    Address,
    BadStoreUrlError,
    StoreOptions,
    StoreUrl,
    Topology,
    mask,
    parse_store_url,
    store_identity,
)

__all__ = ["BadStoreUrlError", "StoreOptions", "mask", "open_client", "parse_store_url", "reach", "store_identity"]

_VERIFY = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}


class Dialer:
    """Makes connections to the data servers (and to Sentinels) of one URL; they connect when they are first used.

    Raises:
        BadStoreUrlError: a reference names nothing, or the options do not go with the URL.
    """

    def __init__(self, url: StoreUrl, options: StoreOptions, env: Mapping[str, str]) -> None:
        self._url = url
        self._tls = _tls_context(url, options)
        self._common: dict[str, Any] = {
            # `reach` bounds every operation. With a timeout of its own redis-py sends inside asyncio.wait_for, which
            # loses a cancellation that comes with the result (Python 3.11): the task would run on.
            "socket_timeout": None,
            "socket_connect_timeout": None,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            # Two commands less on each new connection.
            "driver_info": None,
            "client_name": url.client_name,
        }
        in_url = (url.username, url.password)
        self._login = _login(options.username, options.password, "redis", env, otherwise=in_url)
        self._sentinel_login = _login(options.sentinel_username, options.sentinel_password, "redis_sentinel", env)
        if url.topology is not Topology.SENTINEL and any(self._sentinel_login.values()):
            raise BadStoreUrlError("redis_sentinel_username and redis_sentinel_password need a redis+sentinel:// URL")

    def server(self, address: Address) -> StoreConnection:
        return _TcpConnection(
            host=address.host, port=address.port, tls=self._tls, db=self._url.db, **self._login, **self._common
        )

    def socket(self) -> StoreConnection:
        return _SocketConnection(path=self._url.path, db=self._url.db, **self._login, **self._common)

    def sentinel(self, address: Address) -> StoreConnection:
        return _TcpConnection(
            host=address.host, port=address.port, tls=self._tls, **self._sentinel_login, **self._common
        )


class StoreConnection(AbstractConnection):
    """A connection of redis-py that ends at once.

    Closing politely would first wait until the peer took what was sent: a black hole never does.
    """

    async def connect(self) -> None:
        await super().connect()  # type: ignore[no-untyped-call]  # redis-py's

    async def disconnect(
        self,
        nowait: bool = True,  # noqa: ARG002, FBT001, FBT002 - redis-py's signature
        error: Exception | None = None,
        failure_count: int | None = None,
        health_check_failed: bool = False,  # noqa: FBT001, FBT002 - redis-py's signature
    ) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        await super().disconnect(True, error, failure_count, health_check_failed)

    def cut(self) -> None:
        """`disconnect` for where nothing can be awaited."""
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = self._reader = None
        self._parser.on_disconnect()  # type: ignore[no-untyped-call]  # redis-py's

    async def fit(self) -> bool:
        """Whether the peer has not hung up and nothing is left over from an earlier answer."""
        return self._writer is not None and not self._writer.is_closing() and not await self.can_read()

    async def ask(self, *command: str | bytes | float) -> Any:
        """The answer to one command."""
        await self.send_command(*command)
        return await self.read_response()


class _TcpConnection(StoreConnection, Connection):
    """Shares one TLS context: redis-py would read the CAs' file on the loop for each connection."""

    def __init__(self, *, tls: ssl.SSLContext | None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._tls = tls

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {**super()._connection_arguments(), "ssl": self._tls}


class _SocketConnection(StoreConnection, UnixDomainSocketConnection):
    pass


def resolve(reference: str, field: str, env: Mapping[str, str]) -> str:
    """What "env:NAME" or "file:PATH" stands for; a file's last line break is not part of it.

    Raises:
        BadStoreUrlError: it stands for nothing.
    """
    kind, colon, name = reference.partition(":")
    if kind == "env" and colon:
        if not (value := env.get(name)):
            raise BadStoreUrlError(f"{field}: the environment has no {name}")
        return value
    if kind == "file" and colon:
        try:
            value = Path(name).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not text"
            raise BadStoreUrlError(f"{field}: cannot read {name}: {why}") from None
        if not value:
            raise BadStoreUrlError(f"{field}: {name} is empty")
        return value
    raise BadStoreUrlError(f"{field}: expected a reference, env:NAME or file:PATH")


def open_client(url: str, *, timeout_s: float) -> redis.Redis:
    """redis-py's own client of one server, for whoever looks into a store beside the router."""
    parsed = parse_store_url(url)
    place: dict[str, Any] = {"unix_socket_path": parsed.path}
    if parsed.addresses:
        place = parsed.addresses[0]._asdict()
    return redis.Redis(
        **place,
        db=parsed.db,
        username=parsed.username,
        password=parsed.password,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


def _login(
    user: str | None,
    password: str | None,
    prefix: str,
    env: Mapping[str, str],
    *,
    otherwise: tuple[str | None, str | None] = (None, None),
) -> dict[str, str | None]:
    """Keywords of a connection; what is configured wins over what stands in the URL."""
    if user is not None and user.startswith(("env:", "file:")):
        user = resolve(user, f"{prefix}_username", env)
    if password is not None:
        password = resolve(password, f"{prefix}_password", env)
    return {"username": user or otherwise[0], "password": password or otherwise[1]}


def _tls_context(url: StoreUrl, options: StoreOptions) -> ssl.SSLContext | None:
    names = ("ca_certs", "certfile", "keyfile", "check_hostname")
    changes = {name: value for name in names if (value := getattr(options, f"ssl_{name}")) is not None}
    if url.tls is None:
        if changes:
            raise BadStoreUrlError(f"redis_ssl_{min(changes)} needs TLS: rediss:// in place of redis://")
        return None
    tls = replace(url.tls, **changes)
    if tls.keyfile and not tls.certfile:
        raise BadStoreUrlError("ssl_keyfile without ssl_certfile")
    try:
        context = ssl.create_default_context(cafile=tls.ca_certs, capath=tls.ca_path)
        if tls.certfile:
            # Without a password a key that needs one would be asked for on the terminal.
            context.load_cert_chain(tls.certfile, tls.keyfile, password="")
    except OSError as error:
        files = ", ".join(f for f in (tls.ca_certs, tls.ca_path, tls.certfile, tls.keyfile) if f)
        raise BadStoreUrlError(f"the files of TLS cannot be used ({files}): {error.strerror or error}") from None
    context.check_hostname = tls.check_hostname and tls.cert_reqs == "required"
    context.verify_mode = _VERIFY[tls.cert_reqs]
    return context


@asynccontextmanager
async def reach(what: str, timeout_s: float) -> AsyncIterator[Bound]:
    """Bounds what is done inside and turns every failure of the store into `StoreUnavailable`."""
    try:
        async with Bound(timeout_s) as bound:
            yield bound
    except TimeoutError:
        raise StoreUnavailable(f"{what}: the state store did not answer within {timeout_s:g} s") from None
    except (RedisError, OSError) as error:
        refused = any(isinstance(e, AuthenticationError | NoPermissionError) for e in (error, error.__cause__))
        why = "the state store refuses our credentials" if refused else type(error).__name__
        raise StoreUnavailable(f"{what}: {why}: {error}") from error
