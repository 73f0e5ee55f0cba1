"""ConverseStream as a codec, and a backend of it."""

from __future__ import annotations

from backends.aws.bedrock.decode import ConverseDecoder
from backends.aws.bedrock.dialects import DIALECTS
from backends.aws.bedrock.encode import encode, path_of
from backends.aws.binding import bind
from backends.contract import Backend, GenerateRequest
from backends.dialect import Dialect
from backends.http.exchange import FailureReader, Outgoing
from backends.spec import BackendSpec
from backends.wire import Resources, find_dialect

# Where SDKs look for a Bedrock API key.
API_KEY_VARIABLE = "AWS_BEARER_TOKEN_BEDROCK"


class ConverseCodec:
    """The words of one backend: its options go into every request."""

    accept = b"application/vnd.amazon.eventstream"

    def __init__(self, dialect: Dialect, options: dict[str, str]) -> None:
        self.dialect = dialect
        self._options = options

    def encode(self, request: GenerateRequest, *, upstream_model: str) -> Outgoing:
        body = encode(request, upstream_model=upstream_model, options=self._options)
        return Outgoing(path=path_of(upstream_model), body=body)

    def decoder(self, request: GenerateRequest, *, read_failure: FailureReader) -> ConverseDecoder:  # noqa: ARG002 - the answer says all that is needed
        return ConverseDecoder(read_failure=read_failure)


def build(spec: BackendSpec, resources: Resources) -> Backend:
    """Raises what `backends.registry.build` says."""
    codec = ConverseCodec(find_dialect(DIALECTS, spec.profile), spec.options)
    return bind(spec, resources, codec, service="bedrock", api_key_variable=API_KEY_VARIABLE)
