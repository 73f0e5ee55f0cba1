"""The gRPC face of the director: one handler per method of `router.v1.InferenceService`.

`Generate` writes to its context instead of yielding: when a client cancels while a message is being written, grpc.aio
leaves an asynchronous generator suspended until the garbage collector finds it, but it cancels a coroutine at once, and
leaving `aclosing` closes the director's generator, and with it the upstream. Each write waits until the transport has
taken the message, so a client that stops reading stops the upstream from being read; nothing is queued here.

Request ids, deadlines and statuses are functions called by the handlers, not interceptors: grpc.aio asks every
interceptor for a handler on every call and wraps it anew, and each wrapper adds a frame to every message.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Any, cast

import grpc.aio

from router.api import rescue
from router.api.authenticate import Authenticator
from router.api.rescue import REQUEST_ID_KEY
from router.api.wire.proto_profile import decode_generate, decode_profile
from router.api.wire.proto_report import decode_report
from router.api.wire.proto_response import encode_decision, encode_event, encode_models, encode_pick
from router.api.wire.proto_why import encode_why_not
from router.clock import Clock
from router.dispatch.directing import Directing
from router.dispatch.events import Chunk, ServeEvent
from router.domain.request import RequestProfile
from router.domain.tenant import DEFAULT_TENANT
from router.errors import RouterError, ShuttingDown
from router.v1 import inference_pb2 as pb
from router.v1 import inference_pb2_grpc

_REQUEST_ID = re.compile(r"[\x20-\x7e]{1,128}")

Context = grpc.aio.ServicerContext[Any, Any]


def request_id_of(context: Context) -> str:
    """The caller's id where it is printable and not long, else a new one."""
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID_KEY and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
            return value
    return uuid.uuid4().hex


class _Call:
    """The frame around a handler: the request id, and the status of what went wrong.

    The id is in the trailing metadata: sending the initial metadata by itself costs one more turn of C-core's threads.
    """

    __slots__ = ("context", "request_id")

    def __init__(self, context: Context) -> None:
        self.context = context
        self.request_id = request_id_of(context)

    async def __aenter__(self) -> str:
        self.context.set_trailing_metadata(((REQUEST_ID_KEY, self.request_id),))
        return self.request_id

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            await rescue.abort(self.context, error, self.request_id)


async def _send(events: AsyncGenerator[ServeEvent], context: Context, *, explain: bool) -> None:
    """Writes each event; the chunk that ends the answer travels in one message with what is said of the whole."""
    held: pb.GenerateResponse | None = None
    try:
        async for event in events:
            message = encode_event(event, explain=explain)
            if message is None:
                continue
            if held is not None:
                last, held = held, None
                if message.HasField("finished"):
                    last.finished.CopyFrom(message.finished)
                    message = last
                else:
                    await context.write(last)
            if isinstance(event, Chunk) and event.finish_reason is not None:
                held = message
            else:
                await context.write(message)
    except RouterError:
        if held is not None:
            await context.write(held)
        raise


class InferenceService(inference_pb2_grpc.InferenceServiceServicer):
    """Translates; the director decides. Without an authenticator everybody is the default tenant."""

    def __init__(self, director: Directing, clock: Clock, authenticator: Authenticator | None = None) -> None:
        self._director = director
        self._clock = clock
        self._authenticator = authenticator
        self._streams: set[asyncio.Task[Any]] = set()
        self._cut_off = False

    def cut_off(self) -> None:
        """Ends every stream with SHUTTING_DOWN; the server by itself would end them without a word of why."""
        self._cut_off = True
        for task in tuple(self._streams):
            task.cancel()

    async def Generate(self, request: pb.GenerateRequest, context: Context) -> None:
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._streams.add(task)
        try:
            async with _Call(context) as request_id:
                tenant = self._tenant(context)
                deadline_s = self._deadline_s(context)
                content, profile = decode_generate(request, request_id=request_id, deadline_s=deadline_s, tenant=tenant)
                async with aclosing(self._director.serve(content, profile)) as events:
                    try:
                        await _send(events, context, explain=profile.explain)
                    except grpc.aio.InternalError:
                        return  # the call ended while a message waited for its reader: nobody is left to be told
                    except asyncio.CancelledError:
                        if not self._cut_off or context.cancelled():
                            raise
                        task.uncancel()
                        message = "the router is shutting down and could not wait for this answer"
                        raise ShuttingDown(message) from None
        finally:
            self._streams.discard(task)

    async def Pick(self, request: pb.PickRequest, context: Context) -> pb.PickResponse:
        async with _Call(context) as request_id:
            profile = self._profile(request, request_id, context)
            return encode_pick(self._director.pick(profile), explain=profile.explain)

    async def Report(self, request: pb.ReportRequest, context: Context) -> pb.ReportResponse:
        async with _Call(context):
            self._director.report(decode_report(request, tenant=self._tenant(context)))
            return pb.ReportResponse()

    async def Explain(self, request: pb.ExplainRequest, context: Context) -> pb.ExplainResponse:
        async with _Call(context) as request_id:
            profile = self._profile(request, request_id, context)
            decision = self._director.explain(profile)
            response = pb.ExplainResponse(decision=encode_decision(decision, whole=True))
            if request.why_not_backend:
                encode_why_not(response, await self._director.why_not(profile, request.why_not_backend))
            return response

    async def ListModels(
        self,
        request: pb.ListModelsRequest,  # noqa: ARG002  # gRPC passes it
        context: Context,
    ) -> pb.ListModelsResponse:
        async with _Call(context):
            self._tenant(context)
            return encode_models(self._director.models())

    def _profile(
        self, request: pb.PickRequest | pb.ExplainRequest, request_id: str, context: Context
    ) -> RequestProfile:
        tenant = self._tenant(context)
        return decode_profile(request, request_id=request_id, deadline_s=self._deadline_s(context), tenant=tenant)

    def _tenant(self, context: Context) -> str:
        """The tenant of the call's key, before anything else of the call is looked at."""
        if self._authenticator is None:
            return DEFAULT_TENANT
        return self._authenticator.of_grpc(context.invocation_metadata())

    def _deadline_s(self, context: Context) -> float | None:
        """The caller's deadline on the router's clock."""
        remaining = cast("float | None", context.time_remaining())  # None without a deadline, whatever the stubs say
        return None if remaining is None else self._clock.monotonic() + remaining
