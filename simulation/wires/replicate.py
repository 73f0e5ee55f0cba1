"""An emulated Replicate: predictions are created on one port and streamed on another, as they are on two hosts.

Dropping a stream ends nothing here either: `cancelled` says which predictions were cancelled in the wire's way.
"""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from simulation.answer import CHARS_PER_TOKEN, Answer, Ask, count_tokens, plan
from simulation.http import Exchange
from simulation.wires.serving import HttpWire, Piece, WireError

TOKEN = "r8_emulated"  # noqa: S105 - opens nothing
CONTEXT_TOKENS = 8192
DEFAULT_MAX_TOKENS = 512
KEPT_PREDICTIONS = 256
VERSION = "e" * 64
_MODEL = re.compile(r"/v1/(models|deployments)/([^/]+)/([^/]+)/predictions")
_PREDICTION = re.compile(r"/v1/predictions/(\w+)(/cancel)?")
_DURATION = re.compile(r"[1-9]\d*[smh]")
_INPUTS: dict[str, type | tuple[type, ...]] = {
    "prompt": str,
    "system_prompt": str,
    "prompt_template": str,
    "max_tokens": int,
    "seed": int,
    "top_k": int,
    "stop_sequences": str,
    **dict.fromkeys(("temperature", "top_p", "presence_penalty", "frequency_penalty"), (int, float)),
}
_TITLES = {
    401: ("Unauthenticated", "You did not pass a valid authentication token"),
    402: ("Insufficient credit", "You have insufficient credit to run this model."),
    404: ("Not found", "The requested resource could not be found."),
    429: ("Too many requests", "Request was throttled. Your rate limit resets in ~30s."),
    500: ("Internal server error", "An internal error occurred."),
    503: ("Service unavailable", "Service is currently unavailable due to high demand. Please try again later. (E003)"),
}


@dataclass(slots=True, kw_only=True)
class _Prediction:
    id: str
    model: str
    version: str
    input: dict[str, Any]
    answer: Answer
    urls: dict[str, str]
    status: str = "starting"
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)


