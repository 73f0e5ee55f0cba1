"""Descriptions of the models of one server, each read once and again when it may be out of date."""

from __future__ import annotations

import grpc
import grpc.aio

from backends.authorise import KeyAuthoriser
from backends.rpc.backend import credential
from backends.rpc.channel import Channel
from backends.triton import methods
from backends.triton.dialects import TritonDialect
from backends.triton.shape import ModelShape, from_config, from_metadata
from backends.triton.v2 import inference_pb2 as pb

_KEPT_MODELS = 64
# Said where the configuration is not part of the protocol, or kept from clients.
NOT_TOLD = frozenset({grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.PERMISSION_DENIED})


class ModelShapes:
    """What is known of the models that were asked."""

    def __init__(
        self, channel: Channel, authoriser: KeyAuthoriser, dialect: TritonDialect, *, timeout_s: float
    ) -> None:
        self._channel = channel
        self._authoriser = authoriser
        self._prompt = dialect.inputs["prompt"]
        self._timeout_s = timeout_s
        self._known: dict[str, ModelShape] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._known)

    async def get(self, model: str) -> ModelShape:
        """The description of a model. Raises grpc.aio.AioRpcError."""
        found = self._known.get(model)
        if found is None:
            found = await self._read(model)
            if len(self._known) >= _KEPT_MODELS:
                del self._known[next(iter(self._known))]
            self._known[model] = found
        return found

    def forget(self, model: str) -> None:
        """The next request to it reads its description again."""
        self._known.pop(model, None)

    def forget_all(self) -> None:
        self._known.clear()

    async def _read(self, model: str) -> ModelShape:
        metadata = credential(self._authoriser)
        try:
            answer = await self._channel.ask(
                methods.MODEL_CONFIG,
                pb.ModelConfigRequest(name=model),
                metadata=metadata,
                timeout_s=self._timeout_s,
            )
        except grpc.aio.AioRpcError as error:
            if error.code() not in NOT_TOLD:
                raise
        else:
            return from_config(answer.config)
        described = await self._channel.ask(
            methods.MODEL_METADATA,
            pb.ModelMetadataRequest(name=model),
            metadata=metadata,
            timeout_s=self._timeout_s,
        )
        return from_metadata(described, self._prompt)
