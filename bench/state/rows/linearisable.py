"""Four clients change the same few documents at random while replicas and the store are killed: nothing gets lost.

Method. Each client in turn picks a replica, a document and a change, mostly with the version that the replica has and
sometimes with an old one. Meanwhile replicas are killed -9 and started again, and so is the store, which keeps what it
acknowledged. Every write carries its own name. When all is quiet the change stream and the history are read whole and
held against what each client was told and when (`bench.state.linear`): each acknowledged write is recorded exactly
once, at the version that was told, none that was refused is, versions go on by one, and whoever was answered before
another asked comes first. A run that fails is made again with half the operations, as long as it fails.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass

from bench.state.lab import Lab
from bench.state.linear import Outcome, violations
from bench.state.operators import Operators, recorded
from bench.state.row import Findings, Row
from bench.state.rows.outage import connected
from bench.state.site import Replicas, Router, Site
from simulation.stores import StoreServer, start_standalone

CLIENTS = 4
REPLICAS = 3
SEED = 20261123
KILL_EVERY_S = 0.8
LEAST = 10


@dataclass(slots=True)
class Killer:
    """Kills a replica or the store, and starts it again, at times of its own."""

    replicas: Replicas
    store: StoreServer
    rng: random.Random
    kills: Counter[str]
    names: list[str]

    def alive(self) -> list[Router]:
        return [self.replicas[name] for name in self.names]

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self.rng.uniform(0.1, KILL_EVERY_S))
            if self.rng.random() < 0.3:
                self.kills["store"] += 1
                await self.store.kill()
                await self.store.start()
                continue
            name = self.rng.choice(self.names)
            self.kills["replica"] += 1
            # Not asked from now on; what is on its way there is cut off.
            self.names.remove(name)
            await self.replicas.kill(name)
            await self.replicas.start(name)
            self.names.append(name)


async def once(lab: Lab, seed: int, operations: int) -> tuple[list[str], Counter[str], Counter[str]]:
    """What cannot be, how the calls ended, and what was killed."""
    rng = random.Random(seed)
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(lab.upstream())
        store = await stack.enter_async_context(start_standalone(aof=True))
        site = Site.build(lab, upstream, dispatch={"probe_interval_s": 30})
        replicas = await stack.enter_async_context(Replicas(site, store.url))
        names = [f"r{n}" for n in range(REPLICAS)]
        for name in names:
            await replicas.start(name)
        killer = Killer(replicas, store, random.Random(rng.getrandbits(64)), Counter(), names)
        policies = (site.config / "policies.yaml").read_text("utf-8")
        operators = Operators(killer.alive, rng, policies)
        killing = asyncio.create_task(killer.run())
        try:
            await operators.run(clients=CLIENTS, operations=operations)
        finally:
            killing.cancel()
            await asyncio.gather(killing, return_exceptions=True)
        if await store_is_down(store):
            await store.start()
        fresh = await replicas.start("fresh")
        await connected(replicas)
        changes, revisions = await recorded(fresh)
    ended = Counter(str(call.outcome) for call in operators.calls)
    ended.update({f"of these {reason}": count for reason, count in operators.reasons.items()})
    return violations(operators.calls, changes, revisions), ended, killer.kills


async def store_is_down(store: StoreServer) -> bool:
    """The killer may have been stopped between its kill and its start."""
    try:
        await store.call("PING")
    except Exception:  # noqa: BLE001 - whatever it says: it does not answer
        return True
    return False


async def run(lab: Lab, findings: Findings) -> None:
    operations, runs = 1_000, lab.pick(10, 1)
    found: list[str] = []
    ended: Counter[str] = Counter()
    kills: Counter[str] = Counter()
    for n in range(runs):
        lab.say(f"{operations} operations, seed {SEED + n}")
        wrong, how, killed = await once(lab, SEED + n, operations)
        found += wrong
        ended += how
        kills += killed
        if wrong:
            await _shrink(lab, findings, SEED + n, operations)
    findings.none("violations of one order of all writes", found)
    findings.holds(
        "writes", ", ".join(f"{count:,} {name}" for name, count in ended.most_common()),
        reached=ended[Outcome.ACKNOWLEDGED] > 0, bound="some acknowledged",
    )  # fmt: skip
    findings.figure("killed -9 meanwhile", ", ".join(f"{name} {count}x" for name, count in kills.items()) or "none")
    findings.note(f"{CLIENTS} clients, {REPLICAS} replicas, seeds {SEED} to {SEED + runs - 1}")


async def _shrink(lab: Lab, findings: Findings, seed: int, operations: int) -> None:
    """The fewest operations, halving, with which it still fails: timing is not ours to repeat, chance is."""
    while operations >= 2 * LEAST:
        operations //= 2
        lab.say(f"it failed; again with {operations} operations")
        wrong, _, _ = await once(lab, seed, operations)
        if not wrong:
            break
        findings.note(f"seed {seed} fails with {operations} operations too: {wrong[0]}")


ROWS = (
    Row(
        name="linearisable",
        title="1,000 random concurrent admin operations from 4 clients, with kills",
        does="changes the same documents from four clients while replicas and the store are killed",
        run=run,
    ),
)
