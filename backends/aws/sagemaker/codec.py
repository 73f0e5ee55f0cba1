"""A SageMaker endpoint as a codec, and a backend of it."""

from __future__ import annotations

from urllib.parse import quote

from backends.aws.binding import bind
from backends.aws.sagemaker.decode import PayloadDecoder
from backends.aws.sagemaker.dialects import DIALECTS
from backends.contract import Backend, GenerateRequest
from backends.errors import Unsupported
from backends.http.exchange import FailureReader, Outgoing
from backends.openai.encode import encode
from backends.openai.options import bound
from backends.openai.profile import Profile
from backends.spec import BackendSpec
from backends.wire import Resources, find_dialect

MAX_BODY_BYTES = 6 * 1024 * 1024  # the service takes no more
_HEADERS = {
    "inference_component": b"x-amzn-sagemaker-inference-component",
    "target_variant": b"x-amzn-sagemaker-target-variant",
}


class EndpointCodec:
    """The words of one endpoint's container, in the service's envelope."""

    accept = b"application/vnd.amazon.eventstream"

    def __init__(self, profile: Profile, options: dict[str, str]) -> None:
        self.dialect = profile
        self._endpoint = options.get("endpoint")
        self._headers = tuple((name, options[key].encode()) for key, name in _HEADERS.items() if key in options)

    def encode(self, request: GenerateRequest, *, upstream_model: str) -> Outgoing:
        # Without a name a container answers with the one model that it has.
        model = upstream_model if self._endpoint is not None else ""
        _, body = encode(request, upstream_model=model, profile=self.dialect)
        if len(body) > MAX_BODY_BYTES:
            raise Unsupported(f"sagemaker does not take a request of {len(body)} bytes", param="messages")
        endpoint = quote(self._endpoint or upstream_model, safe="")
        path = f"/endpoints/{endpoint}/invocations-response-stream"
        return Outgoing(path=path, body=body, headers=self._headers)

    def decoder(self, request: GenerateRequest, *, read_failure: FailureReader) -> PayloadDecoder:  # noqa: ARG002 - the answer says all that is needed
        return PayloadDecoder(self.dialect, read_failure=read_failure)


def build(spec: BackendSpec, resources: Resources) -> Backend:
    """Raises what `backends.registry.build` says."""
    codec = EndpointCodec(bound(find_dialect(DIALECTS, spec.profile), spec), spec.options)
    return bind(spec, resources, codec, service="sagemaker")
