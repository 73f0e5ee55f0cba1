"""Admin calls as an operator's tool makes them: read the version, write, say what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import grpc
import grpc.aio
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from bench.state.site import MODEL, Router
from router.v1 import admin_pb2 as pb
from router.v1 import inference_pb2

CALL_LIMIT_S = 10.0
ASK_AGAIN_S = 0.001
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Attempted:
    """A write that was tried: `reason` is empty when it was acknowledged."""

    took_s: float
    reason: str = ""
    status: str = ""
    version: int = 0
    fleet_version: int = 0


async def price_version(router: Router, backend: str) -> int:
    """The version of a backend's prices, as this replica has them; 0 when it has none."""
    listed = await router.admin.ListPrices(pb.ListPricesRequest(backend=backend), timeout=CALL_LIMIT_S)
    return max((entry.version for entry in listed.prices), default=0)


async def price_of(router: Router, backend: str) -> float:
    """What an input token costs there."""
    listed = await router.admin.ListPrices(pb.ListPricesRequest(backend=backend), timeout=CALL_LIMIT_S)
    return float(listed.prices[0].price.input_usd_per_mtok) if listed.prices else 0.0


def price(backend: str, usd: float) -> pb.Price:
    return pb.Price(backend=backend, input_usd_per_mtok=usd, output_usd_per_mtok=usd, source="benchmark")


async def set_price(router: Router, backend: str, usd: float, *, expected: int) -> Attempted:
    """Never raises what a router answers; it is in what came of it."""
    began = time.perf_counter()
    try:
        request = pb.SetPriceRequest(price=price(backend, usd), expected_version=expected)
        answer = await router.admin.SetPrice(request, timeout=CALL_LIMIT_S)
    except grpc.aio.AioRpcError as error:
        return Attempted(time.perf_counter() - began, reason_of(error), error.code().name)
    return Attempted(time.perf_counter() - began, version=answer.entry.version, fleet_version=answer.fleet_version)


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The reason code of an error, or its status where it has none."""
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status is not None else ():
        if detail.Unpack(info):
            return str(info.reason)
    return str(error.code().name)


async def chosen(router: Router) -> str:
    """Whom this replica would send a request to now."""
    shape = inference_pb2.RequestShape(model=MODEL, input_tokens=500)
    answer = await router.inference.Explain(inference_pb2.ExplainRequest(shape=shape), timeout=CALL_LIMIT_S)
    return str(answer.decision.backend)


async def until(
    read: Callable[[], Awaitable[Value]], condition: Callable[[Value], bool], *, pause_s: float = ASK_AGAIN_S
) -> Value:
    """Asks again and again, since another process tells no event, until the answer meets the condition."""
    while not condition(value := await read()):  # noqa: ASYNC110 - the state is another process's
        await asyncio.sleep(pause_s)
    return value
