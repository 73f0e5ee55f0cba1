"""What the error codes of AWS mean, from the header of an answer or the name of an exception inside a stream.

A code alone says it where it is here. Validation errors are not: whether a prompt is too long, a model unknown or a
field wrong is in their words.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from backends.errors import (
    AuthFailed,
    BackendError,
    ModelNotServed,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    TimedOut,
    UpstreamFault,
    Warming,
)
from backends.failures.rules import FailureRules
from backends.http.exchange import FailureReader

if TYPE_CHECKING:  # botocore is loaded where it is used only, and these tables are read everywhere
    from backends.aws.event_stream import Message

_CODES: Final[Mapping[str, type[BackendError]]] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "throttlingexception",
                "throttling",
                "throttledexception",
                "toomanyrequestsexception",
                "requestlimitexceeded",
            ),
            RateLimited,
        ),
        "servicequotaexceededexception": QuotaExhausted,
        **dict.fromkeys(("serviceunavailableexception", "serviceunavailable"), Overloaded),
        **dict.fromkeys(("modelnotreadyexception", "modelnotready"), Warming),
        **dict.fromkeys(("modeltimeoutexception", "modelinvocationtimeexceeded"), TimedOut),
        **dict.fromkeys(
            (
                "internalserverexception",
                "internalfailure",
                "internalstreamfailure",
                "internaldependencyexception",
                "modelstreamerrorexception",
                "modelstreamerror",
                "streambroken",
            ),
            UpstreamFault,
        ),
        "resourcenotfoundexception": ModelNotServed,
        **dict.fromkeys(
            (
                "accessdeniedexception",
                "accessdenied",
                "expiredtokenexception",
                "expiredtoken",
                "invalidsignatureexception",
                "signaturedoesnotmatch",
                "incompletesignatureexception",
                "incompletesignature",
                "missingauthenticationtokenexception",
                "missingauthenticationtoken",
                "unrecognizedclientexception",
                "invalidclienttokenid",
                "notauthorized",
                "optinrequired",
            ),
            AuthFailed,
        ),
    }
)
# An exception inside a stream has no status; these decide by their words under the status they have outside of one.
_STATUSES: Final[Mapping[str, int]] = MappingProxyType({"validationexception": 400, "validationerror": 400})

FAILURES = FailureRules(codes=_CODES, statuses={503: Overloaded})


def stream_failure(message: Message, read_failure: FailureReader) -> BackendError:
    """The error that a message which is no event means."""
    try:
        told = msgspec.json.decode(message.payload, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = {"message": message.payload.decode("utf-8", "replace")}
    body: dict[str, object] = {"type": message.name, "status": _STATUSES.get(message.name.lower())}
    body["message"] = told.get("message") or told.get("Message") or message.text or message.name
    body["error_code"] = told.get("ErrorCode")
    for name in ("originalStatusCode", "originalMessage"):
        body[name] = told.get(name) or told.get(name[0].upper() + name[1:])
    return read_failure(msgspec.json.encode(body))
