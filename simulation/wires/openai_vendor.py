"""An emulated vendor of the OpenAI chat wire: what one answers to whom is the vendor's entry, `Vendor`, as data.

The request is read and the answer planned as for any emulated server of this wire; paths, keys, fields that are
refused, error bodies, framing and what is added to each event are the vendor's.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import simulation.wire as chat_wire
from simulation.answer import Ask, plan
from simulation.http import Exchange
from simulation.wires import openai_problems as problems
from simulation.wires.openai_chunks import Told, body, events, is_output, usage_chunk
from simulation.wires.openai_problems import Problem, Shape
from simulation.wires.serving import HttpWire, Piece, WireError

KEY = "sk-emulated-secret-0123456789"
MODEL = "emulated-model"
ROOM = 4096
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"

Events = list[dict[str, Any]]


def same(shaped: Events, told: Told) -> Events:  # noqa: ARG001 - the shape of a hook
    return shaped


def whole_same(shaped: dict[str, Any], told: Told) -> dict[str, Any]:  # noqa: ARG001 - the shape of a hook
    return shaped


def openai_usage(told: Told) -> dict[str, Any]:
    return told.usage()


def fields(names: str) -> frozenset[str]:
    """Names with blanks between them."""
    return frozenset(names.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """What sets one vendor apart.

    Attributes:
        chat_path: a pattern; a group `model` in it is the model instead of the body's.
        query: what the address must hold besides.
        key_header, key_prefix: where the key is; "" for a server without keys.
        fields: of the request's body, all others are refused; None takes anything.
        any_tool: the words that ask for some tool call.
        call_id: form of a tool call's id, as a format of its number.
        wants_call_id: pattern of the ids it takes back.
        thought_field: where thoughts are.
        usage: in the vendor's own names.
        usage_at: "asked" in an event of its own if asked for, "finish" always with the finish reason.
        shape, shape_whole: put the vendor's additions on a stream's events, on a whole answer.
        first: events before the answer's.
        error, stream_error: shapes of an error, in and outside a stream.
        done_after_error: whether the marker follows an error in a stream.
        invalid: the status of a body that is not valid.
        words: status -> what it says there, for a fault that only names the status.
        frame: an event's bytes around its JSON.
        headers: of every answer.
        limits: sent with an answer and with a 429.
        pages: other paths -> what is there.
        any_model: answers for a model of any name.
        http10: speaks HTTP/1.0 and wants a content-length.
    """

    name: str
    chat_path: str = r"/v1/chat/completions"
    query: str = ""
    key_header: str = "authorization"
    key_prefix: str = "Bearer "
    fields: frozenset[str] | None = None
    any_tool: frozenset[str] = frozenset({"required"})
    call_id: str = "call_emulated{:02d}"
    wants_call_id: str = ".+"
    thought_field: str = "reasoning_content"
    usage: Callable[[Told], dict[str, Any]] = openai_usage
    usage_at: str = "asked"
    shape: Callable[[Events, Told], Events] = same
    shape_whole: Callable[[dict[str, Any], Told], dict[str, Any]] = whole_same
    first: tuple[dict[str, Any], ...] = ()
    error: Callable[[Problem], Any] = problems.nested
    stream_error: Shape = problems.nested
    done_after_error: bool = False
    invalid: int = 400
    words: Mapping[int, Problem] = field(default_factory=dict)
    frame: tuple[bytes, bytes] = (b"data: ", b"\n\n")
    headers: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    pages: Mapping[str, tuple[int, bytes, str]] = field(default_factory=dict)
    any_model: bool = False
    http10: bool = False


_KINDS = {401: "authentication_error", 429: "rate_limit_error"}


class EmulatedVendor(HttpWire):
    """One emulated server.

    Attributes:
        asked_for: how often each path was asked for, by method and path.
        thinks: whether its model has thoughts before an answer.
    """

    def __init__(self, vendor: Vendor, *, models: tuple[str, ...] = (MODEL,)) -> None:
        super().__init__()
        self.vendor = vendor
        self.models = models
        self.thinks = False
        self.asked_for: Counter[str] = Counter()
        self._serial = 0

    def handle(self, exchange: Exchange) -> None:
        vendor = self.vendor
        exchange.http10 = vendor.http10
        self.asked_for[f"{exchange.method} {exchange.path}"] += 1
        if (page := vendor.pages.get(exchange.path)) is not None and exchange.method == "GET":
            status, content, kind = page
            exchange.respond(status, content, content_type=kind)
            return
        path = re.fullmatch(vendor.chat_path, exchange.path)
        if path is None or exchange.method != "POST" or vendor.query not in exchange.query:
            raise self._refusal(Problem(status=404, message="Resource not found", kind="not_found", code="404"))
        if vendor.key_header and exchange.headers.get(vendor.key_header) != vendor.key_prefix + KEY:
            raise self._refusal(self._fault(401))
        if vendor.http10 and "content-length" not in exchange.headers:
            raise self._refusal(Problem(status=411, message="Content-Length is required"))
        self._chat(exchange, path.groupdict().get("model"))

    def _chat(self, exchange: Exchange, deployment: str | None) -> None:
        vendor = self.vendor
        try:
            sent: dict[str, Any] = json.loads(exchange.body)
        except ValueError as error:
            raise self._refusal(Problem(status=400, message=f"not JSON: {error}")) from None
        self.note(exchange, sent)
        if self.faults.status:
            raise self._refusal(self._fault(self.faults.status), {**vendor.limits, **self.faults.headers})
        if vendor.fields is not None and (unknown := sorted(sent.keys() - vendor.fields)):
            said = (
                f"[{{'type': 'extra_forbidden', 'loc': ('body', '{unknown[0]}'), 'msg': 'Extra inputs not permitted'}}]"
            )
            raise self._refusal(Problem(status=400, message=said, kind="BadRequestError", param=unknown[0]))
        told = self._plan(sent, deployment or str(sent.get("model")))
        usage = vendor.usage(told)
        if not sent.get("stream"):
            whole = vendor.shape_whole(body(told, thought_field=vendor.thought_field, usage=usage), told)
            exchange.respond(200, problems.encode(whole), **_names(vendor.headers), **_names(vendor.limits))
            return
        shaped = events(told, thought_field=vendor.thought_field)
        if vendor.usage_at == "finish":
            shaped[-1]["usage"] = usage
        elif told.include_usage:
            shaped.append(usage_chunk(told, usage))
        shaped = [*vendor.first, *vendor.shape(shaped, told)]
        failure = self._framed(vendor.stream_error(self._fault(500)))
        self.play(
            exchange,
            [*(Piece(self._framed(event), is_output=is_output(event)) for event in shaped), Piece(self._done())],
            error=failure + (self._done() if vendor.done_after_error else b""),
            malformed=vendor.frame[0] + b'{"choices": [{"delta"' + vendor.frame[1],
            **_names(vendor.headers),
            **_names(vendor.limits),
        )

    def _plan(self, sent: dict[str, Any], model: str) -> Told:
        """Raises WireError for a request that is refused."""
        vendor = self.vendor
        if model not in self.models and not vendor.any_model:
            message = f"The model `{model}` does not exist or you do not have access to it."
            raise self._refusal(Problem(status=404, message=message, code="model_not_found"))
        for message in sent.get("messages") or ():
            ids = [call.get("id") for call in message.get("tool_calls") or ()] + [message.get("tool_call_id")]
            if any(found and not re.fullmatch(vendor.wants_call_id, found) for found in ids):
                said = "Tool call id has to be defined. Expected a-z, A-Z, 0-9, with a length of 9."
                raise self._refusal(Problem(status=400, message=said, kind="invalid_request_message", code="3280"))
        try:
            request = chat_wire.parse(problems.encode(self._as_openai(sent)), chat=True)
        except chat_wire.WireError as error:
            raise self._refusal(Problem(status=vendor.invalid, message=str(error))) from None
        self._serial += 1
        ask: Ask = replace(request.ask, label=vendor.name, room=ROOM - min(request.prompt_tokens, ROOM - 1))
        answer = plan(ask)
        return Told(
            id=f"chatcmpl-emulated-{self._serial:04d}",
            model=model,
            request=request,
            answer=answer,
            thinks=self.thinks,
            call_ids=tuple(vendor.call_id.format(n) for n in range(len(answer.tools))),
            include_usage=request.include_usage,
        )

    def _as_openai(self, sent: dict[str, Any]) -> dict[str, Any]:
        """The request with the vendor's own words for a call and a schema put back into OpenAI's."""
        read = {"model": MODEL, **sent}
        if sent.get("tool_choice") in self.vendor.any_tool:
            read["tool_choice"] = "required"
        if "json_schema" in sent:
            read["response_format"] = {"type": "json_schema", "json_schema": {"schema": sent["json_schema"]}}
        return read

    def _fault(self, status: int) -> Problem:
        said = self.vendor.words.get(status) or Problem(
            status=status, message="a fault that was asked for", kind=_KINDS.get(status, "server_error")
        )
        return replace(said, code=self.faults.code) if self.faults.code else said

    def _refusal(self, problem: Problem, headers: Mapping[str, str] | None = None) -> WireError:
        return WireError(problem.status, problems.encode(self.vendor.error(problem)), _names(headers or {}))

    def _framed(self, event: object) -> bytes:
        before, after = self.vendor.frame
        return before + problems.encode(event) + after

    def _done(self) -> bytes:
        return self.vendor.frame[0] + b"[DONE]" + self.vendor.frame[1].lstrip(b" ")


def _names(headers: Mapping[str, str]) -> dict[str, str]:
    """Header names as keyword arguments of the server."""
    return {name.replace("-", "_"): value for name, value in headers.items()}
