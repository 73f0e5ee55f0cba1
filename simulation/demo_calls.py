"""Runs a need through the router, over gRPC or with the official openai SDK, and gathers what the table shows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
import openai
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from router.domain.decision import HardwareLabel
from router.v1 import common_pb2
from router.v1 import inference_pb2 as pb
from router.v1.inference_pb2_grpc import InferenceServiceStub
from simulation.demo_needs import Need, grpc_request, http_request

LIMIT_S = 90.0
Write = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Result:
    """What one need came to. Seconds and dollars; `refused` holds the reason where nobody served it."""

    need: Need
    backend: str = ""
    hardware: str = ""
    model: str = ""
    why: str = ""
    predicted_ttft_s: float = 0.0
    predicted_tpot_s: float = 0.0
    ttft_s: float = 0.0
    tpot_s: float = 0.0
    cost_usd: float = 0.0
    output_tokens: int = 0
    attempts: int = 1
    drops: list[tuple[str, str]] = field(default_factory=list)
    refused: str = ""


async def over_grpc(channel: grpc.aio.Channel, need: Need, write: Write) -> Result:
    """One `Generate`; `write` gets the answer as it arrives."""
    result = Result(need=need)
    stub = InferenceServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
    try:
        async for event in stub.Generate(grpc_request(need), timeout=LIMIT_S):
            if event.HasField("routed"):
                _take_routed(result, event.routed)
            if event.HasField("rerouted"):
                write(f" [rerouted from {event.rerouted.from_backend}: {event.rerouted.reason}] ")
                _take_routed(result, event.rerouted.to)
            if event.HasField("delta"):
                write(event.delta.text.text)
                for call in event.delta.tool_calls:
                    write(f"{call.name} {call.arguments_json}" if call.name else call.arguments_json)
            if event.HasField("finished"):
                _take_finished(result, event.finished)
    except grpc.aio.AioRpcError as error:
        info = _error_info(error)
        result.refused, result.why = f"{error.code().name} {info.reason}", error.details() or ""
        result.drops = _dropped(info.metadata)
    return result


def _error_info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    """The reason and the facts that the router sends with an error; empty where it sent none."""
    info = error_details_pb2.ErrorInfo()
    status: Any = rpc_status.from_call(error)
    for packed in status.details if status is not None else ():
        if packed.Unpack(info):
            break
    return info


def _label(shown: common_pb2.Hardware) -> str:
    return str(HardwareLabel(id=shown.id, name=shown.name or shown.id, count=shown.count, emulated=shown.emulated))


def _take_finished(result: Result, finished: pb.Finished) -> None:
    result.backend, result.hardware = finished.backend, _label(finished.hardware)
    result.ttft_s, result.tpot_s = finished.timings.ttft_s, finished.timings.tpot_s
    result.cost_usd, result.output_tokens = finished.cost_usd, finished.usage.output_tokens
    result.attempts = len(finished.attempts)


def _dropped(metadata: Mapping[str, str]) -> list[tuple[str, str]]:
    """Who was dropped, out of the facts of an error."""
    return [(name.removeprefix("drop/"), why) for name, why in metadata.items() if name.startswith("drop/")]


def _take_routed(result: Result, routed: pb.Routed) -> None:
    result.backend, result.hardware = routed.backend, _label(routed.hardware)
    result.model = routed.model
    result.predicted_ttft_s = routed.prediction.ttft.mean
    result.predicted_tpot_s = routed.prediction.tpot.mean
    decision: common_pb2.Decision = routed.decision
    if decision.id:
        result.why = decision.why
        result.drops = [(drop.backend, drop.reason) for drop in decision.drops]


def sdk(base_url: str) -> openai.AsyncOpenAI:
    """The official client, unchanged; retries off, so that what is shown is one request."""
    return openai.AsyncOpenAI(
        base_url=base_url,
        api_key="not needed",
        max_retries=0,
        timeout=LIMIT_S,
        http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
    )


async def over_http(client: openai.AsyncOpenAI, need: Need, write: Write) -> Result:
    """One streamed chat completion."""
    result = Result(need=need)
    try:
        stream = await client.chat.completions.create(**http_request(need))
        async with stream:
            async for chunk in stream:
                report = (chunk.model_extra or {}).get("router")
                if report:
                    _take_report(result, report)
                if chunk.usage is not None:
                    result.output_tokens = chunk.usage.completion_tokens
                for choice in chunk.choices:
                    write(choice.delta.content or "")
                    for call in choice.delta.tool_calls or ():
                        if call.function is not None:
                            write(f"{call.function.name or ''} {call.function.arguments or ''}".lstrip())
    except openai.APIStatusError as error:
        body: Any = error.body if isinstance(error.body, dict) else {}
        reason = body.get("router", {}).get("reason", body.get("code", ""))
        result.refused, result.why = f"{error.status_code} {reason}", str(body.get("message", error.message))
    return result


def _take_report(result: Result, report: Mapping[str, Any]) -> None:
    decision = report.get("decision")
    if decision:
        result.why = decision["why"]
        result.drops = [(drop["backend"], drop["reason"]) for drop in decision["drops"]]
        chosen = decision["candidates"][0]
        result.predicted_ttft_s = chosen["predicted"]["ttft_s"]
        result.predicted_tpot_s = chosen["predicted"]["tpot_s"]
    if "backend" in report:
        result.backend, result.hardware, result.model = report["backend"], report["hardware"], report["model"]
        result.ttft_s, result.tpot_s, result.cost_usd = report["ttft_s"], report["tpot_s"], report["cost_usd"]
        result.attempts = len(report["attempts"])


class FirstLines:
    """Passes on the beginning of a text, as it arrives: `limit` characters, on one line."""

    def __init__(self, write: Write, limit: int) -> None:
        self._write = write
        self._left = limit
        self.began_at: float | None = None

    def __call__(self, text: str) -> None:
        if not text:
            return
        if self.began_at is None:
            self.began_at = time.monotonic()
        if self._left <= 0:
            return
        shown = text.replace("\n", " ")[: self._left]
        self._left -= len(shown)
        self._write(shown if self._left else shown + " ...")
