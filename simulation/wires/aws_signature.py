"""Who sent a request, as AWS finds out: the signature is computed again from what arrived, by botocore's signer.

The path that is signed is the one on the wire; a client that encodes it in one way and signs it in another is refused.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from simulation.http import Exchange
from simulation.wire import encode
from simulation.wires.serving import WireError

ACCESS_KEY = "AKIAEMULATED00000000"
SECRET_KEY = "emulated/secret+access+key"  # noqa: S105 - of a server that has no secrets
API_KEY = "ABSKemulated"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<id>\w+)/(?P<date>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, ?"
    r"SignedHeaders=(?P<headers>[^,]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)


def refusal(status: int, code: str, message: str, **headers: str) -> WireError:
    """An error of AWS: its code is in a header, with an address behind it."""
    where = {"x_amzn_errortype": f"{code}:http://internal.amazon.com/coral/com.amazon.coral.service/", **headers}
    return WireError(status, encode({"message": message}), where)


@dataclass(slots=True)
class Callers:
    """Who may call.

    Attributes:
        service: the name that requests are signed for.
        region: and the region.
        tokens: session tokens that hold; a request without one is good with the plain keys.
        api_keys: taken as a bearer's; empty for a service that has none.
    """

    service: str
    region: str
    tokens: set[str] = field(default_factory=set)
    api_keys: frozenset[str] = frozenset()

    def check(self, exchange: Exchange) -> None:
        """Raises WireError for a request that nobody has signed."""
        given = exchange.headers.get("authorization", "")
        if given.startswith("Bearer ") and self.api_keys:
            if given.removeprefix("Bearer ") not in self.api_keys:
                message = "Authentication failed: Please make sure your API Key is valid."
                raise refusal(403, "AccessDeniedException", message)
            return
        found = _AUTHORIZATION.fullmatch(given)
        if found is None:
            raise refusal(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
        token = exchange.headers.get("x-amz-security-token")
        if found["id"] != ACCESS_KEY:
            message = "The security token included in the request is invalid."
            raise refusal(403, "UnrecognizedClientException", message)
        if token is not None and token not in self.tokens:
            raise refusal(403, "ExpiredTokenException", "The security token included in the request is expired")
        if (found["service"], found["region"]) != (self.service, self.region):
            message = f"Credential should be scoped to correct service: '{self.service}'."
            raise refusal(403, "InvalidSignatureException", message)
        names = found["headers"].split(";")
        if not hmac.compare_digest(self._signature(exchange, names, token), found["signature"]):
            quoted = "".join(f"\n{name}:{exchange.headers.get(name)}" for name in names)  # AWS shows what it signed
            message = "The request signature we calculated does not match the signature you provided." + quoted
            raise refusal(403, "InvalidSignatureException", message)

    def _signature(self, exchange: Exchange, names: list[str], token: str | None) -> str:
        query = f"?{exchange.query}" if exchange.query else ""
        request = AWSRequest(
            method=exchange.method,
            url=f"http://{exchange.headers.get('host', '')}{exchange.path}{query}",
            headers={name: exchange.headers.get(name, "") for name in names},
            data=exchange.body,
        )
        request.context["timestamp"] = exchange.headers.get("x-amz-date", "")
        signer = SigV4Auth(ReadOnlyCredentials(ACCESS_KEY, SECRET_KEY, token), self.service, self.region)
        signature: str = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
        return signature
