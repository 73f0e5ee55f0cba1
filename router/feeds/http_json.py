"""A feed that is read from a URL: a JSON list of quotes, such as a spot-price poller writes.

    [{"backend": "h100-vllm", "usd_per_hour": 9.4, "spot": true, "at": "2026-12-01T06:00:00Z"},
     {"backend": "hosted-api", "model": "llama-3.1-8b", "input_usd_per_mtok": 0.18, "output_usd_per_mtok": 0.18,
      "cached_input_usd_per_mtok": 0.09, "batch_discount": 0.5, "source": "list of 1 December"}]

`backend` and one of usd_per_hour, request_usd, and input_ with output_usd_per_mtok must be there; `at` is a time (UTC
unless it says otherwise) or Unix seconds. Other keys are of no interest. The answer must be a 200 of JSON itself, of at
most `MAX_BYTES`: no redirect is followed, for it would be somebody else's word.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import httpx

from router.domain.price_feed import FeedSettings
from router.domain.price_rules import AMOUNTS
from router.domain.pricing import Source
from router.feeds.contract import FeedFailed, Quote

MAX_BYTES = 2 * 1024 * 1024
MAX_QUOTES = 20_000
MAX_SOURCE = 200


class HttpJsonFeed:
    """`token` reads the bearer token anew each time, for a secret may be replaced; None: there is none."""

    source_kind = Source.FEED

    def __init__(self, settings: FeedSettings, *, client: httpx.AsyncClient, token: Callable[[], str | None]) -> None:
        self.settings = settings
        self._client = client
        self._token = token

    async def fetch(self) -> Sequence[Quote]:
        return quotes_of(await self._body())

    async def _body(self) -> bytes:
        """The answer's body; its time is bounded by whoever asks."""
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        if (token := self._token()) is not None:
            headers["authorization"] = f"Bearer {token}"
        body = bytearray()
        try:
            async with self._client.stream(
                "GET", self.settings.url, headers=headers, follow_redirects=False, timeout=self.settings.timeout_s
            ) as response:
                _check(response)
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > MAX_BYTES:
                        raise FeedFailed(f"the answer is longer than {MAX_BYTES} bytes")
        except httpx.TimeoutException:
            raise FeedFailed(f"no answer within {self.settings.timeout_s:g} s") from None
        except httpx.HTTPError as error:
            raise FeedFailed(f"it cannot be read: {str(error) or type(error).__name__}") from error
        return bytes(body)


def quotes_of(body: bytes) -> list[Quote]:
    """The quotes of a document. An entry that is none is there with its problem, so that the others count.

    Raises:
        FeedFailed: the document as a whole is none.
    """
    try:
        # The standard library's parser takes the NaN that some programs write: one quote is wrong then, not all.
        entries = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise FeedFailed(f"the answer is not JSON: {str(error)[:100]}") from None
    if not isinstance(entries, list):
        raise FeedFailed("the answer is not a JSON list")
    if len(entries) > MAX_QUOTES:
        raise FeedFailed(f"the answer has {len(entries)} quotes, at most {MAX_QUOTES} are read")
    return [_quote(entry) for entry in entries]


def _check(response: httpx.Response) -> None:
    if response.is_redirect:
        raise FeedFailed(f"it answered {response.status_code}: redirects are not followed")
    if response.status_code != 200:
        raise FeedFailed(f"it answered {response.status_code}")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise FeedFailed(f"the answer is {kind[:50] or 'of no kind'}, not application/json")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise FeedFailed("a compressed answer, although none was asked for")


def _quote(entry: object) -> Quote:
    if not isinstance(entry, dict):
        return Quote(backend="", problem="not an object")
    backend, model = entry.get("backend"), entry.get("model", "")
    if not isinstance(backend, str) or not isinstance(model, str):
        return Quote(backend="", problem="backend and model must be text")
    spot, source = entry.get("spot", False), entry.get("source", "")
    if not isinstance(spot, bool):
        return Quote(backend=backend, model=model, problem="spot must be true or false")
    if not isinstance(source, str) or not source.isprintable():
        return Quote(backend=backend, model=model, problem="source must be text")
    try:
        amounts = {name: _number(name, entry.get(name)) for name in (*AMOUNTS, "batch_discount")}
        at = _moment(entry.get("at"))
    except ValueError as error:
        return Quote(backend=backend, model=model, problem=str(error))
    quote = Quote(backend=backend, model=model, spot=spot, source=source[:MAX_SOURCE], quoted_at=at)
    return replace(quote, **amounts)  # type: ignore[arg-type]  # numbers all, which the names of fields cannot tell


def _number(name: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} must be a number")  # noqa: TRY004 - one kind of error for one quote
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} is no number that a price has") from None


def _moment(value: object) -> float | None:
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            raise ValueError("at must be a time such as 2026-12-01T06:00:00Z, or Unix seconds") from None
    return _number("at", value)