class ReplicateServer(HttpWire):
    """The API, and the host of its streams.

    Args:
        models: as "owner/name".

    Attributes:
        interrupts: events after which the first connection of a stream ends without its end, then the second, ...
        forgets: a resumed stream begins anew.
        ends_as: the reason in the last event, "" for success.
        counts_tokens: whether the prediction says how many there were.
        other_urls: addresses to give in place of the true ones; "" for none.
        redirects: where a stream sends its reader, "" for nowhere.
        creating: while it is not set, the creation of a prediction is held back.
        cancelled: ids in the order in which they were cancelled.
    """

    def __init__(self, *models: str) -> None:
        super().__init__()
        self.models = frozenset(models)
        self.streams = _Streams(self)
        self.interrupts: deque[int] = deque()
        self.forgets = False
        self.ends_as = ""
        self.counts_tokens = True
        self.other_urls: dict[str, str] = {}
        self.redirects = ""
        self.creating = asyncio.Event()
        self.creating.set()
        self.cancelled: deque[str] = deque(maxlen=KEPT_PREDICTIONS)
        self.predictions: OrderedDict[str, _Prediction] = OrderedDict()
        self._cancelled = asyncio.Event()
        self._serial = 0
        self._held: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> None:
        await super().start(host, port)
        await self.streams.start(host, 0)

    async def close(self) -> None:
        for task in self._held:
            task.cancel()
        await asyncio.gather(*self._held, return_exceptions=True)
        await self.streams.close()
        await super().close()

    async def cancellation(self) -> None:
        """Waits until a prediction has been cancelled."""
        await self._cancelled.wait()

    def handle(self, exchange: Exchange) -> None:
        self.check_token(exchange)
        by_model = _MODEL.fullmatch(exchange.path)
        one = _PREDICTION.fullmatch(exchange.path)
        if exchange.method == "POST" and (by_model or exchange.path == "/v1/predictions"):
            task = asyncio.ensure_future(self._create(exchange, by_model))
            self._held.add(task)
            task.add_done_callback(self._held.discard)
        elif one and one[1] in self.predictions and (exchange.method == "POST") == bool(one[2]):
            prediction = self.predictions[one[1]]
            if one[2]:
                self._cancel(prediction)
            exchange.respond(200, _encode(self._shown(prediction)))
        elif (exchange.method, exchange.path) == ("GET", "/v1/account"):
            exchange.respond(200, _encode({"type": "organization", "username": "emulated", "name": "Emulated"}))
        else:
            raise refusal(404)

    def check_token(self, exchange: Exchange) -> None:
        if exchange.headers.get("authorization") not in (f"Bearer {TOKEN}", f"Token {TOKEN}"):
            raise refusal(401)

    async def _create(self, exchange: Exchange, by_model: re.Match[str] | None) -> None:
        try:
            body = json.loads(exchange.body)
            self.note(exchange, {"path": exchange.path, **body})
            await self.creating.wait()
            prediction = self._made(exchange, body, by_model)
        except WireError as error:
            exchange.respond(error.status, error.body, **error.headers)
            return
        shown = _encode(self._shown(prediction))
        exchange.respond(201, shown, ratelimit_remaining="599", ratelimit_reset="1")

    def _made(self, exchange: Exchange, body: dict[str, Any], by_model: re.Match[str] | None) -> _Prediction:
        if self.faults.status:
            raise refusal(self.faults.status, self.faults.code, self.faults.headers)
        model = f"{by_model[2]}/{by_model[3]}" if by_model else next(iter(sorted(self.models)), "")
        if by_model and model not in self.models:
            raise refusal(404)
        if not by_model and body.get("version") != VERSION:
            words = "The specified version does not exist (or perhaps you don't have permission to use it?)"
            raise refusal(422, words, title="Invalid version or not permitted")
        if not _DURATION.fullmatch(exchange.headers.get("cancel-after", "1s")):
            raise refusal(422, "Cancel-After is no duration", title="Invalid header")
        given: dict[str, Any] = body["input"] if isinstance(body.get("input"), dict) else {}
        _check_inputs(given)
        self._serial += 1
        prediction_id = f"emulated{self._serial:018d}"
        api = f"http://{exchange.headers['host']}/v1/predictions/{prediction_id}"
        urls = {"get": api, "cancel": f"{api}/cancel", "web": f"https://replicate.com/p/{prediction_id}"}
        if body.get("stream"):
            urls["stream"] = f"http://127.0.0.1:{self.streams.port}/v1/streams/{prediction_id}"
        prediction = _Prediction(
            id=prediction_id,
            model=model,
            version=VERSION,
            input=given,
            answer=plan(_ask(given)),
            urls={name: url for name, url in (urls | self.other_urls).items() if url},
        )
        self.predictions[prediction_id] = prediction
        while len(self.predictions) > KEPT_PREDICTIONS:
            self.predictions.popitem(last=False)
        return prediction

    def _cancel(self, prediction: _Prediction) -> None:
        if prediction.status in ("starting", "processing"):
            prediction.status = "canceled"
        self.cancelled.append(prediction.id)
        prediction.cancelled.set()
        self._cancelled.set()

    def _shown(self, prediction: _Prediction) -> dict[str, Any]:
        ended = prediction.status == "succeeded"
        shown: dict[str, Any] = {
            "id": prediction.id,
            "model": prediction.model,
            "version": prediction.version,
            "input": prediction.input,
            "logs": "",
            "output": list(_pieces(prediction.answer.text)) if ended else None,
            "error": "CUDA out of memory" if prediction.status == "failed" else None,
            "status": prediction.status,
            "created_at": "2026-11-23T12:00:00.123456789Z",
            "urls": prediction.urls,
        }
        if ended:
            metrics: dict[str, Any] = {"predict_time": 2.0, "total_time": 2.5, "time_to_first_token": 0.25}
            if self.counts_tokens:
                metrics["input_token_count"] = _input_tokens(prediction.input)
                metrics["output_token_count"] = prediction.answer.tokens
            shown["metrics"] = metrics
        return shown


