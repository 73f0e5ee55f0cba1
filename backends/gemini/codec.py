"""Google's wire as a codec: where a model is reached, and one dialect's words for requests and answers."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from backends.contract import GenerateRequest
from backends.gemini.decode import GeminiDecoder
from backends.gemini.dialects import GeminiDialect
from backends.gemini.encode import encode
from backends.http.exchange import FailureReader, Outgoing


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the models of one backend are.

    Attributes:
        prefix: of every path, with the slash at its end.
        models: the collection of a model that is named without one.
        collections: what a full name may begin with.
    """

    prefix: str
    models: str
    collections: tuple[str, ...]

    def path(self, model: str) -> str:
        name = model if model.startswith(self.collections) else self.models + model
        return f"{self.prefix}{quote(name)}:streamGenerateContent?alt=sse"


class GeminiCodec:
    """What the Gemini API and Vertex AI have in common, which is all but the path."""

    accept = b"text/event-stream"

    def __init__(self, dialect: GeminiDialect, target: Target, *, openapi_schemas: bool = False) -> None:
        self.dialect = dialect
        self._target = target
        self._openapi_schemas = openapi_schemas

    def encode(self, request: GenerateRequest, *, upstream_model: str) -> Outgoing:
        body = encode(
            request, upstream_model=upstream_model, dialect=self.dialect, openapi_schemas=self._openapi_schemas
        )
        return Outgoing(path=self._target.path(upstream_model), body=body)

    def decoder(self, request: GenerateRequest, *, read_failure: FailureReader) -> GeminiDecoder:  # noqa: ARG002 - the answer says all that is needed
        return GeminiDecoder(read_failure=read_failure)
