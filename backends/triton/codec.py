"""Triton's wire as a codec: the prompt rendered here, the tensors by the model's own description."""

from __future__ import annotations

import re

from backends.authorise import KeyAuthoriser
from backends.chat_template import ChatTemplate
from backends.contract import GenerateRequest
from backends.errors import (
    BackendError,
    BadRequest,
    ConnectFailed,
    ModelNotServed,
    ProtocolViolation,
    UpstreamFault,
)
from backends.rpc import features
from backends.rpc.channel import Metadata
from backends.triton import methods
from backends.triton.decode import Expected, TritonDecoder
from backends.triton.dialects import TritonDialect
from backends.triton.encode import Settings, encode, streams
from backends.triton.shape import ModelShape
from backends.triton.shapes import ModelShapes
from backends.triton.v2 import inference_pb2 as pb

# Failures after which a model may not be what it was.
_CHANGED = (BadRequest, ConnectFailed, ModelNotServed, ProtocolViolation, UpstreamFault)
_SPECIAL_TOKEN = re.compile(r"<[^<>\s]{1,64}>")


class TritonCodec:
    """Words of one server, for every model on it."""

    method = methods.MODEL_STREAM_INFER
    # Failures then come as a gRPC status and not as text alone; older servers do not know it and lose nothing.
    metadata: Metadata = (("triton_grpc_error", "true"),)

    def __init__(
        self,
        dialect: TritonDialect,
        template: ChatTemplate,
        settings: Settings,
        shapes: ModelShapes,
        authoriser: KeyAuthoriser,
        *,
        keep_bos: bool,
    ) -> None:
        self.dialect = dialect
        self._template = template
        self._settings = settings
        self._shapes = shapes
        self._authoriser = authoriser
        self._keep_bos = keep_bos

    async def prepare(
        self, request: GenerateRequest, *, upstream_model: str, request_id: str
    ) -> tuple[pb.ModelInferRequest, TritonDecoder]:
        """Raises Unsupported and BadRequest before anything is generated, and grpc.aio.AioRpcError."""
        features.check(request, self.dialect)
        prompt = self._template.render_request(request, keep_bos=self._keep_bos)
        shape = await self._shapes.get(upstream_model)
        is_chat = request.prompt is None
        # The vllm backend knows where its model's turns end, and text is held back for every stop sequence.
        end_of_turn = self._template.end_of_turn if is_chat and not self.dialect.trims_stop else ""
        stops = request.sampling.stop
        message = encode(
            request,
            prompt=prompt,
            stops=[*stops, end_of_turn] if end_of_turn else stops,
            model=upstream_model,
            request_id=request_id,
            shape=shape,
            dialect=self.dialect,
            settings=self._settings,
        )
        expected = Expected(
            request_id=request_id,
            max_tokens=request.sampling.max_output_tokens or self._settings.default_max_tokens,
            stops=stops,
            end_of_turn=end_of_turn,
            echoes=self._echoes(prompt, shape),
            is_cumulative=self._is_cumulative(shape),
            top_logprobs=request.sampling.top_logprobs or 0,
            secret=self._authoriser.revealed(),
        )
        return message, TritonDecoder(shape, self.dialect, expected)

    def failed(self, upstream_model: str, error: BackendError) -> None:
        if isinstance(error, _CHANGED):
            self._shapes.forget(upstream_model)

    def _is_cumulative(self, shape: ModelShape) -> bool:
        chosen = self._settings.is_cumulative
        return shape.is_cumulative if chosen is None else chosen and streams(shape, self._settings)

    def _echoes(self, prompt: str, shape: ModelShape) -> tuple[str, ...]:
        """What a server may repeat that cannot be told to leave it out; its tokenizer leaves special tokens out."""
        if shape.input(self.dialect.inputs, "exclude_input") is not None:
            return ()
        return (prompt, _SPECIAL_TOKEN.sub("", prompt))
