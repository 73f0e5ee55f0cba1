"""What was used and what it cost: `router.v1.UsageService` on the admin port, answered from the store in pages."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from router.api import rescue
from router.api.inference_service import request_id_of
from router.clock import Clock
from router.domain.usage import UsageRow
from router.errors import InvalidRequest, StoreUnavailable, Violation
from router.v1 import usage_pb2 as pb
from router.v1 import usage_pb2_grpc

MAX_RANGE_S = 366 * 86_400
_DAY_S = 86_400
_PAGE = 500

Context = grpc.aio.ServicerContext[Any, Any]


class UsageReader(Protocol):
    """`router.state.usage.UsageStore` is one."""

    def rows(
        self, from_hour: int, to_hour: int, *, tenant: str = "", model: str = "", backend: str = ""
    ) -> AsyncIterator[UsageRow]:
        """The hours that begin in [from_hour, to_hour), in order of time."""
        ...


class UsageService(usage_pb2_grpc.UsageServiceServicer):
    """`connected` tells whether the store is there: while it is known to be away, a call is refused at once."""

    def __init__(self, usage: UsageReader, clock: Clock, *, connected: Callable[[], bool] = lambda: True) -> None:
        self._usage = usage
        self._clock = clock
        self._connected = connected

    async def ListUsage(self, request: pb.ListUsageRequest, context: Context) -> None:
        """Writes to the context, as the other streams do: each write waits for the client to keep up."""
        try:
            async for page in self._pages(request):
                await context.write(page)
        except grpc.aio.InternalError:
            return  # the caller went away while a page waited for it
        except Exception as error:  # noqa: BLE001 - the outermost frame: rescue decides, and logs what nobody foresaw
            await rescue.abort(context, error, request_id_of(context))

    async def _pages(self, request: pb.ListUsageRequest) -> AsyncIterator[pb.ListUsageResponse]:
        begin, end = self._range(request)
        if not self._connected():
            raise StoreUnavailable("the state store is away: usage cannot be read")
        page: list[pb.UsageRow] = []
        async for row in self._usage.rows(
            begin, end, tenant=request.tenant, model=request.model, backend=request.backend
        ):
            page.append(encode(row))
            if len(page) == _PAGE:
                yield pb.ListUsageResponse(rows=page)
                page = []
        if page:
            yield pb.ListUsageResponse(rows=page)

    def _range(self, request: pb.ListUsageRequest) -> tuple[int, int]:
        """The hours that are asked for, as [begin, end) in Unix seconds."""
        now = self._clock.time()
        # An hour belongs to the range when it begins in it, so a fraction of a second rounds up at both ends.
        end = _seconds(request.to) if request.HasField("to") else math.floor(now) + 1
        begin = _seconds(getattr(request, "from")) if request.HasField("from") else math.floor(now) // _DAY_S * _DAY_S
        if begin < 0:
            raise InvalidRequest(Violation("from", "must not be before 1970"))
        if begin > end:
            raise InvalidRequest(Violation("from", "must not be after 'to'"))
        if end - begin > MAX_RANGE_S:
            raise InvalidRequest(Violation("from", f"must be at most {MAX_RANGE_S // _DAY_S} days before 'to'"))
        return begin, end


def encode(row: UsageRow) -> pb.UsageRow:
    totals = row.totals
    return pb.UsageRow(
        hour=Timestamp(seconds=row.key.hour),
        tenant=row.key.tenant,
        model=row.key.model,
        backend=row.key.backend,
        requests=totals.requests,
        attempts=totals.attempts,
        failed_attempts=totals.failed_attempts,
        input_tokens=totals.input_tokens,
        cached_input_tokens=totals.cached_input_tokens,
        output_tokens=totals.output_tokens,
        reasoning_tokens=totals.reasoning_tokens,
        cost_nano_usd=totals.cost_nano_usd,
        energy_j=totals.energy_mj / 1e3,
    )


def _seconds(at: Timestamp) -> int:
    return int(at.seconds) + (1 if at.nanos else 0)
