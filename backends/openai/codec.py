"""The OpenAI chat wire as a codec: one profile's words for requests and answers."""

from __future__ import annotations

from backends.contract import GenerateRequest
from backends.http.exchange import Decoder, FailureReader, Outgoing
from backends.openai.decode import ChatDecoder
from backends.openai.encode import encode
from backends.openai.profile import Profile
from backends.openai.stopping import StoppingDecoder
from backends.signals import ORCA_REQUEST


class OpenAICodec:
    """Everything that speaks the OpenAI chat wire, from llama.cpp to hosted APIs."""

    accept = b"text/event-stream"

    def __init__(self, profile: Profile) -> None:
        self.dialect = profile
        self._headers = (ORCA_REQUEST,) if profile.orca else ()

    def encode(self, request: GenerateRequest, *, upstream_model: str) -> Outgoing:
        path, body = encode(request, upstream_model=upstream_model, profile=self.dialect)
        return Outgoing(path=path, body=body, headers=self._headers)

    def decoder(self, request: GenerateRequest, *, read_failure: FailureReader) -> Decoder:
        decoder = ChatDecoder(self.dialect, read_failure=read_failure)
        stops = request.sampling.stop
        return StoppingDecoder(decoder, stops) if stops and self.dialect.stops_here else decoder
