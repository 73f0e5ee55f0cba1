"""The document of a feed."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.price_feed import FeedKind, FeedSettings
from router.feeds.contract import FeedFailed, Quote
from router.feeds.http_json import HttpJsonFeed, quotes_of

URL = "http://feed.test/prices.json"


def feed(answer: httpx.Response, asked: list[httpx.Request] | None = None, token: str | None = None) -> HttpJsonFeed:
    def handle(request: httpx.Request) -> httpx.Response:
        if asked is not None:
            asked.append(request)
        return answer

    client = httpx.AsyncClient(transport=httpx.MockTransport(handle))
    settings = FeedSettings(name="f", kind=FeedKind.HTTP_JSON, url=URL)
    return HttpJsonFeed(settings, client=client, token=lambda: token)


def test_a_document_becomes_quotes() -> None:
    """Amounts, time and source are read; keys that nobody knows are passed over."""
    body = json.dumps(
        [
            {
                "backend": "a",
                "usd_per_hour": 9.5,
                "spot": True,
                "at": "2026-12-01T06:00:00Z",
                "zone": "x",
                "source": "s",
            },
            {"backend": "b", "model": "m", "input_usd_per_mtok": 1, "output_usd_per_mtok": 2, "at": 1_800_000_000},
        ]
    ).encode()
    at = datetime(2026, 12, 1, 6, tzinfo=UTC).timestamp()
    assert quotes_of(body) == [
        Quote(backend="a", usd_per_hour=9.5, spot=True, source="s", quoted_at=at),
        Quote(backend="b", model="m", input_usd_per_mtok=1.0, output_usd_per_mtok=2.0, quoted_at=1.8e9),
    ]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("7", "not an object"),
        ('{"backend": 7}', "backend and model must be text"),
        ('{"backend": "a", "usd_per_hour": "9.5"}', "usd_per_hour must be a number"),
        ('{"backend": "a", "usd_per_hour": true}', "usd_per_hour must be a number"),
        ('{"backend": "a", "usd_per_hour": 1' + "0" * 400 + "}", "usd_per_hour is no number that a price has"),
        ('{"backend": "a", "usd_per_hour": 1, "spot": "yes"}', "spot must be true or false"),
        ('{"backend": "a", "usd_per_hour": 1, "source": "\\n"}', "source must be text"),
        ('{"backend": "a", "usd_per_hour": 1, "at": "soon"}', "at must be a time"),
    ],
)
def test_an_entry_that_is_none_does_not_hide_the_others(entry: str, problem: str) -> None:
    """It comes with its problem, between the others."""
    first, bad, last = quotes_of(f'[{{"backend": "x"}}, {entry}, {{"backend": "y"}}]'.encode())
    assert (first.backend, last.backend) == ("x", "y")
    assert bad.problem.startswith(problem)


def test_not_a_number_is_read_as_it_is_meant() -> None:
    """NaN and Infinity, which are no JSON, reach the guard as what they are."""
    (quote,) = quotes_of(b'[{"backend": "a", "usd_per_hour": NaN, "request_usd": Infinity}]')
    assert str(quote.usd_per_hour) == "nan"
    assert str(quote.request_usd) == "inf"


@given(st.binary(max_size=60) | st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5),
       lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["backend", "at", "spot", "source",
       "usd_per_hour", "model"]), inner, max_size=4)).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_bytes_are_quotes_or_a_failure_of_the_feed(body: bytes) -> None:
    """Whatever a server sends, the result is quotes, or one kind of error."""
    try:
        quotes = quotes_of(body)
    except FeedFailed:
        return
    assert all(isinstance(quote, Quote) for quote in quotes)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            httpx.Response(302, headers={"location": "http://elsewhere.test/"}),
            "answered 302: redirects are not followed",
        ),
        (httpx.Response(500, json=[]), "answered 500"),
        (httpx.Response(204), "answered 204"),
        (httpx.Response(200, html="<p>login</p>"), "the answer is text/html, not application/json"),
        (httpx.Response(200, content=b"[]"), "the answer is of no kind, not application/json"),
        (httpx.Response(200, json={"prices": []}), "the answer is not a JSON list"),
        (httpx.Response(200, content=b"[" * 100_000, headers={"content-type": "application/json"}), "is not JSON"),
        (httpx.Response(200, content=b"\xff", headers={"content-type": "application/json"}), "is not JSON"),
        (httpx.Response(200, json=[{}] * 20_001), "has 20001 quotes"),
        (httpx.Response(200, content=b" " * 3_000_000, headers={"content-type": "application/json"}), "is longer than"),
        (
            httpx.Response(200, content=b"[]", headers={"content-type": "application/json", "content-encoding": "br"}),
            "a compressed answer",
        ),
    ],
)
async def test_what_is_no_document_is_refused_with_its_reason(answer: httpx.Response, reason: str) -> None:
    """Each failure says what is wrong, for an operator."""
    with pytest.raises(FeedFailed, match=reason):
        await feed(answer).fetch()


async def test_the_token_is_sent_and_not_shown() -> None:
    """A feed's credential is a bearer token, and in no error."""
    asked: list[httpx.Request] = []
    assert await feed(httpx.Response(200, json=[]), asked, token="secret").fetch() == []
    assert asked[0].headers["authorization"] == "Bearer secret"
    with pytest.raises(FeedFailed) as error:
        await feed(httpx.Response(401), token="secret").fetch()
    assert "secret" not in repr(error.value)
