"""Which server to ask: the only one, the primary that the Sentinels name, or the owner of a key's slot.

Each answers from memory while calls succeed. After a call that failed or was cut off it asks around before the next:
all Sentinels or nodes at once, because any of them may be the one that does not answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from router.state.connection import Dialer
from router.state.node import Node, must_be_primary
from router.state.url import Address

# How long others may take when one has answered: a dead one costs no more, and the one that knows best is heard.
PATIENCE_S = 0.05
MAX_ASKED = 8

T = TypeVar("T")

# First and last slot, and who has them: the primary and then its replicas.
Ranges = tuple[tuple[int, int, tuple[Address, ...]], ...]


class Servers(Protocol):
    """Who is to be asked."""

    async def node(self, key: str | None) -> Node:
        """The server for a key; for none, the one that was asked last."""
        ...

    def redirected(self, error: AskError, by: Node) -> Node:
        """The server that this one says to ask instead; MOVED is for good, ASK for once."""
        ...

    async def stays(self, node: Node) -> bool:
        """Whether nobody is about to put another in its place, as far as can be known."""
        ...

    def failed(self, node: Node) -> None:
        """A call to it ended without an answer, or with one that a primary would not give."""
        ...

    def close(self) -> None: ...


class OneServer:
    """Nothing to find out."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def node(self, key: str | None) -> Node:  # noqa: ARG002 - it holds every key
        return self._node

    def redirected(self, error: AskError, by: Node) -> Node:  # noqa: ARG002 - there is nobody else
        raise _not_alone(error)

    async def stays(self, node: Node) -> bool:  # noqa: ARG002 - nobody tells
        return True

    def failed(self, node: Node) -> None:
        # What is idle may be as dead as the one that failed, and each would cost a call.
        node.retire()

    def close(self) -> None:
        self._node.retire()


@dataclass(frozen=True, slots=True, order=True)
class _Said:
    """What a Sentinel says of the primary. `replacing`: the one that it puts another in the place of."""

    epoch: int
    primary: Address
    replacing: Address | None = field(compare=False)


class SentinelServers:
    """The primary of a service. Sentinels are found at the addresses of the URL only."""

    def __init__(self, dialer: Dialer, sentinels: Sequence[Address], service: str) -> None:
        self._dialer = dialer
        self._service = service
        self._sentinels = [Node(address, partial(dialer.sentinel, address)) for address in sentinels]
        self._primary: Node | None = None
        self._sure = False
        self._looking = asyncio.Lock()

    async def node(self, key: str | None) -> Node:  # noqa: ARG002 - the primary holds every key
        if self._primary is not None and self._sure:
            return self._primary
        async with self._looking:
            if self._primary is None or not self._sure:
                self._primary = self._use(await self._find())
                self._sure = True
            return self._primary

    def redirected(self, error: AskError, by: Node) -> Node:  # noqa: ARG002 - only the Sentinels say where to go
        raise _not_alone(error)

    async def stays(self, node: Node) -> bool:
        """False while a failover is under way.

        When Sentinels replace a primary that lives, it and the replicas that were not chosen go on for a while, and all
        that they write and acknowledge meanwhile is lost.
        """
        said = await self._hear()
        return max(said).primary == node.address and all(s.replacing != node.address for s in said)

    def failed(self, node: Node) -> None:
        node.retire()
        if node is self._primary:
            self._sure = False

    def close(self) -> None:
        for node in (*self._sentinels, self._primary):
            if node is not None:
                node.retire()

    def _use(self, address: Address) -> Node:
        if self._primary is not None:
            if self._primary.address == address:
                return self._primary
            self._primary.retire()
        return Node(address, partial(self._dialer.server, address), greet=must_be_primary)

    async def _find(self) -> Address:
        # Not all hear of a failover at once; the latest configuration has the highest epoch.
        return max(await self._hear()).primary

    async def _hear(self) -> list[_Said]:
        said = [s for s in await ask_around(self._ask(sentinel) for sentinel in self._sentinels) if s is not None]
        if not said:
            asked = ", ".join(str(s.address) for s in self._sentinels)
            raise RedisConnectionError(f"no Sentinel of {asked} names a primary of {self._service!r}")
        return said

    async def _ask(self, sentinel: Node) -> _Said | None:
        async with sentinel.connection() as connection:
            flat = await connection.ask("SENTINEL", "MASTER", self._service)
            # The one that is promoted is named here while the facts above tell of the one that is replaced.
            named = await connection.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
        if named is None:
            return None
        facts = dict(zip(flat[::2], flat[1::2], strict=True))
        failover = b"failover_in_progress" in facts[b"flags"].split(b",")
        return _Said(
            epoch=int(facts[b"config-epoch"]),
            primary=Address(named[0].decode(), int(named[1])),
            replacing=Address(facts[b"ip"].decode(), int(facts[b"port"])) if failover else None,
        )


