"""An emulated JetStream server: Decode and HealthCheck, under the names and numbers of the original.

No client of today's wire is published to judge it by; it rests on the field numbers and on what the original's
orchestrator does: a prompt that is too long loses its beginning without a word, the token that ends an answer is not
sent, and the last response of an answer is empty.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator

import grpc

from backends.jetstream.v1 import jetstream_pb2 as pb
from simulation.answer import Ask, count_tokens, plan
from simulation.wires.rpc import Context, Refusal, RpcWire
from simulation.wires.serving import Piece

SERVICE = "jetstream_proto.Orchestrator"
AFTER_THE_TURN = "And on it talks. "
QUEUE_IS_FULL = "The driver prefill queue is full and more requests cannot be handled. You may retry this request."
_VOCABULARY = 256_000
_BROKEN = b"broken"


class JetStreamServer(RpcWire):
    """One emulated server.

    Args:
        window: tokens of prompt and answer; a prompt gets half of it.
        key: see RpcWire; the engine itself wants none, a proxy in front of it may.

    Attributes:
        live: what HealthCheck says; False while the engine is not there.
        slots: how many answers are given at a time; whoever asks for one more is refused.
        speculates: how many tokens come in one response.
        counts_tokens: False leaves the token ids out, so that only text comes.
        end_of_turn: what the model writes at the end of its turn where the tokenizer's own end is another token; the
            engine takes it for text and lets the model talk on.
    """

    def __init__(self, *, window: int = 2048, key: str = "") -> None:
        super().__init__(SERVICE, key=key)
        self.window = window
        self.live = True
        self.slots = 64
        self.speculates = 1
        self.counts_tokens = True
        self.end_of_turn = ""
        self._active = 0
        self.answers("HealthCheck", pb.HealthCheckRequest, self._health)
        self.streams("Decode", pb.DecodeRequest, self._decode)

    async def _health(self, _request: pb.HealthCheckRequest, _context: Context) -> bytes:
        return pb.HealthCheckResponse(is_live=self.live).SerializeToString()

    async def _decode(self, request: pb.DecodeRequest, context: Context) -> AsyncGenerator[bytes]:
        self.note(context, {"request": request})
        if request.WhichOneof("content") is None:
            raise Refusal(grpc.StatusCode.UNKNOWN, "Unexpected <class 'TypeError'>: attribute name must be string")
        if self._active >= self.slots:
            raise Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, QUEUE_IS_FULL)
        self._active += 1
        try:
            async for message in self.play(self._pieces(request), error=_BROKEN):
                if message is _BROKEN:  # this wire says it with a status
                    raise Refusal(grpc.StatusCode.INTERNAL, "the engine broke")
                yield message
        finally:
            self._active -= 1

    def _pieces(self, request: pb.DecodeRequest) -> list[Piece]:
        fed = count_tokens(len(request.text_content.text)) + len(request.token_content.token_ids)
        answer = plan(
            Ask(
                label="JetStream",
                seed=zlib.crc32(request.SerializeToString(deterministic=True)),
                room=self.window - min(fed, self.window // 2),
                max_tokens=request.max_tokens,
            )
        )
        tokens = [answer.piece(at) for at in range(answer.tokens)]
        if self.end_of_turn and answer.finish_reason == "stop":
            tokens += [self.end_of_turn, AFTER_THE_TURN]
        has_text = request.WhichOneof("content") == "text_content"
        pieces = [Piece(pb.DecodeResponse(initial_content=pb.DecodeResponse.InitialContent()).SerializeToString())]
        for at in range(0, len(tokens), self.speculates):
            step = tokens[at : at + self.speculates]
            ids = [zlib.crc32(token.encode()) % _VOCABULARY for token in step] if self.counts_tokens else []
            pieces.append(Piece(_response("".join(step) if has_text else "", ids), is_output=True))
        return [*pieces, Piece(_response("", []))]


def _response(text: str, ids: list[int]) -> bytes:
    sample = pb.DecodeResponse.StreamContent.Sample(text=text, token_ids=ids)
    return pb.DecodeResponse(stream_content=pb.DecodeResponse.StreamContent(samples=[sample])).SerializeToString()
