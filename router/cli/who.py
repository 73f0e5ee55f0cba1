"""Who makes a change, as the history of the configuration names them: the user and the machine of the program."""

from __future__ import annotations

import getpass
import re
import socket
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import grpc

ACTOR_KEY = "x-actor"
_NOT_SENT = re.compile(r"[^\x20-\x7e]")
_Details = namedtuple(  # noqa: PYI024 - grpc reads these attributes, whatever their types
    "_Details", ("method", "timeout", "metadata", "credentials", "wait_for_ready", "compression")
)


def actor() -> str:
    """`user@machine`."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):
        user = "unknown"  # a container may run as a number that nobody has a name for
    return _NOT_SENT.sub("?", f"{user}@{socket.gethostname()}")[:128]


class _Named(grpc.UnaryUnaryClientInterceptor):
    def __init__(self, name: str) -> None:
        self._name = name

    def intercept_unary_unary(
        self, continuation: Callable[[Any, Any], Any], client_call_details: Any, request: Any
    ) -> Any:
        details = client_call_details
        named = _Details(
            method=details.method,
            timeout=details.timeout,
            metadata=[*(details.metadata or ()), (ACTOR_KEY, self._name)],
            credentials=details.credentials,
            wait_for_ready=details.wait_for_ready,
            compression=details.compression,
        )
        return continuation(named, request)


def named(channel: grpc.Channel) -> grpc.Channel:
    """The channel, whose calls say who makes them."""
    return grpc.intercept_channel(channel, _Named(actor()))
