"""What a Triton server is asked by probes: whether it lives, and which of its models are ready."""

from __future__ import annotations

import grpc
import grpc.aio

from backends.authorise import KeyAuthoriser
from backends.errors import Warming
from backends.rpc.backend import credential
from backends.rpc.channel import Channel
from backends.triton import methods
from backends.triton.shapes import NOT_TOLD, ModelShapes
from backends.triton.v2 import inference_pb2 as pb


class TritonQuestions:
    """Implements `backends.rpc.prober.Questions`."""

    def __init__(self, channel: Channel, authoriser: KeyAuthoriser, shapes: ModelShapes) -> None:
        self._channel = channel
        self._authoriser = authoriser
        self._shapes = shapes

    async def alive(self, *, timeout_s: float) -> bool:
        answer = await self._channel.ask(
            methods.SERVER_LIVE,
            pb.ServerLiveRequest(),
            metadata=credential(self._authoriser),
            timeout_s=timeout_s,
        )
        return answer.live

    async def models(self, *, timeout_s: float) -> tuple[str, ...] | None:
        """The models that are ready. What is known of their tensors is read again, too, by the next request.

        Raises:
            Warming: no list is to be had, and none of the models that were asked is ready.
        """
        used = self._shapes.names
        self._shapes.forget_all()
        try:
            index = await self._channel.ask(
                methods.REPOSITORY_INDEX,
                pb.RepositoryIndexRequest(ready=True),
                metadata=credential(self._authoriser),
                timeout_s=timeout_s,
            )
        except grpc.aio.AioRpcError as error:
            if error.code() not in NOT_TOLD:
                raise
        else:
            return tuple(dict.fromkeys(model.name for model in index.models))
        if used and not any([await self._is_ready(name, timeout_s) for name in used]):
            raise Warming(f"not ready: {', '.join(used)}")
        return None

    async def _is_ready(self, model: str, timeout_s: float) -> bool:
        answer = await self._channel.ask(
            methods.MODEL_READY,
            pb.ModelReadyRequest(name=model),
            metadata=credential(self._authoriser),
            timeout_s=timeout_s,
        )
        return answer.ready