class ClusterServers:
    """Owners of slots, as the nodes of the cluster tell them; the addresses of the URL are where to begin."""

    def __init__(self, dialer: Dialer, seeds: Sequence[Address]) -> None:
        self._dialer = dialer
        self._seeds = tuple(seeds)
        self._nodes: dict[Address, Node] = {}
        self._ranges: Ranges = ()
        # What MOVED has taught since; the next map replaces it.
        self._moved: dict[int, Address] = {}
        self._last: int | None = None
        self._suspect: Address | None = None
        self._sure = False
        self._looking = asyncio.Lock()

    async def node(self, key: str | None) -> Node:
        slot = self._last = key_slot(key.encode()) if key is not None else self._last
        if not self._sure:
            async with self._looking:
                if not self._sure:
                    await self._learn(slot)
        address = self._moved.get(slot) if slot is not None else None
        if address is None:
            address = _owner(self._ranges, slot)
        if address is None:
            self._sure = False
            raise RedisConnectionError("no node of the cluster owns the slot")
        return self._at(address)

    def redirected(self, error: AskError, by: Node) -> Node:
        host = error.host if error.host not in {"", "?"} or by.address is None else by.address.host
        address = Address(host, error.port)
        if isinstance(error, MovedError):
            self._moved[error.slot_id] = address
        return self._at(address)

    async def stays(self, node: Node) -> bool:  # noqa: ARG002 - a failover of a living one waits for its replica
        return True

    def failed(self, node: Node) -> None:
        node.retire()
        self._suspect = node.address
        self._sure = False

    def close(self) -> None:
        for node in self._nodes.values():
            node.retire()

    async def _learn(self, slot: int | None) -> None:
        members = [address for *_, addresses in self._ranges for address in addresses]
        known = list(dict.fromkeys((*members, *self._seeds)))
        # The suspect last: it is the least likely to answer, and MAX_ASKED bounds who is asked.
        known.sort(key=lambda address: address == self._suspect)
        maps = await ask_around(self._ask(self._at(address)) for address in known[:MAX_ASKED])
        maps = [ranges for ranges in maps if ranges]
        if not maps:
            raise RedisConnectionError(f"no slots are served ({', '.join(map(str, known[:MAX_ASKED]))})")
        # A map with another owner than the one that failed is the newer one. Where it is not, MOVED says so.
        told = [ranges for ranges in maps if _owner(ranges, slot) not in {None, self._suspect}]
        self._ranges, self._moved, self._suspect, self._sure = (told or maps)[0], {}, None, True
        kept = {address for *_, addresses in self._ranges for address in addresses} | set(self._seeds)
        for address in self._nodes.keys() - kept:
            self._nodes.pop(address).retire()

    async def _ask(self, node: Node) -> Ranges:
        async with node.connection() as connection:
            slots = await connection.ask("CLUSTER", "SLOTS")
        ranges: list[tuple[int, int, tuple[Address, ...]]] = []
        for first, last, *members in slots:
            # A node that does not know its own name leaves it out: it is the one that answers.
            hosts = [(host or b"").decode() or (node.address.host if node.address else "") for host, *_ in members]
            ports = [int(port) for _, port, *_ in members]
            ranges.append((first, last, tuple(map(Address, hosts, ports))))
        return tuple(ranges)

    def _at(self, address: Address) -> Node:
        if (node := self._nodes.get(address)) is None:
            node = self._nodes[address] = Node(address, partial(self._dialer.server, address))
        return node


def _owner(ranges: Ranges, slot: int | None) -> Address | None:
    """The primary of a slot; of any slot when that is None."""
    for first, last, addresses in ranges:
        if slot is None or first <= slot <= last:
            return addresses[0]
    return None


def _not_alone(error: AskError) -> RedisError:
    return RedisError(f"the server is a node of a cluster (slot {error.slot_id}): name it by redis+cluster://")


async def ask_around(questions: Iterable[Coroutine[Any, Any, T]], *, patience_s: float = PATIENCE_S) -> list[T]:
    """Asks all at once; the answers of those who answered, when one has and the others had `patience_s` more.

    Raises:
        RedisError, OSError: nobody answered; an answer that was an error is told rather than a broken connection.
    """
    tasks = [asyncio.create_task(question) for question in questions]
    try:
        for first in asyncio.as_completed(tasks):
            try:
                await first
            except (RedisError, OSError):
                continue
            await asyncio.wait(tasks, timeout=patience_s)
            break
        done = [task for task in tasks if task.done()]
        errors = [error for task in done if (error := task.exception()) is not None]
        answers = [task.result() for task in done if task.exception() is None]
        if not answers:
            raise min(errors, key=_plain)
        return answers
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _plain(error: BaseException) -> bool:
    """Whether it only says that a connection failed."""
    return type(error) in {RedisConnectionError, OSError}
