"""The gRPC load: `Generate` and `Pick` over a few channels."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import grpc.aio

from bench.load_job import MODEL, PROMPT, Driver, Job, WrongAnswer, verify
from router.v1 import inference_pb2 as pb
from router.v1 import inference_pb2_grpc as rpc

CHANNELS = 4
ANSWER_S = 60.0


Stub = rpc.InferenceServiceStub  # over an asyncio channel its calls are awaitable


def question(job: Job) -> pb.GenerateRequest:
    return pb.GenerateRequest(
        model=MODEL,
        messages=[pb.Message(role=pb.ROLE_USER, text=PROMPT)],
        sampling=pb.Sampling(max_output_tokens=job.tokens),
        end_user=str(job.pause_ms),
    )


class GenerateDriver:
    """Streams answers."""

    def __init__(self, job: Job, stubs: list[Stub]) -> None:
        self.pieces = 0
        self._job = job
        self._stubs = stubs
        self._question = question(job)

    async def ask(self, lane: int) -> float:
        started = time.perf_counter()
        first = 0.0
        parts: list[str] = []
        finished = False
        async for message in self._stubs[lane % len(self._stubs)].Generate(self._question, timeout=ANSWER_S):
            if text := message.delta.text.text:
                first = first or time.perf_counter()
                parts.append(text)
            finished = finished or message.HasField("finished")
        if not finished:
            raise WrongAnswer("the stream ended without `finished`")
        verify(self._job, "".join(parts))
        self.pieces += len(parts)
        return first - started

    async def after(self) -> None:
        """Nothing follows."""


class PickDriver:
    """Picks, and reports them all when the picking is over: a pick that nobody reports holds its place for a minute."""

    def __init__(self, job: Job, stubs: list[Stub]) -> None:
        self.pieces = 0
        self._stubs = stubs
        self._streams = job.streams
        self._request = pb.PickRequest(request=question(job))
        self._open: list[str] = []

    async def ask(self, lane: int) -> float:
        started = time.perf_counter()
        answer = await self._stubs[lane % len(self._stubs)].Pick(self._request, timeout=ANSWER_S)
        if not answer.endpoint.address:
            raise WrongAnswer("a pick without an endpoint")
        self._open.append(answer.pick_id)
        self.pieces += 1
        return time.perf_counter() - started

    async def after(self) -> None:
        async def report(lane: int) -> None:
            while self._open:
                pick_id = self._open.pop()
                await self._stubs[lane % len(self._stubs)].Report(
                    pb.ReportRequest(pick_id=pick_id, result="OK", ttft_s=0.2, e2e_s=0.4), timeout=ANSWER_S
                )

        async with asyncio.TaskGroup() as group:
            for lane in range(self._streams):
                group.create_task(report(lane))


@asynccontextmanager
async def grpc_driver(job: Job) -> AsyncGenerator[Driver]:
    # Without a pool of its own each channel would share one connection with the others.
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(job.address, options=options) for _ in range(CHANNELS)]
    try:
        stubs = [Stub(channel) for channel in channels]  # type: ignore[no-untyped-call]  # generated
        yield PickDriver(job, stubs) if job.face == "pick" else GenerateDriver(job, stubs)
    finally:
        for channel in channels:
            await channel.close()
