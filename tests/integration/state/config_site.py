"""One replica's ConfigService behind a real gRPC server, for tests of changes of the configuration."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from backends.scripted import ScriptedBackend
from router.api.config_service import ConfigService
from router.clock import SystemClock
from router.dispatch.decider import Decider
from router.dispatch.effect import Effects
from router.dispatch.fleet import Fleet
from router.dispatch.recent import Recent
from router.domain.catalogue import Catalogue
from router.domain.hardware import Hardware, Model
from router.domain.policies import Policies
from router.domain.replica import Beat, Replica
from router.domain.request import RequestProfile
from router.domain.snapshot import FleetSnapshot
from router.prediction.output_length import OutputLength
from router.settings.change import ChangeRules
from router.state.codec import encode
from router.state.runtime import State
from router.v1 import config_pb2 as pb
from router.v1 import config_pb2_grpc

StartReplica = Callable[..., Awaitable[State]]
RULES = ChangeRules(
    catalogue=Catalogue(
        hardware={"chip": Hardware(id="chip", name="Chip", kind="hosted", fixed_ttft_s=0.05, fixed_tpot_s=0.002)},
        models={"m": Model(id="m", context_tokens=8192)},
        aliases={},
        classes={},
    ),
    env={},
)
POLICIES = "default_class: interactive\nclasses: {interactive: {usd_per_s: 1e-5}}\n"


class Two:
    """Two replicas, of which the second acknowledges when it is told to."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.second_follows = True

    @property
    def replicas(self) -> tuple[Replica, ...]:
        version = self._state.view.snapshot.version
        second = version if self.second_follows else 1
        beats = (Beat(replica="r1", fleet_version=version), Beat(replica="r2", fleet_version=second))
        return tuple(Replica(beat=beat, age_s=0.1) for beat in beats)

    async def wait_acknowledged(self, version: int, timeout_s: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
        await self._state.view.wait_version(version, timeout_s=timeout_s)
        there = tuple(replica.id for replica in self.replicas if replica.beat.fleet_version >= version)
        return there, tuple(replica.id for replica in self.replicas if replica.id not in there)


class Site:
    """A client of one replica's ConfigService, and what is behind it."""

    def __init__(self, stub: Any, state: State, fleet: Fleet, recent: Recent, replicas: Two) -> None:
        self.stub = stub
        self.state = state
        self.fleet = fleet
        self.recent = recent
        self.replicas = replicas

    @property
    def config(self) -> tuple[object, ...]:
        """The configuration, without versions."""
        return _config(self.state.view.snapshot)

    async def apply(self, *files: pb.ConfigFile, **fields: Any) -> pb.ApplyResponse:
        request = pb.ApplyRequest(files=files, **fields)
        return await self.stub.Apply(request)  # type: ignore[no-any-return]  # the stub is untyped

    def decide(self, count: int) -> None:
        clock = SystemClock()
        decider = Decider(
            fleet=self.fleet, lengths=OutputLength(), clock=clock, uniform=random.Random(1).random, age=lambda: 0.0
        )
        for number in range(count):
            profile = RequestProfile(request_id=f"r{number}", model="m", input_tokens=100.0)
            self.recent.record(profile, decider.plan(profile), None, "OK")


def _config(snapshot: FleetSnapshot) -> tuple[object, ...]:
    kinds: tuple[dict[Any, Any], ...] = (snapshot.backends, snapshot.prices, snapshot.tenants)
    encoded = [{key: encode(document) for key, document in documents.items()} for documents in kinds]
    return (*encoded, snapshot.policies_yaml)


def fleet_file(*names: str) -> pb.ConfigFile:
    entry = "{{wire: scripted, address: 'http://{}', hardware: chip, models: [{{model: m}}]}}"
    return pb.ConfigFile(
        name="fleet.yaml", text="backends:\n" + "".join(f"  {name}: {entry.format(name)}\n" for name in names)
    )


def price_file(**per_mtok: float) -> pb.ConfigFile:
    listed = ", ".join(
        f"{{backend: {name}, input_usd_per_mtok: {usd}, output_usd_per_mtok: {usd}}}" for name, usd in per_mtok.items()
    )
    return pb.ConfigFile(name="prices.yaml", text=f"prices: [{listed}]\n")


def policy_file(usd_per_s: str = "1e-5") -> pb.ConfigFile:
    return pb.ConfigFile(name="policies.yaml", text=POLICIES.replace("1e-5", usd_per_s))


async def failure(call: Awaitable[Any]) -> tuple[grpc.StatusCode, dict[str, str], list[str], str]:
    """The status of a call that fails, its ErrorInfo metadata, the fields that it names, and the message."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    status = status_pb2.Status.FromString(dict(iter(raised.value.trailing_metadata()))["grpc-status-details-bin"])
    info, fields = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(fields)
    named = [f"{v.field}: {v.description}" for v in fields.field_violations]
    return raised.value.code(), dict(info.metadata), named, str(raised.value.details())


@asynccontextmanager
async def serving(state: State) -> AsyncGenerator[Site]:
    clock = SystemClock()
    fleet = Fleet(catalogue=RULES.catalogue, build_adapter=ScriptedBackend, clock=clock, policies=Policies())
    stop = state.view.on_change(fleet.apply)
    fleet.apply(state.view.snapshot)
    recent, replicas = Recent(), Two(state)
    effects = Effects(recent=recent, fleet=fleet, lengths=OutputLength(), clock=clock)
    service = ConfigService(state.store, state.view, rules=RULES, replicas=replicas, effects=effects, clock=clock)
    server = grpc.aio.server()
    config_pb2_grpc.add_ConfigServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]  # generated
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Site(config_pb2_grpc.ConfigServiceStub(channel), state, fleet, recent, replicas)  # type: ignore[no-untyped-call]  # generated
    await server.stop(1.0)
    stop()
