"""The Messages wire as a codec: one profile's words for requests and answers."""

from __future__ import annotations

from backends.anthropic.decode import MessagesDecoder
from backends.anthropic.encode import encode
from backends.anthropic.profile import Profile
from backends.anthropic.settings import Settings
from backends.contract import GenerateRequest
from backends.http.exchange import FailureReader, Outgoing


class MessagesCodec:
    """Anthropic itself, and whoever offers its wire."""

    accept = b"text/event-stream"

    def __init__(self, profile: Profile, settings: Settings) -> None:
        self.dialect = profile
        self._settings = settings

    def encode(self, request: GenerateRequest, *, upstream_model: str) -> Outgoing:
        body = encode(request, upstream_model=upstream_model, profile=self.dialect, settings=self._settings)
        return Outgoing(path=self.dialect.path, body=body)

    def decoder(self, request: GenerateRequest, *, read_failure: FailureReader) -> MessagesDecoder:  # noqa: ARG002 - the answer says all that is needed
        return MessagesDecoder(read_failure=read_failure)
