"""Ollama's wire as a codec, with the settings of one backend."""

from __future__ import annotations

from backends.contract import GenerateRequest
from backends.dialect import Dialect
from backends.http.exchange import FailureReader, Outgoing
from backends.ollama.decode import OllamaDecoder
from backends.ollama.encode import Settings, encode


class OllamaCodec:
    accept = b"application/x-ndjson"

    def __init__(self, dialect: Dialect, settings: Settings) -> None:
        self.dialect = dialect
        self._settings = settings

    def encode(self, request: GenerateRequest, *, upstream_model: str) -> Outgoing:
        path, body = encode(request, upstream_model=upstream_model, dialect=self.dialect, settings=self._settings)
        return Outgoing(path=path, body=body)

    def decoder(self, request: GenerateRequest, *, read_failure: FailureReader) -> OllamaDecoder:  # noqa: ARG002 - the answer says all that is needed
        return OllamaDecoder(read_failure=read_failure, num_ctx=self._settings.num_ctx)
