"""Clients who change few documents at random, at the same time, at whichever replica; what each was told is kept."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from bench.state import admin
from bench.state.linear import Call, Change, Outcome
from bench.state.site import Router
from router.v1 import admin_pb2 as pb
from router.v1 import config_pb2, tenants_pb2

BACKENDS = ("b-0", "b-1")
EXTRA = ("x-0", "x-1")
TENANTS = ("t-0", "t-1")
POLICIES = "policies"
CALL_S = 4.0
PAUSE_S = 0.06
STALE_SHARE = 0.1
# The router read the request and says that it wrote nothing.
REFUSALS = frozenset({"STALE_VERSION", "ALREADY_EXISTS", "NOT_FOUND", "INVALID_REQUEST", "SHUTTING_DOWN"})

Send = Callable[[Router, "Try"], Awaitable[tuple[int, int]]]


@dataclass(slots=True)
class Try:
    """One write to be sent: under its name, of a document, expecting a version."""

    name: str
    kind: str
    id: str
    expected: int
    number: int

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("x-actor", self.name),)


@dataclass(slots=True)
class Operators:
    """So many clients with one source of chance. `alive` says which replicas may be asked now."""

    alive: Callable[[], list[Router]]
    rng: random.Random
    policies_yaml: str
    calls: list[Call] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    async def run(self, *, clients: int, operations: int) -> None:
        left = iter(range(operations))
        seeds = [self.rng.getrandbits(64) for _ in range(clients)]
        async with asyncio.TaskGroup() as group:
            for seed in seeds:
                group.create_task(self._client(random.Random(seed), left))

    async def _client(self, rng: random.Random, left: Any) -> None:
        seen: dict[tuple[str, str], int] = {}
        for number in left:
            while not (alive := self.alive()):  # noqa: ASYNC110 - replicas come back as processes do
                await asyncio.sleep(0.02)
            router = rng.choice(alive)
            kind, id_, send = self._choose(rng)
            expected = seen.get((kind, id_), 0)
            if rng.random() >= STALE_SHARE:
                expected = await self._version(router, kind, id_, expected)
            one = Try(f"op-{number}", kind, id_, expected, number)
            await self._send(router, one, send, seen)
            await asyncio.sleep(rng.uniform(0.0, PAUSE_S))

    def _choose(self, rng: random.Random) -> tuple[str, str, Send]:
        match rng.randrange(10):
            case 0 | 1 | 2 | 3:
                return "price", f"{rng.choice(BACKENDS)}/", self._price
            case 4 | 5:
                return "backend", rng.choice(BACKENDS), rng.choice((self._drain, self._move))
            case 6 | 7:
                return "backend", rng.choice(EXTRA), rng.choice((self._register, self._register, self._remove))
            case 8:
                return "tenant", rng.choice(TENANTS), self._tenant
            case _:
                return "policies", POLICIES, self._policies

    async def _send(self, router: Router, one: Try, send: Send, seen: dict[tuple[str, str], int]) -> None:
        began = time.perf_counter()
        outcome, version, fleet = Outcome.ACKNOWLEDGED, 0, 0
        try:
            version, fleet = await send(router, one)
            seen[one.kind, one.id] = version
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise
            reason = admin.reason_of(error)
            self.reasons[reason] += 1
            outcome = Outcome.REFUSED if reason in REFUSALS else Outcome.UNKNOWN
        self.calls.append(
            Call(
                name=one.name, kind=one.kind, id=one.id, expected=one.expected, began=began,
                ended=time.perf_counter(), outcome=outcome, version=version, fleet_version=fleet,
            )
        )  # fmt: skip

    async def _version(self, router: Router, kind: str, id_: str, known: int) -> int:
        """As the replica has it; what was known before when it does not answer."""
        try:
            match kind:
                case "price":
                    return await admin.price_version(router, id_.removesuffix("/"))
                case "backend":
                    got = await router.admin.GetBackend(pb.GetBackendRequest(id=id_), timeout=CALL_S)
                    return int(got.backend.version)
                case "tenant":
                    tenant = await router.tenants.GetTenant(tenants_pb2.GetTenantRequest(id=id_), timeout=CALL_S)
                    return int(tenant.tenant.version)
                case _:
                    policies = await router.admin.GetPolicies(pb.GetPoliciesRequest(), timeout=CALL_S)
                    return int(policies.policies.version)
        except grpc.aio.AioRpcError as error:
            return 0 if error.code() is grpc.StatusCode.NOT_FOUND else known

    async def _price(self, router: Router, one: Try) -> tuple[int, int]:
        price = admin.price(one.id.removesuffix("/"), 1.0 + one.number / 1e6)
        request = pb.SetPriceRequest(price=price, expected_version=one.expected)
        answer = await router.admin.SetPrice(request, timeout=CALL_S, metadata=one.metadata)
        return answer.entry.version, answer.fleet_version

    async def _drain(self, router: Router, one: Try) -> tuple[int, int]:
        if one.number % 2:
            drain = pb.DrainBackendRequest(id=one.id, expected_version=one.expected)
            drained = await router.admin.DrainBackend(drain, timeout=CALL_S, metadata=one.metadata)
            return drained.backend.version, drained.fleet_version
        undrain = pb.UndrainBackendRequest(id=one.id, expected_version=one.expected)
        answer = await router.admin.UndrainBackend(undrain, timeout=CALL_S, metadata=one.metadata)
        return answer.backend.version, answer.fleet_version

    async def _move(self, router: Router, one: Try) -> tuple[int, int]:
        spec = await self._spec(router, one)
        request = pb.UpdateBackendRequest(spec=spec, expected_version=one.expected)
        answer = await router.admin.UpdateBackend(request, timeout=CALL_S, metadata=one.metadata)
        return answer.backend.version, answer.fleet_version

    async def _register(self, router: Router, one: Try) -> tuple[int, int]:
        spec = await self._spec(router, one)
        # Whatever was there: if it is gone it may come again.
        one.expected = 0
        request = pb.RegisterBackendRequest(spec=spec, expected_version=0)
        answer = await router.admin.RegisterBackend(request, timeout=CALL_S, metadata=one.metadata)
        return answer.backend.version, answer.fleet_version

    async def _remove(self, router: Router, one: Try) -> tuple[int, int]:
        request = pb.RemoveBackendRequest(id=one.id, expected_version=one.expected)
        answer = await router.admin.RemoveBackend(request, timeout=CALL_S, metadata=one.metadata)
        # A removal answers no version of what is gone: it is the next one.
        return one.expected + 1, answer.fleet_version

    async def _spec(self, router: Router, one: Try) -> pb.BackendSpec:
        got = await router.admin.GetBackend(pb.GetBackendRequest(id=BACKENDS[0]), timeout=CALL_S)
        spec: pb.BackendSpec = got.backend.spec
        spec.id, spec.region = one.id, f"r-{one.number}"
        return spec

    async def _tenant(self, router: Router, one: Try) -> tuple[int, int]:
        spec = tenants_pb2.TenantSpec(id=one.id, name=f"number {one.number}")
        request = tenants_pb2.PutTenantRequest(spec=spec, expected_version=one.expected)
        answer = await router.tenants.PutTenant(request, timeout=CALL_S, metadata=one.metadata)
        return answer.tenant.version, answer.fleet_version

    async def _policies(self, router: Router, one: Try) -> tuple[int, int]:
        text = f"{self.policies_yaml}\n# number {one.number}\n"
        request = pb.SetPoliciesRequest(yaml=text, expected_version=one.expected)
        answer = await router.admin.SetPolicies(request, timeout=CALL_S, metadata=one.metadata)
        return answer.policies.version, answer.fleet_version


async def recorded(router: Router) -> tuple[list[Change], list[tuple[int, str]]]:
    """The whole change stream, and all revisions of the history."""
    newest = (await router.admin.ListBackends(pb.ListBackendsRequest(), timeout=CALL_S)).fleet_version
    changes: list[Change] = []
    watch = router.admin.WatchChanges(pb.WatchChangesRequest(after_version=0), timeout=60.0)
    while not changes or changes[-1].fleet_version < newest:
        c = await watch.read()
        changes.append(Change(fleet_version=c.fleet_version, kind=c.kind, id=c.id, version=c.version, actor=c.actor))
    watch.cancel()
    revisions: list[tuple[int, str]] = []
    before = 0
    while True:
        request = config_pb2.ListHistoryRequest(before_version=before, limit=100)
        page = (await router.config.ListHistory(request, timeout=CALL_S)).revisions
        if not page:
            return changes, revisions
        revisions += [(revision.version, revision.actor) for revision in page]
        before = page[-1].version
