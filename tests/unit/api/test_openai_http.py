"""The routes of the HTTP face beside generation, called as any ASGI server calls them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from router.api.asgi import Message
from router.api.openai_http import OpenAiHttp
from router.clock import FakeClock
from router.dispatch.scripted import ScriptedDirector

CHAT = "/v1/chat/completions"


@dataclass
class Reply:
    """What an application sent."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


async def _call(
    method: str,
    path: str,
    *,
    body: Iterable[bytes] = (b"",),
    ready: bool = True,
    headers: dict[str, str] | None = None,
) -> Reply:
    app = OpenAiHttp(
        ScriptedDirector(),
        clock=FakeClock(),
        readiness=lambda: (ready, {"store": {"connected": ready, "age_s": 0.5}, "draining": False}),
        metrics=lambda: (b"up 1\n", "text/plain; version=0.0.4"),
        max_body_bytes=1_000,
    )
    parts = list(body)
    sent: list[Message] = []

    async def receive() -> Message:
        if not parts:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    await app({"type": "http", "method": method, "path": path, "headers": raw}, receive, send)
    start, end = sent
    shown = {name.decode(): value.decode() for name, value in start["headers"]}
    return Reply(status=start["status"], headers=shown, body=end["body"])


async def test_health_is_being_alive() -> None:
    """/healthz says 200 as long as the process answers, ready or not, and takes HEAD too."""
    replies = [await _call(method, "/healthz", ready=False) for method in ("GET", "HEAD")]

    assert [reply.status for reply in replies] == [200, 200]


@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)], ids=["ready", "not-ready"])
async def test_readiness_names_its_parts(ready: bool, status: int) -> None:  # noqa: FBT001  # a case
    """/readyz says whether to send traffic here, with the state of each part."""
    reply = await _call("GET", "/readyz", ready=ready)

    assert reply.status == status
    assert reply.json == {"ready": ready, "store": {"connected": ready, "age_s": 0.5}, "draining": False}


async def test_metrics_are_passed_on() -> None:
    """/metrics has the body and the content type that the metrics have."""
    reply = await _call("GET", "/metrics")

    assert (reply.status, reply.body, reply.headers["content-type"]) == (200, b"up 1\n", "text/plain; version=0.0.4")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "unknown_url"),
        ("POST", "/v1/embeddings", 404, "unknown_url"),
        ("GET", "/v1/models/", 404, "unknown_url"),
        ("GET", "/v1/models/none", 404, "model_not_found"),
        ("GET", CHAT, 405, "method_not_allowed"),
        ("DELETE", "/v1/models/none", 405, "method_not_allowed"),
        ("POST", "/healthz", 405, "method_not_allowed"),
    ],
)
async def test_a_wrong_address_is_a_nested_error(method: str, path: str, status: int, code: str) -> None:
    """404 and 405 have OpenAI's shape, the request id, and no advice to try again."""
    reply = await _call(method, path, headers={"x-request-id": "abc"})

    assert (reply.status, reply.json["error"]["code"]) == (status, code)
    assert set(reply.json["error"]) >= {"message", "type", "param", "code"}
    assert (reply.headers["x-request-id"], reply.headers["x-should-retry"]) == ("abc", "false")
    assert ("allow" in reply.headers) is (status == 405)


@pytest.mark.parametrize(
    ("headers", "param"),
    [
        ({"content-type": "application/x-www-form-urlencoded"}, "content-type"),
        ({"content-type": "application/json", "content-encoding": "gzip"}, "content-encoding"),
        ({"content-type": "application/json; charset=utf-8"}, "body"),
        ({"content-type": "application/vnd.api+json"}, "body"),
        ({}, "body"),
    ],
    ids=["form", "gzip", "charset", "json-like", "none"],
)
async def test_only_plain_json_is_taken(headers: dict[str, str], param: str) -> None:
    """Another content type or encoding is refused by its header's name; JSON is looked at, here an empty body."""
    reply = await _call("POST", CHAT, headers=headers)

    assert (reply.status, reply.json["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("body", "headers"),
    [((b"x" * 1_001,), {}), ((b"x" * 600, b"x" * 600), {}), ((), {"content-length": "1001"})],
    ids=["one-part", "parts", "announced"],
)
async def test_a_body_beyond_the_bound_is_refused(body: tuple[bytes, ...], headers: dict[str, str]) -> None:
    """More bytes than are taken is 413, however they come."""
    reply = await _call("POST", CHAT, body=body, headers=headers)

    assert (reply.status, reply.json["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("given", ["", "x" * 129, "a\tb", "é"], ids=["empty", "long", "tab", "accent"])
async def test_an_unfit_request_id_is_replaced(given: str) -> None:
    """Ids that are empty, long or not printable ASCII are not used; a new one is made."""
    reply = await _call("GET", "/healthz", headers={"x-request-id": given})

    assert len(reply.headers["x-request-id"]) == 32
