"""One emulated backend: an HTTP server on the OpenAI wire whose timing is an engine's on the given accelerator.

Beside the wire there is a face for tests and demonstrations: `GET /emulator/stats` says what happened here, disconnects
included, and `POST /emulator/control` switches faults on and off.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Annotated

import msgspec

from simulation.answer import Answer, plan
from simulation.driver import Driver
from simulation.engine import Engine, EngineSpec
from simulation.events import Writer
from simulation.generation import ABORTED, BROKEN, Generation
from simulation.http import Connection, Exchange
from simulation.metrics import ModelMetrics, render
from simulation.wire import Request, WireError, encode, parse

KEPT_DISCONNECTS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    """One emulated backend.

    Attributes:
        id: the backend's name.
        label: how it calls itself, in every answer.
        engine: timing; its models are the ones served.
        context_tokens: the window of each model.
        max_waiting: a longer queue answers 503.
        requests_per_minute: more answers 429; None: no limit.
        seed: of answers, noise and random faults.
    """

    id: str
    label: str
    engine: EngineSpec
    context_tokens: Mapping[str, int]
    max_waiting: int = 512
    requests_per_minute: int | None = None
    seed: int = 0


class Control(msgspec.Struct, forbid_unknown_fields=True):
    """Faults, as POST /emulator/control takes them; what a request leaves out stays as it is.

    Attributes:
        slow: factor on every duration.
        stall: nothing moves while it is true.
        ready: False: /health and generations answer 503.
        fail_rate: share of the generations that answer `fail_status`.
        fail_status: 500, 503, 429, ...
        retry_after_s: sent with such an answer.
        break_after: tokens after which a stream is cut; None: never.
    """

    slow: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    stall: bool = False
    ready: bool = True
    fail_rate: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    fail_status: Annotated[int, msgspec.Meta(ge=400, le=599)] = 500
    retry_after_s: float | None = None
    break_after: Annotated[int, msgspec.Meta(ge=1)] | None = None


class _RateLimit:
    """A bucket that fills evenly over the minute."""

    def __init__(self, per_minute: int | None) -> None:
        self._per_minute = per_minute
        self._left = float(per_minute or 0)
        self._at = time.monotonic()

    def take(self) -> float | None:
        """None when the request may pass, else the seconds to wait."""
        if self._per_minute is None:
            return None
        now, rate = time.monotonic(), self._per_minute / 60.0
        self._left = min(float(self._per_minute), self._left + (now - self._at) * rate)
        self._at = now
        if self._left < 1.0:
            return (1.0 - self._left) / rate
        self._left -= 1.0
        return None


class EmulatedServer:
    """See the module. `start` binds it, `close` ends it."""

    def __init__(self, spec: ServerSpec) -> None:
        self.spec = spec
        self.control = Control()
        self._rng = Random(spec.seed)
        self._driver = Driver(Engine(spec.engine, Random(spec.seed + 1)))
        self._metrics = {model: ModelMetrics() for model in spec.engine.models}
        self._rate = _RateLimit(spec.requests_per_minute)
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._serial = 0
        self._active: set[Generation] = set()
        self._max_active = 0
        self._counts = {"requests": 0, "completed": 0, "refused": 0, "disconnects": 0}
        self._disconnects: deque[dict[str, object]] = deque(maxlen=KEPT_DISCONNECTS)
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listens; port 0 takes a free one. Raises OSError when the port is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self._handle, self._connections), host, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._driver.close()
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()
        if self._server is not None:
            await self._server.wait_closed()

    def _handle(self, exchange: Exchange) -> None:
        route = (exchange.method, exchange.path)
        if route in {("POST", "/v1/chat/completions"), ("POST", "/v1/completions")}:
            self._generate(exchange)
        elif route == ("POST", "/emulator/control"):
            self._set_control(exchange)
        elif route == ("GET", "/emulator/stats"):
            exchange.respond(200, encode(self.stats()))
        elif exchange.method == "GET" and exchange.path in {"/v1/models", "/health", "/metrics"}:
            # What is far away answers late, to a probe as well.
            asyncio.get_running_loop().call_later(self.spec.engine.latency_s, self._observe, exchange)
        else:
            self._refuse(exchange, WireError(404, f"{exchange.method} {exchange.path} is not served", code="not_found"))

    def _observe(self, exchange: Exchange) -> None:
        if exchange.path == "/health":
            exchange.respond(200 if self.control.ready else 503)
        elif exchange.path == "/metrics":
            engine = self._driver.engine
            page = render(self._metrics, {m: engine.load(m) for m in self._metrics}, engine.kv_usage)
            exchange.respond(200, page, content_type="text/plain; version=0.0.4; charset=utf-8")
        else:
            models = [
                {"id": model, "object": "model", "created": 0, "owned_by": "emulated", "max_model_len": tokens}
                for model, tokens in self.spec.context_tokens.items()
            ]
            exchange.respond(200, encode({"object": "list", "data": models}))

    def stats(self) -> dict[str, object]:
        """What happened here; times are `time.monotonic()`, which processes of one machine share."""
        engine = self._driver.engine
        return {
            "backend": self.spec.id,
            "emulated": True,
            "active": len(self._active),
            "max_active": self._max_active,
            "running": engine.running,
            "waiting": engine.waiting,
            **self._counts,
            "last_disconnects": list(self._disconnects),
            "control": msgspec.to_builtins(self.control),
        }

    def _set_control(self, exchange: Exchange) -> None:
        try:
            given = msgspec.json.decode(exchange.body, type=dict[str, object])
            control = msgspec.convert({**msgspec.to_builtins(self.control), **given}, Control)
        except msgspec.MsgspecError as error:
            self._refuse(exchange, WireError(400, str(error)))
            return
        self.control = control
        self._driver.engine.slow = control.slow
        self._driver.stall(control.stall)
        exchange.respond(200, encode(control))

    def _generate(self, exchange: Exchange) -> None:
        self._counts["requests"] += 1
        try:
            request = parse(exchange.body, chat=exchange.path == "/v1/chat/completions")
            answer = self._admit(request)
        except WireError as error:
            self._counts["refused"] += 1
            self._refuse(exchange, error)
            return
        self._serial += 1
        name = f"{'chatcmpl' if request.chat else 'cmpl'}-{self.spec.id}-{self._serial:016x}"
        writer = Writer(request, answer, answer_id=name, created=int(time.time()))
        generation = Generation(
            exchange,
            writer,
            model=request.model,
            prompt_tokens=request.prompt_tokens,
            stream=request.stream,
            answer=answer,
            break_after=lambda: self.control.break_after,
            ended=self._ended,
        )
        self._active.add(generation)
        self._max_active = max(self._max_active, len(self._active))
        self._driver.submit(generation.sequence)

    def _admit(self, request: Request) -> Answer:
        """The answer to give, or the error of the wire."""
        control = self.control
        window = self.spec.context_tokens.get(request.model)
        if window is None:
            known = ", ".join(self.spec.context_tokens)
            message = f"The model `{request.model}` does not exist; served here: {known}."
            raise WireError(404, message, code="model_not_found", param="model")
        if not control.ready:
            raise WireError(503, "not ready", kind="service_unavailable_error", retry_after_s=control.retry_after_s)
        if control.fail_rate and self._rng.random() < control.fail_rate:
            message = "a fault that was asked for"
            raise WireError(control.fail_status, message, kind="server_error", retry_after_s=control.retry_after_s)
        wait = self._rate.take()
        if wait is not None:
            message = f"Rate limit reached: {self.spec.requests_per_minute} requests per minute."
            raise WireError(429, message, kind="requests", code="rate_limit_exceeded", retry_after_s=wait)
        needed = request.prompt_tokens + (request.ask.max_tokens or 1)
        if needed > window:
            message = (
                f"This model's maximum context length is {window} tokens; {request.prompt_tokens} in the prompt and "
                f"{request.ask.max_tokens or 1} in the answer are more."
            )
            raise WireError(400, message, code="context_length_exceeded", param="messages")
        if self._driver.engine.backlog >= self.spec.max_waiting:
            self._metrics[request.model].rejections += 1
            message = f"The queue is full ({self.spec.max_waiting} requests)."
            raise WireError(503, message, kind="service_unavailable_error", code="queue_full", retry_after_s=1.0)
        ask = replace(
            request.ask,
            label=self.spec.label,
            seed=request.ask.seed ^ self.spec.seed,
            room=window - request.prompt_tokens,
        )
        return plan(ask)

    def _refuse(self, exchange: Exchange, error: WireError) -> None:
        extra = {"retry_after": f"{math.ceil(error.retry_after_s)}"} if error.retry_after_s is not None else {}
        exchange.respond(error.status, error.body, **extra)

    def _ended(self, generation: Generation, reason: str) -> None:
        sequence = generation.sequence
        if not sequence.finished:
            self._driver.cancel(sequence)
        self._active.discard(generation)
        self._metrics[sequence.model].record(sequence, reason)
        if reason not in {ABORTED, BROKEN}:
            self._counts["completed"] += 1
        if reason == ABORTED:
            self._counts["disconnects"] += 1
            seen = {"request_id": generation.request_id, "at_monotonic_s": time.monotonic()}
            self._disconnects.append({**seen, "tokens": sequence.generated})
