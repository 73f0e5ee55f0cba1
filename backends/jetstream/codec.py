"""JetStream's wire as a codec: a prompt and a limit go out, pieces of text with their tokens come back.

The end is the call's own, with OK. Nothing says why an answer ended or what it used: tokens are counted here, and as
many as were allowed are taken for "length". The engine knows no stop sequences; the answer is cut where one begins, and
the call is cancelled.
"""

from __future__ import annotations

from collections.abc import Sequence

from backends.chat_template import ChatTemplate
from backends.chunk_builder import ChunkBuilder
from backends.contract import Chunk, FinishReason, GenerateRequest, Usage
from backends.dialect import Dialect
from backends.errors import BackendError, BadRequest, ProtocolViolation
from backends.jetstream.v1 import jetstream_pb2 as pb
from backends.rpc import features
from backends.rpc.channel import Metadata, Method
from backends.text_guard import StopGuard

DECODE = Method("/jetstream_proto.Orchestrator/Decode", pb.DecodeRequest, pb.DecodeResponse)
HEALTH_CHECK = Method("/jetstream_proto.Orchestrator/HealthCheck", pb.HealthCheckRequest, pb.HealthCheckResponse)
_INT32 = (1 << 31) - 1


class JetStreamCodec:
    """Words of one server. It serves one model, so that no name is sent."""

    method = DECODE
    metadata: Metadata = ()

    def __init__(self, dialect: Dialect, template: ChatTemplate, *, default_max_tokens: int, keep_bos: bool) -> None:
        self.dialect = dialect
        self._template = template
        self._default_max_tokens = default_max_tokens
        self._keep_bos = keep_bos

    async def prepare(
        self,
        request: GenerateRequest,
        *,
        upstream_model: str,  # noqa: ARG002 - the server has one
        request_id: str,  # noqa: ARG002 - goes with the call's metadata
    ) -> tuple[pb.DecodeRequest, JetStreamDecoder]:
        """Raises Unsupported and BadRequest."""
        features.check(request, self.dialect)
        prompt = self._template.render_request(request, keep_bos=self._keep_bos)
        max_tokens = request.sampling.max_output_tokens or self._default_max_tokens
        if max_tokens > _INT32:
            raise BadRequest("max_tokens: it does not fit into INT32", param="max_output_tokens")
        message = pb.DecodeRequest(
            max_tokens=max_tokens, text_content=pb.DecodeRequest.TextContent(text=prompt), num_samples=1
        )
        end_of_turn = self._template.end_of_turn if request.prompt is None else ""
        return message, JetStreamDecoder(max_tokens, request.sampling.stop, end_of_turn)

    def failed(self, upstream_model: str, error: BackendError) -> None:
        """Nothing is remembered."""


class JetStreamDecoder:
    """One answer. After `done` nothing more is read; `is_cut` where the server is still speaking."""

    def __init__(self, max_tokens: int, stops: Sequence[str], end_of_turn: str) -> None:
        self._max_tokens = max_tokens
        self._stops = tuple(stops)
        self._guard = StopGuard((*stops, end_of_turn))
        self._has_begun = False
        self._tokens = 0
        self._silent_tokens = 0  # at the end: the token that ended it has no text
        self._out = ChunkBuilder()
        self.done = False
        self.is_cut = False

    def feed(self, message: pb.DecodeResponse) -> list[Chunk]:
        """The chunk of one response; the first may say nothing."""
        if not message.stream_content.samples:
            return []
        self._has_begun = True
        sample = message.stream_content.samples[0]
        count = len(sample.token_ids) or (1 if sample.text else 0)
        self._tokens += count
        self._silent_tokens = 0 if sample.text else self._silent_tokens + count
        if sample.text:
            self._out.count_event()
            if shown := self._guard.feed(sample.text):
                self._out.add_text(shown)
            if self._guard.found is not None:
                self._end(FinishReason.STOP)
                self.is_cut = True
        return self._out.drain()

    def close(self) -> list[Chunk]:
        """The call has ended with OK, and the answer with it; one of no tokens has an empty sample."""
        if not self._has_begun:
            raise ProtocolViolation("a stream without an answer")
        if rest := self._guard.close():
            self._out.add_text(rest)
        was_cut = self._tokens - self._silent_tokens >= self._max_tokens
        self._end(FinishReason.LENGTH if was_cut else FinishReason.STOP)
        return self._out.drain()

    def _end(self, reason: FinishReason) -> None:
        self.done = True
        found = self._guard.found
        self._out.usage = Usage(output=self._tokens, estimated=True)
        self._out.end(reason, found if found in self._stops else None)
