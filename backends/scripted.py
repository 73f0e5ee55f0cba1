"""The shipped fake: a backend that plays a script instead of calling a model.

Tests and demonstrations of failures use it where a real server would be slow or could not be made to fail on cue. It
keeps the whole contract (a failure after the first chunk is `StreamBroken`, a missing end is never success), so code
that works against it has met every way a backend can behave.

A script is a list of steps; the n-th call plays the n-th script and the last script repeats. In a configuration it is
JSON in `options`: `{"scripts": [[{"step": "text", "text": "hi"}, {"step": "finish"}]], "report": {"healthy": true}}`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from backends.contract import Chunk, FinishReason, GenerateRequest, LoadReport, ToolCallDelta, Usage
from backends.dialect import CAPABILITIES, SAMPLING_FIELDS, Dialect
from backends.errors import BackendError, ProtocolViolation, by_code, once_delivered
from backends.spec import BackendSpec
from backends.wire import GENERIC, Option, Resources, Wire

Sleep = Callable[[float], Awaitable[None]]


class _Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="step"):
    """Base: `step` names the kind in JSON."""


class Text(_Step, frozen=True, kw_only=True, tag="text"):
    """Says something, `times` times, waiting `every_s` before each."""

    text: str = ""
    reasoning: str = ""
    times: int = 1
    every_s: float = 0.0


class Call(_Step, frozen=True, kw_only=True, tag="call"):
    """A whole tool call."""

    name: str
    arguments: str = "{}"
    id: str = "call00001"
    index: int = 0


class Emit(_Step, frozen=True, kw_only=True, tag="emit"):
    """A chunk exactly as given, for what the other steps cannot say."""

    chunk: Chunk


class Delay(_Step, frozen=True, kw_only=True, tag="delay"):
    seconds: float


class Gate(_Step, frozen=True, kw_only=True, tag="gate"):
    """Waits until `ScriptedBackend.gate(name)` is set."""

    name: str


class Count(_Step, frozen=True, kw_only=True, tag="usage"):
    usage: Usage


class Finish(_Step, frozen=True, kw_only=True, tag="finish"):
    """The proof of the end; without one, the answer is broken off."""

    reason: FinishReason = FinishReason.STOP
    usage: Usage | None = None


class Fail(_Step, frozen=True, kw_only=True, tag="fail"):
    """Raises the error of that code."""

    code: str
    message: str = "scripted failure"
    status: int | None = None
    retry_after_s: float | None = None
    param: str | None = None


class Cut(_Step, frozen=True, tag="cut"):
    """The connection ends here."""


class Stall(_Step, frozen=True, tag="stall"):
    """Nothing more comes, until the caller gives up."""


Step = Text | Call | Emit | Delay | Gate | Count | Finish | Fail | Cut | Stall
Script = Sequence[Step]

DEFAULT_SCRIPT: Script = (
    Text(text="Hello"),
    Text(text=" from a script."),
    Finish(usage=Usage(input=8, output=5)),
)


class InvalidScript(ValueError):
    """The options hold no valid script."""


@dataclass(slots=True, kw_only=True)
class RecordedCall:
    """One call that was made: `cancelled` says that the caller left before the script was over."""

    request: GenerateRequest
    upstream_model: str
    request_id: str
    chunks: int = 0
    finished: bool = False
    cancelled: bool = False
    error: BackendError | None = None


class ScriptedBackend:
    """Plays scripts and writes down who called.

    Attributes:
        calls: every call so far, in order.
        called: set by each call; clear it to wait for the next.
        report: what the next probe answers; assign to change it.
        probes: how often it was probed.
    """

    def __init__(
        self,
        spec: BackendSpec,
        *,
        scripts: Sequence[Script] = (DEFAULT_SCRIPT,),
        report: LoadReport | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        if not scripts:
            raise InvalidScript("a scripted backend needs at least one script")
        self._spec = spec
        self._scripts = tuple(tuple(script) for script in scripts)
        self._sleep = sleep
        self._gates: dict[str, asyncio.Event] = {}
        self._active = 0
        self.report = report or LoadReport(healthy=True)
        self.calls: list[RecordedCall] = []
        self.called = asyncio.Event()
        self.probes = 0
        self.closed = False

    @classmethod
    def from_spec(cls, spec: BackendSpec) -> ScriptedBackend:
        """Reads `scripts` and `report` from the options.

        Raises:
            InvalidScript: JSON that is no script.
        """
        scripts: Sequence[Script] = (DEFAULT_SCRIPT,)
        report = None
        try:
            if text := spec.options.get("scripts"):
                scripts = msgspec.json.decode(text, type=list[list[Step]])
            if text := spec.options.get("report"):
                report = msgspec.json.decode(text, type=LoadReport)
        except msgspec.DecodeError as error:
            raise InvalidScript(str(error)) from error
        codes = by_code()
        for step in (step for script in scripts for step in script):
            if isinstance(step, Fail) and step.code not in codes:
                raise InvalidScript(f"unknown error code {step.code!r}")
        return cls(spec, scripts=scripts, report=report)

    @property
    def spec(self) -> BackendSpec:
        return self._spec

    @property
    def active(self) -> int:
        """Calls that are running now."""
        return self._active

    def gate(self, name: str) -> asyncio.Event:
        """The event that a `Gate` step of that name waits for."""
        return self._gates.setdefault(name, asyncio.Event())

    async def generate(
        self, request: GenerateRequest, *, upstream_model: str, request_id: str
    ) -> AsyncGenerator[Chunk]:
        call = RecordedCall(request=request, upstream_model=upstream_model, request_id=request_id)
        script = self._scripts[min(len(self.calls), len(self._scripts) - 1)]
        self.calls.append(call)
        self.called.set()
        self._active += 1
        try:
            async with aclosing(self._play(script, call)) as chunks:
                async for chunk in chunks:
                    call.chunks += 1
                    yield chunk
            if not call.finished:
                raise ProtocolViolation("the script ended without a finish")
        except BackendError as error:
            call.error = once_delivered(error) if call.chunks else error
            raise call.error from None
        except (GeneratorExit, asyncio.CancelledError):
            call.cancelled = True
            raise
        finally:
            self._active -= 1

    async def _play(self, script: Script, call: RecordedCall) -> AsyncGenerator[Chunk]:
        for step in script:
            match step:
                case Text():
                    for _ in range(step.times):
                        if step.every_s:
                            await self._sleep(step.every_s)
                        yield Chunk(text=step.text, reasoning=step.reasoning, events=1)
                case Call():
                    delta = ToolCallDelta(index=step.index, id=step.id, name=step.name, arguments=step.arguments)
                    yield Chunk(tool_calls=(delta,), events=1)
                case Emit():
                    call.finished = call.finished or step.chunk.finish_reason is not None
                    yield step.chunk
                case Delay():
                    await self._sleep(step.seconds)
                case Gate():
                    await self.gate(step.name).wait()
                case Count():
                    yield Chunk(usage=step.usage)
                case Finish():
                    call.finished = True
                    yield Chunk(finish_reason=step.reason, usage=step.usage)
                case Fail():
                    raise by_code()[step.code](
                        step.message, status=step.status, retry_after_s=step.retry_after_s, param=step.param
                    )
                case Cut():
                    raise ProtocolViolation("the connection ended before the answer did")
                case Stall():
                    await asyncio.Event().wait()

    async def probe(self, *, timeout_s: float) -> LoadReport:  # noqa: ARG002 - the contract's parameter; a script answers at once
        self.probes += 1
        return self.report

    async def aclose(self) -> None:
        self.closed = True


def _build(spec: BackendSpec, _resources: Resources) -> ScriptedBackend:
    return ScriptedBackend.from_spec(spec)


WIRE = Wire(
    name="scripted",
    dialects={
        GENERIC: Dialect(
            name=GENERIC, parameters={name: name for name in SAMPLING_FIELDS}, capabilities=CAPABILITIES | {"audio"}
        )
    },
    build=_build,
    options={
        "scripts": Option(help="a list of scripts in JSON", pattern=r"(?s)\[.*\]"),
        "report": Option(help="what a probe answers, in JSON", pattern=r"(?s)\{.*\}"),
    },
)