class _Streams(HttpWire):
    """The host of the streams; its faults are those of the API."""

    def __init__(self, api: ReplicateServer) -> None:
        super().__init__()
        self._api = api

    def handle(self, exchange: Exchange) -> None:
        self._api.check_token(exchange)
        prediction = self._api.predictions.get(exchange.path.rpartition("/")[2])
        if prediction is None:
            raise refusal(404)
        self.note(exchange, {"path": exchange.path})
        if self._api.redirects:
            raise WireError(302, b"", {"location": self._api.redirects})
        prediction.status = "processing"
        self.faults = self._api.faults
        pieces = list(self._events(prediction))
        after = "" if self._api.forgets else exchange.headers.get("last-event-id", "")
        if after:
            pieces = pieces[
                1 + next(at for at, piece in enumerate(pieces) if f"id: {after}\n".encode() in piece.data) :
            ]
        pieces.insert(0, Piece(b": hi\n\n"))
        if self._api.interrupts:
            pieces = [*pieces[: 1 + self._api.interrupts.popleft()], Piece(b":408: 408 Request Timeout\n\n")]
        if self.faults.stall_after is None:
            prediction.status = {"": "succeeded", "error": "failed"}.get(self._api.ends_as, self._api.ends_as)
        self.play(
            exchange,
            pieces,
            error=_event("error", "9:0", json.dumps({"detail": "Prediction interrupted; please retry (code: PA)"})),
            malformed=b"event: done\nid: 9:1\ndata: {{\n\n",
        )

    def _events(self, prediction: _Prediction) -> Iterator[Piece]:
        number = 0
        for number, piece in enumerate(_pieces(prediction.answer.text)):
            yield Piece(_event("output", f"1707756341:{number}", piece), is_output=True)
        done = json.dumps({"reason": self._api.ends_as}) if self._api.ends_as else "{}"
        yield Piece(_event("done", f"1707756341:{number + 1}", done))


def refusal(status: int, words: str = "", headers: dict[str, str] | None = None, *, title: str = "") -> WireError:
    """An error as the API words it."""
    known_title, known_words = _TITLES.get(status, ("Error", "a fault that was asked for"))
    body = {"detail": words or known_words, "status": status, "title": title or known_title}
    return WireError(status, _encode(body), headers or {})


def _check_inputs(given: dict[str, Any]) -> None:
    wrong = [
        f"- input.{name}: Invalid type. Expected: {kind}, given: {type(given[name]).__name__}"
        for name, kind in _INPUTS.items()
        if name in given and not isinstance(given[name], kind)
    ]
    if "prompt" not in given:
        wrong.append("- input: prompt is required")
    elif _input_tokens(given) > CONTEXT_TOKENS:
        wrong.append("- input.prompt: the prompt is too long, maximum context length is 8192 tokens")
    if wrong:
        raise refusal(422, "\n".join(wrong), title="Input validation failed")


def _input_tokens(given: dict[str, Any]) -> int:
    return count_tokens(len(str(given.get("prompt", ""))) + len(str(given.get("system_prompt", ""))))


def _ask(given: dict[str, Any]) -> Ask:
    stops = tuple(filter(None, str(given.get("stop_sequences", "")).split(",")))
    return Ask(
        label="Replicate",
        seed=given.get("seed", zlib.crc32(given["prompt"].encode())),
        room=CONTEXT_TOKENS,
        max_tokens=given.get("max_tokens", DEFAULT_MAX_TOKENS),
        stop=stops,
    )


def _pieces(text: str) -> Iterator[str]:
    """Tokens; after each sentence a line end, since that is what a stream has to get right."""
    lined = text.replace(". ", ".\n\n ")
    return (lined[start : start + CHARS_PER_TOKEN] for start in range(0, len(lined), CHARS_PER_TOKEN))


def _event(name: str, event_id: str, data: str) -> bytes:
    lines = "".join(f"data: {line}\n" for line in data.split("\n"))
    return f"event: {name}\nid: {event_id}\n{lines}\n".encode()


def _encode(value: dict[str, Any]) -> bytes:
    return msgspec.json.encode(value) + b"\n"
