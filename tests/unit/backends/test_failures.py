"""Error bodies and statuses of many vendors, and every exception of the HTTP client."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import BackendError
from backends.failures.bodies import MAX_MESSAGE_CHARS
from backends.failures.classify import from_event, from_response
from backends.failures.client import CLIENT_ERRORS, from_client, map_httpx_errors
from backends.openai.profiles import PROFILES


@dataclass(frozen=True, slots=True)
class Case:
    """One answer and the error it means; `says` is part of the message."""

    id: str
    profile: str
    status: int
    body: str
    code: str
    says: str = ""
    param: str | None = None


CASES = [Case(**entry) for entry in yaml.safe_load((Path(__file__).parent / "error_answers.yaml").read_text())]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
def test_an_answer_means_one_error(case: Case) -> None:
    """Status, body and vendor together say what went wrong."""
    error = from_response(case.status, {}, case.body.encode(), rules=PROFILES[case.profile].failures)
    assert error.code == case.code
    assert case.says in error.message
    assert error.message
    assert error.status == case.status
    assert error.param == case.param


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('{"error":{"message":"x","code":429}}', "RATE_LIMITED"),
        ('{"error":{"message":"x","type":"BadRequestError","code":400}}', "BAD_REQUEST"),
        ('{"error":{"message":"boom","trace":"..."}}', "UPSTREAM_FAULT"),
        ('{"error":"text"}', "UPSTREAM_FAULT"),
        ('{"error":{"message":"x","type":"rate_limit_error"}}', "RATE_LIMITED"),
        ('{"object":"error","message":"maximum context length is 5","code":400}', "CONTEXT_TOO_LONG"),
        ("not json", "UPSTREAM_FAULT"),
    ],
)
def test_an_error_in_a_stream_means_the_same(body: str, code: str) -> None:
    """The status inside the body stands in for the 200 in front of it."""
    assert from_event(body.encode(), rules=PROFILES["generic"].failures).code == code


def test_a_503_with_retry_after_is_load() -> None:
    """A server that says when to come back is busy, not broken."""
    assert from_response(503, {"retry-after": "3"}, b"", rules=PROFILES["generic"].failures).code == "OVERLOADED"


def test_aws_names_its_error_in_a_header() -> None:
    """The header's code counts like one in the body."""
    headers = {"x-amzn-errortype": "ModelNotReadyException:http://internal"}
    assert from_response(429, headers, b'{"message":"x"}', rules=PROFILES["generic"].failures).code == "WARMING"


@pytest.mark.parametrize(
    "echo",
    [
        "Incorrect API key provided: my-own-secret-value.",
        "Incorrect API key provided: sk-proj-abcdefghijklmnop1234.",
        "bad header Bearer abcdefghijkl123",
        "key gsk_abcdefghijklmnopqrst is wrong",
        "key AIzaSyA-abcdefghijklmnopqrstuvwxyz is wrong",
    ],
)
def test_a_key_in_the_answer_is_masked(echo: str) -> None:
    """No credential gets into a message, ours or one that only looks like one."""
    error = from_response(
        401,
        {},
        f'{{"error":{{"message":"{echo}"}}}}'.encode(),
        rules=PROFILES["openai"].failures,
        secret="my-own-secret-value",
    )
    assert "***" in error.message
    for secret in ("my-own-secret-value", "abcdefghijkl"):
        assert secret not in error.message


def test_a_long_message_is_cut() -> None:
    """A page of HTML does not travel to the caller."""
    error = from_response(500, {}, b"<p>" + b"word " * 10_000, rules=PROFILES["generic"].failures)
    assert len(error.message) <= MAX_MESSAGE_CHARS


KEYS = st.sampled_from(
    ["error", "message", "code", "detail", "details", "loc", "type", "metadata", "raw", "retryDelay"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.integers(100, 599), st.binary(max_size=80) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_body_breaks_the_reader(status: int, body: bytes) -> None:
    """Whatever an upstream sends, the result is one error with a message."""
    error = from_response(status, {}, body, rules=PROFILES["generic"].failures)
    assert isinstance(error, BackendError)
    assert error.message


def _client_exceptions() -> list[type[Exception]]:
    return [
        value
        for value in vars(httpx).values()
        if inspect.isclass(value) and issubclass(value, Exception) and not issubclass(value, Warning)
    ]


@pytest.mark.parametrize("kind", _client_exceptions(), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("answered", [False, True])
def test_every_exception_of_the_client_is_mapped(kind: type[Exception], *, answered: bool) -> None:
    """Nothing of httpx leaves an adapter: each of its exceptions becomes one of ours."""
    assert issubclass(kind, CLIENT_ERRORS)
    if kind is httpx.HTTPStatusError:
        request = httpx.Request("GET", "http://x")
        instance: Exception = httpx.HTTPStatusError("x", request=request, response=httpx.Response(500))
    else:
        words = ("x",) if "message" in inspect.signature(kind).parameters else ()
        instance = kind(*words)
    crossing = map_httpx_errors()
    crossing.answered = answered
    with pytest.raises(BackendError), crossing:
        raise instance


@pytest.mark.parametrize(
    ("error", "answered", "code"),
    [
        (httpx.ConnectError("refused"), False, "CONNECT_FAILED"),
        (httpx.ReadError("reset"), False, "CONNECT_FAILED"),
        (httpx.RemoteProtocolError("Server disconnected"), False, "CONNECT_FAILED"),
        (httpx.ReadError("reset"), True, "UPSTREAM_FAULT"),
        (httpx.RemoteProtocolError("incomplete chunked read"), True, "UPSTREAM_FAULT"),
        (httpx.ConnectTimeout(""), False, "TIMED_OUT"),
        (httpx.ReadTimeout(""), True, "TIMED_OUT"),
        (httpx.PoolTimeout(""), False, "OVERLOADED"),
        (ConnectionResetError("reset"), False, "CONNECT_FAILED"),
        (TimeoutError(), False, "TIMED_OUT"),
        (httpx.LocalProtocolError("Illegal header value b'Bearer sk-1'"), False, "PROTOCOL_VIOLATION"),
    ],
)
def test_a_lost_connection_means_less_before_the_answer_than_in_it(
    error: Exception, code: str, *, answered: bool
) -> None:
    """Before the head of the answer nothing was served; after it the answer broke off."""
    mapped = from_client(error, answered=answered)
    assert mapped.code == code
    assert "sk-1" not in mapped.message


def test_other_exceptions_pass() -> None:
    """A bug of ours is not an upstream's failure."""
    with pytest.raises(KeyError), map_httpx_errors():
        raise KeyError
