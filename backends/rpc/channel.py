"""A connection to one gRPC server, opened when it is first used and closed by who made it.

Methods are called by their paths with message classes of our own, so that no generated stub of another package is
needed. Nothing is read from the process's environment: no proxy, and no retries that nobody asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from backends.errors import ConnectFailed, ProtocolViolation
from backends.rpc.options import SCHEMES

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
_TLS = frozenset({"https", "grpcs"})

Request = TypeVar("Request", bound=Message)
Answer = TypeVar("Answer", bound=Message)
Metadata = Sequence[tuple[str, str]]


class Method(Generic[Request, Answer]):
    """One method of a service.

    Attributes:
        path: "/package.Service/Method".
        request: the class of what is sent.
        answer: the class of what comes back.
        is_bidirectional: requests are a stream too.
    """

    __slots__ = ("answer", "is_bidirectional", "path", "request")

    def __init__(
        self, path: str, request: type[Request], answer: type[Answer], *, is_bidirectional: bool = False
    ) -> None:
        self.path = path
        self.request = request
        self.answer = answer
        self.is_bidirectional = is_bidirectional


class Channel:
    """A lazily opened channel.

    Args:
        base_url: scheme, host and port; http and grpc are plain, https and grpcs are TLS.
        default_port: where the address names none.
        connect_timeout_s: of one attempt to connect.
        ca_file: PEM certificates to trust instead of gRPC's own.

    Raises:
        ValueError: when made, for an address or a file that is not valid.
    """

    def __init__(
        self, base_url: str, *, default_port: int, connect_timeout_s: float, ca_file: str | None = None
    ) -> None:
        self.target, self._is_tls = _target(base_url, default_port)
        self._roots = _read(ca_file) if ca_file is not None else None
        connect_ms = max(1, round(connect_timeout_s * 1000))
        self._options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.min_reconnect_backoff_ms", connect_ms),  # is the limit of an attempt as well
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", max(1000, connect_ms)),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_retries", 0),
            ("grpc.enable_http_proxy", 0),
            ("grpc.primary_user_agent", "inference-router"),
        ]
        self._channel: grpc.aio.Channel | None = None
        self._is_closed = False
        self._calls: dict[str, Any] = {}

    async def ask(
        self, method: Method[Request, Answer], message: Request, *, metadata: Metadata, timeout_s: float
    ) -> Answer:
        """One question, one answer. Raises grpc.aio.AioRpcError, and ProtocolViolation for bytes of another wire."""
        call = self._callable(method.path, "unary_unary", method)
        return parse(method, await call(message, metadata=metadata, timeout=timeout_s))

    def start(self, method: Method[Request, Answer], message: Request, *, metadata: Metadata) -> Any:
        """A call whose answers are a stream, to be read by `parse`. A bidirectional one has yet to be written to."""
        if method.is_bidirectional:
            return self._callable(method.path, "stream_stream", method)(metadata=metadata)
        return self._callable(method.path, "unary_stream", method)(message, metadata=metadata)

    async def aclose(self) -> None:
        channel, self._channel = self._channel, None
        self._is_closed = True
        self._calls.clear()
        if channel is not None:
            await channel.close()

    def _callable(self, path: str, kind: str, method: Method[Request, Answer]) -> Any:
        found = self._calls.get(path)
        if found is None:
            # Answers stay bytes here: gRPC would log one that is not valid, and hand out None.
            found = getattr(self._open(), kind)(path, request_serializer=method.request.SerializeToString)
            self._calls[path] = found
        return found

    def _open(self) -> grpc.aio.Channel:
        if self._is_closed:
            raise ConnectFailed("the backend was closed")
        if self._channel is None:
            if self._is_tls:
                credentials = grpc.ssl_channel_credentials(root_certificates=self._roots)
                self._channel = grpc.aio.secure_channel(self.target, credentials, options=self._options)
            else:
                self._channel = grpc.aio.insecure_channel(self.target, options=self._options)
        return self._channel


def parse(method: Method[Request, Answer], raw: bytes) -> Answer:
    """The message. Raises ProtocolViolation for bytes that are none."""
    try:
        return method.answer.FromString(raw)
    except DecodeError as error:
        raise ProtocolViolation("a message that is not of this wire") from error


def _target(base_url: str, default_port: int) -> tuple[str, bool]:
    try:
        parts = urlsplit(base_url)
        port = parts.port or default_port
    except ValueError as error:
        raise ValueError(f"{base_url!r} is not a URL: {error}") from error
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise ValueError(f"{base_url!r} is no address of a gRPC server: one of {', '.join(sorted(SCHEMES))}, a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a base URL may not hold a user or password; use a credential reference")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"{base_url!r}: a gRPC server has no path")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{port}", parts.scheme in _TLS


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"options.ca_file: {path} cannot be read: {error.strerror}") from error
