"""An emulated JetStream server: one model on Google's engine for TPUs, over gRPC.

No client of today's wire is published to judge it by; it rests on the field numbers and on reading the engine's source.
"""

from __future__ import annotations

import zlib

import grpc
import grpc.aio

from backends.jetstream.v1 import jetstream_pb2 as pb
from simulation.answer import Ask, count_tokens, plan
from simulation.wires.rpc import Context, RpcError, RpcWire, refusing, to_bytes
from simulation.wires.serving import Piece

SERVICE = "jetstream_proto.Orchestrator"


class JetStreamServer(RpcWire):
    """One emulated server.

    Args:
        window: tokens of prompt and answer.
        token: see RpcWire; the engine itself wants none, a proxy in front of it may.

    Attributes:
        live: what HealthCheck says.
        speculates: how many tokens come in one response.
    """

    def __init__(self, *, window: int = 2048, token: str = "") -> None:
        super().__init__(token=token)
        self.window = window
        self.live = True
        self.speculates = 1

    def handlers(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Decode": grpc.unary_stream_rpc_method_handler(self._decode, pb.DecodeRequest.FromString, to_bytes),
                "HealthCheck": grpc.unary_unary_rpc_method_handler(
                    refusing(self._health), pb.HealthCheckRequest.FromString, to_bytes
                ),
            },
        )

    async def _health(self, _request: pb.HealthCheckRequest, context: Context) -> pb.HealthCheckResponse:
        self.check(context)
        return pb.HealthCheckResponse(is_live=self.live)

    async def _decode(self, request: pb.DecodeRequest, context: Context) -> None:
        self.note(context, request=request)
        try:
            self.check(context)
            if error := self.fault():
                raise error
            pieces = self._pieces(request)
        except RpcError as error:
            await context.abort(error.code, error.message)
        await self.play(context, pieces, error=RpcError(grpc.StatusCode.INTERNAL, "the engine broke"), malformed=b"")

    def _pieces(self, request: pb.DecodeRequest) -> list[Piece]:
        prompt = request.text_content.text
        room = self.window - count_tokens(len(prompt))
        if room <= 0:
            message = f"the prompt is longer than the max_prefill_length of {self.window}"
            raise RpcError(grpc.StatusCode.INVALID_ARGUMENT, message)
        answer = plan(
            Ask(label="JetStream", seed=zlib.crc32(prompt.encode()), room=room, max_tokens=request.max_tokens)
        )
        tokens = [answer.piece(at) for at in range(answer.tokens)]
        if answer.finish_reason == "stop":
            tokens.append("")  # the token that ended it, which has no text
        pieces = [Piece(pb.DecodeResponse(initial_content=pb.DecodeResponse.InitialContent()).SerializeToString())]
        for at in range(0, len(tokens), self.speculates):
            step = tokens[at : at + self.speculates]
            response = pb.DecodeResponse()
            response.stream_content.samples.add(text="".join(step), token_ids=range(at, at + len(step)))
            pieces.append(Piece(response.SerializeToString(), is_output=True))
        return pieces
