"""The one way to the store's server: a bounded call of a command or a script, whatever kind of server it is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from router.errors import StoreUnavailable
from router.state.bound import Bound
from router.state.connection import Dialer, StoreConnection, StoreOptions, reach
from router.state.lua import Script
from router.state.node import Node
from router.state.topology import ClusterServers, OneServer, SentinelServers, Servers
from router.state.url import StoreUrl, Topology, parse_store_url

TIMEOUT_S = 0.7
# Of a call's time, so much is left for the answer that replicas are missing: servers look for waits that are over ten
# times a second.
_WAIT_MARGIN_S = 0.15
_HOPS_AT_ONCE = 2
_HOP_PAUSE_S = 0.01
_WITHOUT_KEY = frozenset({"CLIENT", "CONFIG", "DBSIZE", "FLUSHALL", "INFO", "PING", "ROLE", "SCAN", "SCRIPT", "TIME"})
_KEY_AFTER_WORD = frozenset({"MEMORY", "OBJECT", "XGROUP", "XINFO"})
_KEY_AFTER_STREAMS = frozenset({"XREAD", "XREADGROUP"})

Argument = str | bytes | int | float


@dataclass(frozen=True, slots=True)
class _Turn:
    """One try of a call: a connection of the server to ask, until when, and whether its slot is still on the way."""

    node: Node
    connection: StoreConnection
    bound: Bound
    asking: bool

    async def ask(self, *command: Argument) -> Any:
        if self.asking:
            # Holds for the next command of this connection only.
            await self.connection.ask("ASKING")
        return await self.connection.ask(*command)


class StoreClient:
    """Every call ends within its bound, well or with `StoreUnavailable`.

    None is tried again, but at another node of a cluster, or a little later, where the server says that it did nothing.
    All keys of a call must be in one namespace, which is one slot of a cluster.
    """

    def __init__(self, servers: Servers, *, acknowledge_replicas: int = 0, timeout_s: float = TIMEOUT_S) -> None:
        self._servers = servers
        self._acknowledge_replicas = acknowledge_replicas
        self.timeout_s = timeout_s

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        options: StoreOptions | None = None,
        timeout_s: float = TIMEOUT_S,
        env: Mapping[str, str] = os.environ,
    ) -> Self:
        """A client of any URL that `router.state.url` describes; connections are made when they are needed.

        Args:
            url: of the store.
            options: what is configured beside the URL.
            timeout_s: bound of a call that names none.
            env: what references of the options are looked up in.

        Raises:
            router.state.connection.BadStoreUrlError: the URL or the options cannot be used.
        """
        options = options or StoreOptions()
        parsed = parse_store_url(url)
        dialer = Dialer(parsed, options, env)
        servers: Servers
        match parsed.topology:
            case Topology.SENTINEL:
                servers = SentinelServers(dialer, parsed.addresses, parsed.service)
            case Topology.CLUSTER:
                servers = ClusterServers(dialer, parsed.addresses)
            case Topology.ALONE:
                servers = OneServer(_only_node(dialer, parsed))
        replicas = options.acknowledge_replicas
        if replicas is None:
            replicas = int(parsed.topology is Topology.SENTINEL)
        return cls(servers, acknowledge_replicas=replicas, timeout_s=timeout_s)

    async def run(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Argument],
        *,
        what: str,
        timeout_s: float | None = None,
        replicated: bool = False,
    ) -> Any:
        """The answer of a script.

        Args:
            script: sent whole only to a server that does not have it yet.
            keys: KEYS.
            args: ARGV.
            what: what is being done, for the error.
            timeout_s: instead of the client's bound.
            replicated: answer only when as many replicas as configured have it too, and no failover is under way.

        Raises:
            StoreUnavailable: no good answer in time. It may have been carried out all the same.
        """

        async def exchange(turn: _Turn) -> Any:
            try:
                answer = await turn.ask("EVALSHA", script.sha, len(keys), *keys, *args)
            except NoScriptError:
                answer = await turn.ask("EVAL", script.text, len(keys), *keys, *args)
            if replicated:
                await self._acknowledged(turn, what)
            return answer

        return await self._reach(keys[0] if keys else None, exchange, what, timeout_s)

    async def call(self, *command: Argument, what: str, timeout_s: float | None = None) -> Any:
        """The answer of one command, as the server's protocol has it: bytes, integers, lists, None.

        A command without a key goes where the last one with a key went.

        Raises:
            StoreUnavailable: no good answer in time.
        """

        async def exchange(turn: _Turn) -> Any:
            return await turn.ask(*command)

        return await self._reach(first_key(command), exchange, what, timeout_s)

    async def aclose(self) -> None:
        self._servers.close()
        # Connections that were cut end in the next turn of the loop.
        await asyncio.sleep(0)

    async def _reach(
        self, key: str | None, exchange: Callable[[_Turn], Awaitable[Any]], what: str, timeout_s: float | None
    ) -> Any:
        async with reach(what, timeout_s or self.timeout_s) as bound:
            node = await self._servers.node(key)
            asking = False
            hops = 0
            while True:
                try:
                    async with node.connection() as connection:
                        return await exchange(_Turn(node, connection, bound, asking))
                except AskError as error:
                    asking = not isinstance(error, MovedError)
                    node = self._servers.redirected(error, node)
                except TryAgainError:
                    hops = _HOPS_AT_ONCE
                except BaseException as error:
                    if _leaves_doubt(error):
                        self._servers.failed(node)
                    raise
                hops += 1
                if hops > _HOPS_AT_ONCE:
                    # The slot is on its way, and the nodes do not agree yet where it is.
                    await asyncio.sleep(_HOP_PAUSE_S)

    async def _acknowledged(self, turn: _Turn, what: str) -> None:
        """WAIT counts the replicas that have what this very connection wrote."""
        wanted = self._acknowledge_replicas
        if not wanted:
            return
        wait_s = max(turn.bound.left_s - _WAIT_MARGIN_S, turn.bound.left_s / 2)
        # A timeout of 0 would be none.
        have = await turn.connection.ask("WAIT", wanted, max(1, int(wait_s * 1000)))
        if have < wanted:
            raise StoreUnavailable(f"{what}: written, but not on {wanted} replicas: {have} have it")
        if not await self._servers.stays(turn.node):
            raise StoreUnavailable(f"{what}: written, but on a primary that is being replaced")


def _only_node(dialer: Dialer, url: StoreUrl) -> Node:
    if url.path:
        return Node(None, dialer.socket)
    return Node(url.addresses[0], partial(dialer.server, url.addresses[0]))


def _leaves_doubt(error: BaseException) -> bool:
    """Whether the server may not be, or no longer be, the one to ask: anything but an answer of a serving primary."""
    if isinstance(error, ReadOnlyError | ClusterDownError):
        return True
    # A blocked reader is sent away with this when its server stops being the primary.
    return not isinstance(error, ResponseError) or str(error).startswith("UNBLOCKED")


def first_key(command: Sequence[Argument]) -> str | None:
    """The key by which a cluster finds the node for a command; None where it has none."""
    name = _text(command[0]).upper()
    if name in _WITHOUT_KEY:
        return None
    at = 2 if name in _KEY_AFTER_WORD else 1
    if name in _KEY_AFTER_STREAMS:
        at = [_text(part).upper() for part in command].index("STREAMS") + 1
    return _text(command[at]) if len(command) > at else None


def _text(part: Argument) -> str:
    return part.decode(errors="replace") if isinstance(part, bytes) else str(part)
