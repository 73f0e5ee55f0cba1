"""An emulated SageMaker runtime: an endpoint whose container answers on the OpenAI chat wire, in parts cut anywhere.

What the container says is the emulated OpenAI server's own (`simulation.events`); the service wraps it into parts, and
a failure of it into a ModelError of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

import msgspec

from simulation import wire
from simulation.answer import plan
from simulation.events import Writer
from simulation.http import Exchange
from simulation.wire import encode
from simulation.wires import event_stream
from simulation.wires.aws_signature import Callers, refusal
from simulation.wires.serving import HttpWire, Piece, WireError

REGION = "us-east-1"
ENDPOINT = "emulated-endpoint"
VARIANTS = frozenset({"AllTraffic", "canary"})
MODEL = "served-model"
WINDOW = 8_000
STATUS_OF: Mapping[str, int] = MappingProxyType(
    {
        "ValidationError": 400,
        "ThrottlingException": 400,
        "ModelError": 424,
        "ModelNotReadyException": 429,
        "InternalFailure": 500,
        "ServiceUnavailable": 503,
        "InternalDependencyException": 530,
    }
)
_CODE_OF = {status: code for code, status in reversed(tuple(STATUS_OF.items()))}
_EVENTS = "application/vnd.amazon.eventstream"
Form = Literal["events", "lines", "document", "generation"]


class EmulatedSageMaker(HttpWire):
    """See the module.

    Attributes:
        callers: whose signatures are good.
        form: what the container answers with: server-sent events, a JSON document per line, one document, or the list
            that Hugging Face's first servers answer.
        failure: status and body of a container that fails, None for one that does not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.callers = Callers("sagemaker", REGION)
        self.form: Form = "events"
        self.failure: tuple[int, str] | None = None
        self._serial = 0

    def handle(self, exchange: Exchange) -> None:
        root, name, operation = ("", "", "")
        if exchange.path.count("/") == 3:
            root, name, operation = exchange.path[1:].split("/")
        if exchange.method != "POST" or root != "endpoints" or not operation.startswith("invocations"):
            raise refusal(404, "UnknownOperationException", "Unknown operation")
        body = msgspec.json.decode(exchange.body) if exchange.body else {}
        self.seen.append({"path": exchange.path, "headers": dict(exchange.headers), "body": body})
        self.callers.check(exchange)
        if self.faults.status:
            raise self._fault()
        if name != ENDPOINT:
            raise _error("ValidationError", f"Endpoint {name} of account 123456789012 not found.")
        variant = exchange.headers.get("x-amzn-sagemaker-target-variant", "AllTraffic")
        if variant not in VARIANTS:
            raise _error("ValidationError", f"Variant {variant} not found for endpoint {name}.")
        if self.failure is not None:
            raise _model_error(*self.failure)
        self._invoke(exchange, is_stream=operation.endswith("-response-stream"), variant=variant)

    def _invoke(self, exchange: Exchange, *, is_stream: bool, variant: str) -> None:
        try:
            request = _read(exchange.body)
        except wire.WireError as error:
            raise _model_error(error.status, error.body.decode()) from None
        self._serial += 1
        answer = plan(replace(request.ask, label=f"{ENDPOINT} in SageMaker", room=WINDOW - request.prompt_tokens))
        writer = Writer(request, answer, answer_id=f"chatcmpl-{self._serial:016x}", created=int(time.time()))
        headers = {"x_amzn_requestid": f"emulated-{self._serial}", "x_amzn_invoked_production_variant": variant}
        if not is_stream:
            exchange.respond(200, writer.body(), **headers)
            return
        match self.form:
            case "events":
                parts = _events(writer, answer.tokens)
            case "lines":
                parts = (
                    (part.replace(b"data: ", b"").replace(b"\n\n", b"\n").replace(b"[DONE]", b""), is_output)
                    for part, is_output in _events(writer, answer.tokens)
                )
            case "document":
                parts = _whole(writer.body())
            case "generation":
                parts = _whole(encode([{"generated_text": answer.text}]))
        code = self.faults.code or "StreamBroken"
        self.play(
            exchange,
            [Piece(_part(piece), is_last and is_output) for part, is_output in parts for piece, is_last in _cut(part)],
            error=event_stream.exception(
                "ModelStreamError", encode({"Message": f"Emulated {code}", "ErrorCode": code})
            ),
            malformed=event_stream.spoilt(_part(b"data: spoilt")),
            content_type=_EVENTS,
            **headers,
        )

    def _fault(self) -> WireError:
        code = self.faults.code or _CODE_OF.get(self.faults.status, "InternalFailure")
        headers = {name.replace("-", "_"): value for name, value in self.faults.headers.items()}
        return _error(code, f"Emulated {code}", status=self.faults.status, **headers)


def _read(body: bytes) -> wire.Request:
    """A request as the container reads it. Raises wire.WireError."""
    request = wire.parse(body, chat=b'"messages"' in body)
    if request.model not in ("", MODEL):  # without a name it is the one model that there is
        message = f"The model `{request.model}` does not exist."
        raise wire.WireError(404, message, code="model_not_found", param="model")
    if request.prompt_tokens > WINDOW:
        message = f"This model's maximum context length is {WINDOW} tokens."
        raise wire.WireError(400, message, code="context_length_exceeded", param="messages")
    return request


def _error(code: str, message: str, *, status: int = 0, **headers: str) -> WireError:
    named = {"x_amzn_errortype": f"{code}:http://internal.amazon.com/coral/com.amazonaws.sagemaker/", **headers}
    return WireError(status or STATUS_OF[code], encode({"Message": message}), named)


def _model_error(status: int, body: str) -> WireError:
    """The container's failure, in the service's."""
    kind = "client" if status < 500 else "server"
    told = {
        "ErrorCode": "CLIENT_ERROR_FROM_MODEL" if status < 500 else "SERVER_ERROR_FROM_MODEL",
        "LogStreamArn": f"arn:aws:logs:{REGION}:123456789012:log-group:/aws/sagemaker/Endpoints/{ENDPOINT}",
        "Message": f'Received {kind} error ({status}) from primary with message "{body}".',
        "OriginalMessage": body,
        "OriginalStatusCode": status,
    }
    return WireError(424, encode(told), {"x_amzn_errortype": "ModelError"})


def _events(writer: Writer, tokens: int) -> Iterator[tuple[bytes, bool]]:
    for number in range(tokens):
        yield writer.tokens(number, number + 1), True
    yield writer.ending(), False


def _whole(body: bytes) -> Iterator[tuple[bytes, bool]]:
    yield body, True


def _cut(part: bytes) -> Iterator[tuple[bytes, bool]]:
    """In two, where it pleases: a part begins and ends anywhere, also inside a character."""
    at = len(part) * 2 // 3
    yield part[:at], False
    yield part[at:], True


def _part(piece: bytes) -> bytes:
    return event_stream.event("PayloadPart", piece, content_type="application/octet-stream")
