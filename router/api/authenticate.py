"""Who calls: the tenant of an API key, at both faces, and of nothing else in a request.

Users of OpenAI's SDK have to send some key, so one that this router did not issue is the same as none: the default
tenant, unless keys are required. A key with our prefix is always held to its word. Only hashes are looked up, in an
index that is made anew when the snapshot's tenants change; the text is neither kept, logged, shown nor passed on.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from router.clock import Clock
from router.domain import api_key
from router.domain.tenant import DEFAULT_TENANT, ApiKey, Tenant
from router.errors import Unauthenticated

_NEW_KEY = "Use a valid key; 'inference-router admin tenants keys create TENANT' makes one."
_BEARER = "bearer "


class Authenticator:
    """`tenants` gives those of the snapshot; `clock.time()` decides whether a key has expired."""

    def __init__(
        self, tenants: Callable[[], Mapping[str, Tenant]], *, clock: Clock, require_api_key: bool = False
    ) -> None:
        self._tenants = tenants
        self._clock = clock
        self._require = require_api_key
        self._seen: Mapping[str, Tenant] | None = None
        self._index: dict[str, tuple[Tenant, ApiKey]] = {}

    def tenant(self, authorization: str | None, key: str | None = None) -> str:
        """The tenant of an `authorization` header, or of a bare key beside it.

        Raises:
            Unauthenticated: a key is needed, or the one that was sent is ours and not valid.
        """
        index = self._current()
        for text in (_bearer(authorization), (key or "").strip()):
            if text.startswith(api_key.PREFIX):
                return self._of_key(text, index)
        if self._require:
            raise Unauthenticated("an API key of this router is required", hint=_NEW_KEY)
        default = (self._seen or {}).get(DEFAULT_TENANT)
        if default is not None and default.disabled:
            raise Unauthenticated("callers without an API key of this router are not served", hint=_NEW_KEY)
        return DEFAULT_TENANT

    def of_http(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The tenant of a request with these headers, whose names are lower case."""
        authorization = key = None
        for name, value in headers:
            if name == b"authorization":
                authorization = value.decode("latin-1")
            elif name == b"x-api-key":
                key = value.decode("latin-1")
        return self.tenant(authorization, key)

    def of_grpc(self, metadata: Iterable[tuple[str, Any]] | None) -> str:
        """The tenant of a call with this metadata."""
        authorization = key = None
        for name, value in metadata or ():
            if name == "authorization" and isinstance(value, str):
                authorization = value
            elif name == "x-api-key" and isinstance(value, str):
                key = value
        return self.tenant(authorization, key)

    def _of_key(self, text: str, index: Mapping[str, tuple[Tenant, ApiKey]]) -> str:
        digest = api_key.digest(text)
        found = index.get(digest)
        if found is None or not hmac.compare_digest(found[1].sha256, digest):
            raise Unauthenticated("the API key is not known", hint=_NEW_KEY)
        tenant, key = found
        if key.revoked:
            raise Unauthenticated(f"API key '{key.id}' was revoked", hint=_NEW_KEY)
        if key.expires_at is not None and self._clock.time() >= key.expires_at:
            raise Unauthenticated(f"API key '{key.id}' has expired", hint=_NEW_KEY)
        if tenant.disabled:
            raise Unauthenticated(f"tenant '{tenant.id}' is disabled", hint="Ask the operator of the router.")
        return tenant.id

    def _current(self) -> Mapping[str, tuple[Tenant, ApiKey]]:
        tenants = self._tenants()
        if tenants is not self._seen:
            self._index = {key.sha256: (tenant, key) for tenant in tenants.values() for key in tenant.keys}
            self._seen = tenants
        return self._index


def _bearer(authorization: str | None) -> str:
    if authorization is None or authorization[:7].lower() != _BEARER:
        return ""
    return authorization[7:].strip()
