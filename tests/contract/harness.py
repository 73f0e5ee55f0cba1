"""How the one suite over every backend makes each of them do what a scenario says.

A scenario is a script of `backends.scripted`. The scripted backend plays it; for a wire, a loopback server plays it in
that wire's own words. A new wire joins the suite with one more class in here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import httpx
import msgspec

from backends import scripted
from backends.contract import Backend, LoadReport, Usage
from backends.registry import build
from backends.spec import BackendSpec
from tests.contract.loopback import LoopbackServer, Reply, Seen


class Stage(Protocol):
    """One backend that is playing one scenario."""

    @property
    def backend(self) -> Backend: ...

    @property
    def called(self) -> asyncio.Event:
        """Set once the request is with the upstream."""
        ...

    def open_gate(self, name: str) -> None: ...

    async def caller_left_after_s(self, since: float) -> float:
        """How long after `since` (loop time) the upstream learnt that the caller is gone."""
        ...


class ScriptedStage:
    def __init__(self, script: scripted.Script) -> None:
        self.backend = scripted.ScriptedBackend(
            BackendSpec(id="b", wire="scripted", base_url="http://scripted.invalid"), scripts=[script]
        )
        self.called = self.backend.called

    def open_gate(self, name: str) -> None:
        self.backend.gate(name).set()

    async def caller_left_after_s(self, since: float) -> float:
        assert self.backend.active == 0
        assert self.backend.calls[-1].cancelled
        return asyncio.get_running_loop().time() - since


class OpenAIStage:
    """Speaks the chat wire; failures before the first step are HTTP statuses, later ones are events in the stream."""

    WIRE = "openai_chat"
    PROFILE = "vllm"
    DONE = b"data: [DONE]\n\n"
    STATUSES: dict[str, tuple[int, bytes]] = {  # noqa: RUF012 - a table
        "RATE_LIMITED": (429, b'{"error":{"message":"slow down","code":"rate_limit_exceeded"}}'),
        "QUOTA_EXHAUSTED": (429, b'{"error":{"message":"pay first","code":"insufficient_quota"}}'),
        "OVERLOADED": (503, b'{"error":{"message":"The request queue is full."}}'),
        "WARMING": (503, b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}'),
        "UPSTREAM_FAULT": (500, b'{"error":{"message":"CUDA error","code":500}}'),
        "AUTH_FAILED": (401, b'{"error":"Unauthorized"}'),
        "CONTEXT_TOO_LONG": (400, b'{"error":{"message":"too long","code":"context_length_exceeded"}}'),
        "CONTENT_FILTERED": (400, b'{"error":{"message":"no","code":"content_filter"}}'),
        "MODEL_NOT_SERVED": (404, b'{"error":{"message":"no such model","code":"model_not_found"}}'),
        "BAD_REQUEST": (422, b'{"detail":[{"loc":["body","top_p"],"msg":"too large"}]}'),
        "TIMED_OUT": (504, b"<html>gateway timeout</html>"),
        "PROTOCOL_VIOLATION": (200, b"<html>hello</html>"),
    }

    def __init__(
        self,
        script: scripted.Script,
        *,
        transport: httpx.AsyncBaseTransport,
        control: httpx.AsyncClient,
        server: LoopbackServer,
        base_url: str,
    ) -> None:
        self.server = server
        self.called = server.arrived
        self._script = script
        self._gates: dict[str, asyncio.Event] = {}
        server.answer = self._answer
        self.backend = build(
            BackendSpec(id="b", wire=self.WIRE, profile=self.PROFILE, base_url=base_url),
            transport=transport,
            control=control,
            env={},
        )

    def open_gate(self, name: str) -> None:
        self._gates.setdefault(name, asyncio.Event()).set()

    async def caller_left_after_s(self, since: float) -> float:
        assert self.server.hung_up_at is not None
        return await asyncio.wait_for(self.server.hung_up_at, 2.0) - since

    def _answer(self, seen: Seen) -> Reply:
        if seen.path in ("/health", "/metrics"):
            return Reply(headers=(), framing="length")
        if seen.path == "/v1/models":
            return Reply([b'{"data":[{"id":"m"}]}'], framing="length")
        first = self._script[0]
        if isinstance(first, scripted.Fail):
            status, body = self.STATUSES[first.code]
            headers = [("content-type", "application/json" if status != 200 else "text/html")]
            if first.retry_after_s is not None:
                headers.append(("retry-after", str(first.retry_after_s)))
            return Reply([body], status=status, headers=headers, framing="length")
        pieces: list[bytes | asyncio.Event] = []
        for step in self._script:
            pieces.extend(self._pieces(step))
        if isinstance(self._script[-1], scripted.Finish):
            return Reply([*pieces, self.DONE])
        return Reply(pieces, framing="close")

    def _pieces(self, step: scripted.Step) -> list[bytes | asyncio.Event]:
        match step:
            case scripted.Text():
                delta = {"content": step.text, "reasoning": step.reasoning}
                return [_event({"choices": [{"delta": delta}]})] * step.times
            case scripted.Call():
                function = {"name": step.name, "arguments": step.arguments}
                call = {"index": step.index, "id": step.id, "type": "function", "function": function}
                return [_event({"choices": [{"delta": {"tool_calls": [call]}}]})]
            case scripted.Gate():
                return [self._gates.setdefault(step.name, asyncio.Event())]
            case scripted.Count():
                return [_event({"choices": [], "usage": _usage(step.usage)})]
            case scripted.Finish():
                finish = _event({"choices": [{"delta": {}, "finish_reason": step.reason}]})
                counts = [_event({"choices": [], "usage": _usage(step.usage)})] if step.usage else []
                return [finish, *counts]
            case scripted.Fail():
                status, _ = self.STATUSES[step.code]
                return [_event({"error": {"message": step.message, "code": status}})]
            case scripted.Stall():
                return [asyncio.Event()]
            case scripted.Cut():
                return []
            case scripted.Emit() | scripted.Delay():
                raise AssertionError("no scenario of the contract uses this step")


class MessagesStage(OpenAIStage):
    """Speaks the Messages wire, in as few events as it can be spoken: blocks that nobody opened, calls at once."""

    WIRE = "anthropic"
    PROFILE = "anthropic"
    DONE = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    ERRORS: dict[str, str] = {"RATE_LIMITED": "rate_limit_error", "OVERLOADED": "overloaded_error"}  # noqa: RUF012 - a table
    REASONS: dict[str, str] = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}  # noqa: RUF012 - a table

    def _pieces(self, step: scripted.Step) -> list[bytes | asyncio.Event]:
        match step:
            case scripted.Text():
                kind = "thinking" if step.reasoning else "text"
                delta = {"type": f"{kind}_delta", kind: step.reasoning or step.text}
                return [_event({"type": "content_block_delta", "delta": delta})] * step.times
            case scripted.Call():
                called = msgspec.json.decode(step.arguments)
                block = {"type": "tool_use", "id": step.id, "name": step.name, "input": called}
                return [_event({"type": "content_block_start", "index": step.index, "content_block": block})]
            case scripted.Count():
                return [_event({"type": "message_delta", "usage": _messages_usage(step.usage)})]
            case scripted.Finish():
                counts = {"usage": _messages_usage(step.usage)} if step.usage else {}
                ending = {"stop_reason": self.REASONS[step.reason]}
                return [_event({"type": "message_delta", "delta": ending, **counts})]
            case scripted.Fail():
                name = self.ERRORS.get(step.code, "api_error")
                return [_event({"type": "error", "error": {"type": name, "message": step.message}})]
            case _:
                return super()._pieces(step)


def _event(value: object) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def _usage(usage: Usage) -> dict[str, object]:
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def _messages_usage(usage: Usage) -> dict[str, object]:
    return {
        "input_tokens": usage.input - usage.cached_input,
        "cache_read_input_tokens": usage.cached_input,
        "output_tokens": usage.output,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
    }


STAGES: dict[str, type[OpenAIStage]] = {"openai_chat": OpenAIStage, "anthropic": MessagesStage}


class Harness:
    """Sets the stage for one kind of backend and clears it afterwards."""

    def __init__(self, kind: str, stack: contextlib.AsyncExitStack) -> None:
        self.kind = kind
        self._stack = stack

    async def stage(self, script: Sequence[scripted.Step]) -> Stage:
        if self.kind == "scripted":
            return ScriptedStage(script)
        return await self._served(script, None)

    async def unreachable(self) -> Stage:
        """Nobody listens there."""
        if self.kind == "scripted":
            return ScriptedStage([scripted.Fail(code="CONNECT_FAILED")])
        return await self._served([scripted.Finish()], "http://127.0.0.1:9")

    async def sick(self) -> Stage:
        """A backend whose probe must say so."""
        if self.kind == "scripted":
            stage = ScriptedStage([scripted.Finish()])
            stage.backend.report = LoadReport(healthy=False, reason="CONNECT_FAILED")
            return stage
        return await self.unreachable()

    async def _served(self, script: scripted.Script, base_url: str | None) -> OpenAIStage:
        wire, _, carrier = self.kind.partition("/")
        server = await self._stack.enter_async_context(LoopbackServer(lambda _: Reply()))
        transport = make_transport(carrier)
        self._stack.push_async_callback(transport.aclose)
        control = await self._stack.enter_async_context(httpx.AsyncClient())
        url = base_url or server.url
        return STAGES[wire](script, transport=transport, control=control, server=server, base_url=url)


def make_transport(name: str) -> httpx.AsyncBaseTransport:
    if name == "httpx":
        return httpx.AsyncHTTPTransport()
    from backends.http.transport import FastTransport  # noqa: PLC0415 - only where it is asked for

    return FastTransport()


KINDS = ("scripted", "openai_chat/httpx", "openai_chat/fast", "anthropic/fast")


@contextlib.asynccontextmanager
async def harness_of(kind: str) -> AsyncIterator[Harness]:
    async with contextlib.AsyncExitStack() as stack:
        yield Harness(kind, stack)
