"""The section `feeds` of prices.yaml: who tells the router of changes of prices, and how far it is believed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field

from router.domain.price_feed import FeedKind, FeedSettings
from router.settings.strict import PositiveSeconds, Strict, enum_by_value, nearest, shown

MAX_FEEDS = 32
_FEED = FeedSettings(name="", kind=FeedKind.HTTP_JSON)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+")


class FeedEntry(Strict):
    """One feed; its fields are those of `FeedSettings`."""

    name: str
    kind: Annotated[FeedKind, enum_by_value(FeedKind)]
    url: str = _FEED.url
    interval_s: PositiveSeconds = _FEED.interval_s
    max_age_s: PositiveSeconds = _FEED.max_age_s
    max_jump: Annotated[float, Field(gt=1)] = _FEED.max_jump
    timeout_s: PositiveSeconds = _FEED.timeout_s
    backends: list[str] = Field(default_factory=list)
    refresh: bool = _FEED.refresh
    credential: str | None = None

    def settings(self) -> FeedSettings:
        fields = self.model_dump() | {"backends": tuple(self.backends)}
        return FeedSettings(**fields)


def check_feeds(
    feeds: Sequence[FeedEntry], served: Mapping[str, frozenset[str]], wrong: Callable[[str, str], None]
) -> None:
    """Says everything that is wrong with the feeds: `wrong` takes the path of a key and what is wrong there."""
    if len(feeds) > MAX_FEEDS:
        wrong("feeds", f"at most {MAX_FEEDS}, not {len(feeds)}")
    seen: dict[str, int] = {}
    for index, feed in enumerate(feeds):
        path = f"feeds[{index}]"
        for field, what in _feed_faults(feed):
            wrong(f"{path}.{field}", what)
        for position, backend in enumerate(feed.backends):
            if backend not in served:
                wrong(f"{path}.backends[{position}]", f"unknown backend '{backend}'{nearest(backend, served)}")
        if feed.name in seen:
            wrong(f"{path}.name", f"the same name as feeds[{seen[feed.name]}]")
        seen.setdefault(feed.name, index)


def _feed_faults(feed: FeedEntry) -> Iterator[tuple[str, str]]:
    """The rules within one feed that it breaks, each as (field, what is wrong)."""
    if not _NAME.fullmatch(feed.name):
        yield "name", f"expected up to 64 of a-z, 0-9 and . _ -, a letter or digit first; got {shown(feed.name)}"
    if feed.kind is FeedKind.HTTP_JSON and not feed.url:
        yield "url", "required for kind http_json, and missing"
    elif feed.url and not _is_url(feed.url):
        yield "url", "expected an http or https URL without user and password"
    if feed.max_age_s < feed.interval_s:
        yield (
            "max_age_s",
            f"must be at least interval_s ({feed.interval_s:g}): every price would be stale between readings",
        )
    if feed.timeout_s > feed.interval_s:
        yield "timeout_s", f"must be at most interval_s ({feed.interval_s:g})"
    if feed.credential is not None and not _REFERENCE.fullmatch(feed.credential):
        # Not quoted: somebody may have put the secret itself there.
        yield "credential", "expected a reference, env:NAME or file:PATH"


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        return False
