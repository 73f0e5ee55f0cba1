"""Addresses of a server's endpoints under the base that was configured."""

from __future__ import annotations

import re

import httpx

# httpx resolves them, so that a name of a model would choose the endpoint.
_DOTS = frozenset({".", ".."})
_VERSION = re.compile(r"/v\d+(?:beta)?\d*(?=/)")


def endpoint(base_url: str, path: str) -> httpx.URL:
    """`path`, percent-encoded and perhaps with a query, under the base.

    A base may already end in `/v1`, or the version that the path begins with, the way it is written for SDKs.

    Raises:
        ValueError: no http or https address, or a path that leads out of itself.
    """
    try:
        base = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise ValueError(f"{base_url!r} is not a URL: {error}") from error
    if base.scheme not in ("http", "https") or not base.host:
        raise ValueError(f"{base_url!r} is not an http or https URL")
    if base.userinfo:
        raise ValueError("a base URL may not hold a user or password; use a credential reference")
    if not _DOTS.isdisjoint(path.partition("?")[0].split("/")):
        raise ValueError("a path with dots in place of a name, which would lead elsewhere")
    prefix = base.raw_path.partition(b"?")[0].decode("ascii").rstrip("/")
    version = _VERSION.match(path)
    prefix = prefix.removesuffix(version[0] if version is not None else "/v1")
    return base.copy_with(raw_path=(prefix + path).encode("ascii"), fragment=None)
