"""Replays one recorded exchange through the adapter it is for, and says in what the two differ.

The server answers with the recorded bytes, cut in several ways; each way must give what the recording says. Nothing
here knows any file: an exchange is judged by its endpoint, its provider and its content alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from backends import registry
from backends.contract import Backend, Chunk, GenerateRequest, Headroom, Message, Usage
from backends.errors import BackendError, Unsupported
from backends.spec import BackendSpec
from simulation.recordings import readings, requests
from simulation.recordings.errors import expected, waits
from simulation.recordings.interaction import Interaction
from simulation.recordings.limits import remaining
from simulation.recordings.readings.said import Said, arguments_of
from simulation.recordings.replay import ReplayServer, cuts
from simulation.recordings.routes import NotApplicable, Route, provider_of, route

DEADLINE_S = 30.0

# Credentials of nobody: the replay server asks for none, but some wires sign whatever they send.
_ENV = {
    "AWS_ACCESS_KEY_ID": "AKIARECORDED",
    "AWS_SECRET_ACCESS_KEY": "recorded",
    "AWS_REGION": "us-east-1",
    "RECORDED_KEY": "recorded",
}
_KEYED = frozenset({"replicate", "anthropic", "gemini"})


@dataclass(slots=True, kw_only=True)
class Verdict:
    """How one exchange went.

    Attributes:
        outcome: "n/a" where no adapter is for it.
        reason: why no adapter is for it, or why it holds no whole answer, so that the adapter must refuse it.
        differences: what came out other than recorded.
        asked: how our request for the same compares with the recorded one; "n/a" where it could not be made.
        asked_notes: in what it differs, or why there is none.
    """

    interaction: Interaction
    route: Route | None = None
    outcome: Literal["equal", "different", "n/a"] = "n/a"
    reason: str = ""
    differences: list[str] = field(default_factory=list)
    asked: Literal["equal", "differs", "n/a"] = "n/a"
    asked_notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Heard:
    """What an adapter made of one replay."""

    chunks: list[Chunk] = field(default_factory=list)
    error: BackendError | None = None
    trouble: str = ""


async def judge(interaction: Interaction, *, transport: httpx.AsyncBaseTransport, ways: int = 3) -> Verdict:
    """Replays it `ways` times, cut in as many ways.

    Args:
        interaction: the exchange.
        transport: carries the adapter's requests; shared between exchanges.
        ways: how many cuts, at least 1.
    """
    found = route(interaction)
    if isinstance(found, NotApplicable):
        return Verdict(interaction=interaction, reason=found.reason)
    verdict = Verdict(interaction=interaction, route=found, outcome="equal")
    said = _expectation(interaction, found)
    if not said.failure and not said.complete:
        verdict.reason = said.unread or "it ends before its answer does"
    async with ReplayServer(interaction, many=ways) as server, httpx.AsyncClient() as control:
        try:
            backend = _adapter(found, server.url, transport, control)
        except ValueError as error:
            verdict.outcome, verdict.differences = "different", [f"no adapter could be built: {error}"]
            return verdict
        try:
            if found.probes:
                verdict.differences = await _probe(backend, said)
            else:
                await _replay(verdict, found, said, server, backend)
        finally:
            await backend.aclose()
    if verdict.differences:
        verdict.outcome = "different"
    return verdict


def _adapter(found: Route, url: str, transport: httpx.AsyncBaseTransport, control: httpx.AsyncClient) -> Backend:
    spec = BackendSpec(
        id="recorded",
        wire=found.wire,
        profile=found.profile,
        base_url=url,
        credential="env:RECORDED_KEY" if found.wire in _KEYED else None,
        options=found.options,
    )
    return registry.build(spec, transport=transport, control=control, env=_ENV)


def _expectation(interaction: Interaction, found: Route) -> Said:
    if interaction.status < 300:
        return readings.read(interaction, found.wire)
    headers, body = interaction.headers, interaction.body
    kinds = expected(interaction.status, headers, body, wire=found.wire, provider=provider_of(interaction))
    return Said(failure=kinds, retry_after_s=waits(headers, body))


async def _probe(backend: Backend, said: Said) -> list[str]:
    report = await backend.probe(timeout_s=DEADLINE_S)
    kind = report.reason.partition(":")[0]
    if report.healthy:
        return [f"probe: healthy, though the service answered with {_any(said.failure)}"]
    return [] if kind in said.failure else [f"probe: {report.reason!r} in place of {_any(said.failure)}"]


async def _replay(verdict: Verdict, found: Route, said: Said, server: ReplayServer, backend: Backend) -> None:
    interaction = verdict.interaction
    model = requests.model_of(interaction)
    request, theirs = _request(verdict, found.wire, model)
    for way, cut in enumerate(cuts(b"", 0, server.many)):
        server.way = way
        heard = await _hear(backend, request, model)
        if isinstance(heard.error, Unsupported):  # nothing was sent: it is asked again with as little as can be
            verdict.asked, verdict.asked_notes = "n/a", [f"refused by our encoder: {heard.error.message}"]
            request, theirs = _least(found.wire, interaction, model), None
            heard = await _hear(backend, request, model)
        wrong = [heard.trouble] if heard.trouble else compare(heard.chunks, heard.error, said, interaction)
        if wrong:
            verdict.differences = [f"{text} ({cut.name})" if way else text for text in wrong]
            return
        if theirs is not None and way == 0:
            _compare_requests(verdict, found.wire, theirs, server)


def _request(verdict: Verdict, wire: str, model: str) -> tuple[GenerateRequest, requests.Asked | None]:
    """The recorded request in canonical form; where there is none, as little as can be asked."""
    try:
        theirs = requests.read(wire, verdict.interaction.request)
        return theirs.canonical(model), theirs
    except requests.Beyond as error:
        verdict.asked_notes = [str(error)]
        return _least(wire, verdict.interaction, model), None


def _least(wire: str, interaction: Interaction, model: str) -> GenerateRequest:
    if (wire == "openai_chat" and "/chat/" not in interaction.path) or interaction.path.endswith("/api/generate"):
        return GenerateRequest(model=model, prompt="x")
    return GenerateRequest(model=model, messages=(Message(role="user", content="x"),))


def _compare_requests(verdict: Verdict, wire: str, theirs: requests.Asked, server: ReplayServer) -> None:
    sent = next((body for method, _, body in server.seen if method == "POST"), None)
    try:
        verdict.asked_notes = requests.differences(theirs, requests.read(wire, sent))
        verdict.asked = "differs" if verdict.asked_notes else "equal"
    except requests.Beyond as error:
        verdict.asked, verdict.asked_notes = "differs", [f"our request cannot be read: {error}"]


async def _hear(backend: Backend, request: GenerateRequest, model: str) -> _Heard:
    heard = _Heard()
    try:
        async with asyncio.timeout(DEADLINE_S):
            stream = backend.generate(request, upstream_model=model, request_id="recorded")
            async with contextlib.aclosing(stream):
                async for chunk in stream:
                    heard.chunks.append(chunk)
    except BackendError as error:
        heard.error = error
    except TimeoutError:
        heard.trouble = f"nothing came of it in {DEADLINE_S:g} s"
    except Exception as error:  # noqa: BLE001 - an adapter may raise nothing of its own; that it does is a finding
        heard.trouble = f"the adapter raised {type(error).__name__}: {error}"
    return heard


def compare(chunks: Sequence[Chunk], error: BackendError | None, said: Said, interaction: Interaction) -> list[str]:
    """What differs between what an adapter gave and what the recording says; empty if nothing."""
    text = "".join(chunk.text for chunk in chunks)
    wrong = _signals(chunks, error, interaction)
    if said.failure or not said.complete:
        return wrong + _failure(text, error, said)
    if error is not None:
        return [*wrong, f"failed with {error.code}: {error.message}"]
    reasoning = "".join(chunk.reasoning for chunk in chunks)
    finish = [str(chunk.finish_reason) for chunk in chunks if chunk.finish_reason is not None]
    recorded_calls = [(call.call_id, call.name, call.arguments) for call in said.calls]
    for name, got, recorded in (
        ("text", text, said.text),
        ("reasoning", reasoning, said.reasoning),
        ("finish reason", finish, [said.finish]),
        ("tool calls", _calls(chunks, finish, said), recorded_calls),
    ):
        if got != recorded:
            wrong.append(f"{name}: {_brief(got, recorded)}")
    usage = next((chunk.usage for chunk in reversed(chunks) if chunk.usage is not None), None)
    return wrong + _usage(usage, said)


def _failure(text: str, error: BackendError | None, said: Said) -> list[str]:
    if error is None:
        what = f"an error of kind {_any(said.failure)}" if said.failure else said.unread or "a stream that breaks off"
        return [f"taken for a complete answer, though it is {what}"]
    if not said.unread and not said.text.startswith(text):
        return [f"text before the failure: {_brief(text, said.text)}"]
    kind = error.message.partition(":")[0] if error.code == "STREAM_BROKEN" else error.code
    if not said.failure:
        return [] if kind in ("PROTOCOL_VIOLATION", "STREAM_BROKEN", error.message) else [f"broke off as {kind}"]
    if kind not in said.failure:
        return [f"error kind: {kind} ({error.message}) in place of {_any(said.failure)}"]
    if said.retry_after_s is not None and error.retry_after_s != said.retry_after_s:
        return [f"retry after: {error.retry_after_s} in place of {said.retry_after_s} s"]
    return []


def _calls(chunks: Sequence[Chunk], finish: list[str], said: Said) -> list[tuple[str, str, Any]]:
    """The calls as they were put together; an id that had to be made up is left out."""
    calls: dict[int, list[str]] = {}
    for delta in (delta for chunk in chunks for delta in chunk.tool_calls):
        call = calls.setdefault(delta.index, ["", "", ""])
        for place, piece in enumerate((delta.id, delta.name, delta.arguments)):
            call[place] += piece or ""
    found = []
    for number, (call_id, name, text) in enumerate(calls.values()):
        made_up = number < len(said.calls) and not said.calls[number].call_id and call_id
        found.append(("" if made_up else call_id or "none", name, arguments_of(text, was_cut="length" in finish)))
    return found


def _usage(usage: Usage | None, said: Said) -> list[str]:
    if usage is None:
        return ["usage: none was given"]
    if said.usage is None:
        return [] if usage.estimated else ["usage: not marked as an estimate, though none was recorded"]
    counted = said.usage
    recorded = (counted.input, counted.cached, counted.written, counted.output, counted.reasoning)
    if _counts(usage) != recorded:
        return [f"usage (input, cached, written, output, reasoning): {_counts(usage)} in place of {recorded}"]
    if usage.estimated and not counted.partial:
        return ["usage: marked as an estimate, though it was recorded"]
    return []


def _counts(usage: Usage) -> tuple[int, int, int, int, int]:
    return usage.input, usage.cached_input, usage.cache_write_input, usage.output, usage.reasoning


def _signals(chunks: Sequence[Chunk], error: BackendError | None, interaction: Interaction) -> list[str]:
    """The recorded limits must come with the first chunk, or with the error where that is all there was."""
    wanted = remaining(interaction.headers)
    signals = chunks[0].signals if chunks else error.signals if error is not None else None
    headroom = (signals.headroom if signals is not None else None) or Headroom()
    wrong = []
    for what, allowed in wanted.items():
        window = getattr(headroom, what)
        if window is None or window.remaining not in allowed:
            got = None if window is None else window.remaining
            wrong.append(f"headroom in {what}: {got} in place of {_any(allowed)}")
    return wrong


def _any(values: frozenset[Any]) -> str:
    return " or ".join(str(value) for value in sorted(values, key=str))


def _brief(got: Any, recorded: Any) -> str:
    one, other = (value if isinstance(value, str) else json.dumps(value, default=str) for value in (got, recorded))
    at = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    start = max(0, at - 20)
    return f"{one[start : at + 60]!r} in place of {other[start : at + 60]!r} (at character {at} of {len(other)})"
