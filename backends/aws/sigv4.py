"""Requests signed with Signature Version 4, by botocore's signer.

What is signed is what says who asks for what (host, content type, AWS's own headers, path, body); what a proxy may add
or change on the way is not. A signature holds for one request, so nothing is ever ready before there is one.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Final

import httpx
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from backends.authorise import Headers
from backends.aws.credentials import Keys
from backends.errors import AuthFailed, BackendError

# A longer body is hashed in a thread, so that images do not stall the tokens of other streams.
_THREAD_FROM_BYTES: Final = 256 * 1024
_OUTDATED = re.compile(r"expired|security token|invalidclienttokenid", re.IGNORECASE)
_SIGNED_PREFIX: Final = b"x-amz"


class SigV4Authoriser:
    """Signs every request. It does not print.

    Args:
        keys: where the keys come from.
        service: the name that AWS signs under ("bedrock", "sagemaker").
        region: where the request goes.
    """

    ready: Headers | None = None

    def __init__(self, keys: Keys, *, service: str, region: str) -> None:
        self._keys = keys
        self._service = service
        self._region = region
        self._last: ReadOnlyCredentials | None = None
        # At DEBUG botocore logs the canonical request, and a session token is one of its headers.
        logging.getLogger("botocore.auth").setLevel(logging.INFO)

    async def headers(self, method: str, url: httpx.URL, headers: Headers, body: bytes) -> Headers:
        keys = self._last = await self._keys.current()
        if len(body) < _THREAD_FROM_BYTES:
            return self._sign(keys, method, url, headers, body)
        return await asyncio.to_thread(self._sign, keys, method, url, headers, body)

    async def keys(self) -> ReadOnlyCredentials:
        """What a request sent now is signed with. Raises AuthFailed where there is nothing to sign with."""
        return await self._keys.current()

    def revealed(self) -> str | None:
        """The session token: the only secret that travels, and AWS quotes it when a signature is wrong."""
        return self._last.token if self._last is not None else None

    def refused(self, error: BackendError) -> None:
        """Nothing yet: `renew` looks for other keys, once somebody can wait for it."""

    async def renew(self, keys: ReadOnlyCredentials, error: AuthFailed) -> bool:
        """Whether these keys were refused for their age, and there are others now."""
        return _OUTDATED.search(error.message) is not None and tuple(await self._keys.renewed()) != tuple(keys)

    def _sign(
        self, keys: ReadOnlyCredentials, method: str, url: httpx.URL, headers: Headers, body: bytes
    ) -> list[tuple[bytes, bytes]]:
        signed = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in headers
            if name in (b"host", b"content-type") or name.startswith(_SIGNED_PREFIX)
        }
        # The path goes as it is on the wire: the signer encodes it once more, as all services but S3 want it.
        address = f"{url.scheme}://{url.netloc.decode('ascii')}{url.raw_path.decode('ascii')}"
        request = AWSRequest(method=method, url=address, headers=signed, data=body)
        SigV4Auth(keys, self._service, self._region).add_auth(request)
        return [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in request.headers.items()
            if name not in signed
        ]
