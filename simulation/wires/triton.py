"""An emulated Triton: KServe v2 over gRPC, for models of its TensorRT-LLM and vllm backends.

It is as strict as the real one with names, types and shapes of tensors. `ModelInfer` is not there: a model that streams
refuses it anyway.
"""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

import grpc
import msgspec

from backends.triton.v2 import inference_pb2 as pb
from simulation.answer import CHARS_PER_TOKEN, Ask, count_tokens, plan
from simulation.wire import JSON_OBJECT
from simulation.wires import triton_tensors as tensors
from simulation.wires.rpc import Context, Refusal, RpcWire
from simulation.wires.serving import Piece
from simulation.wires.triton_models import TritonModel

SERVICE = "inference.GRPCInferenceService"
LABEL = "Triton"
DEFAULT_TOKENS = 16  # of the vllm backend
_EMPTY_FINAL = "triton_enable_empty_final_response"
_FINAL = "triton_final_response"
_AS_STATUS = "triton_grpc_error"
_ENGINE_ERROR = "Encountered an error in forward function: an error that was asked for"


class TritonServer(RpcWire):
    """One emulated server.

    Args:
        models: what it serves.
        key: the bearer token that a proxy before it would want; "" for none.

    Attributes:
        live: what it says of itself.
        tells_config: False keeps ModelConfig from clients.
        tells_index: False keeps RepositoryIndex from clients.
        knows_status: False for versions before 24.08, whose failures inside a stream are words alone.
    """

    def __init__(self, models: Iterable[TritonModel], *, key: str = "") -> None:
        super().__init__(SERVICE, key=key)
        self.models = {model.name: model for model in models}
        self.live = True
        self.tells_config = True
        self.tells_index = True
        self.knows_status = True
        self.answers("ServerLive", pb.ServerLiveRequest, self._live)
        self.answers("ServerReady", pb.ServerLiveRequest, self._live)  # the same on the wire
        self.answers("ModelReady", pb.ModelReadyRequest, self._ready)
        self.answers("ModelMetadata", pb.ModelMetadataRequest, self._metadata)
        self.answers("ModelConfig", pb.ModelConfigRequest, self._config)
        self.answers("RepositoryIndex", pb.RepositoryIndexRequest, self._index)
        self.streams("ModelStreamInfer", pb.ModelInferRequest, self._stream, is_bidirectional=True)

    async def _live(self, _: pb.ServerLiveRequest, __: Context) -> bytes:
        return pb.ServerLiveResponse(live=self.live).SerializeToString()

    async def _ready(self, asked: pb.ModelReadyRequest, _: Context) -> bytes:
        model = self.models.get(asked.name)
        return pb.ModelReadyResponse(ready=model is not None and model.ready).SerializeToString()

    async def _metadata(self, asked: pb.ModelMetadataRequest, _: Context) -> bytes:
        return self._model(asked.name).metadata.SerializeToString()

    async def _config(self, asked: pb.ModelConfigRequest, _: Context) -> bytes:
        if not self.tells_config:
            raise Refusal(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        return pb.ModelConfigResponse(config=self._model(asked.name).config).SerializeToString()

    async def _index(self, asked: pb.RepositoryIndexRequest, _: Context) -> bytes:
        if not self.tells_index:
            raise Refusal(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        index = pb.RepositoryIndexResponse()
        for model in self.models.values():
            if model.ready or not asked.ready:
                index.models.add(name=model.name, version="1", state="READY" if model.ready else "UNAVAILABLE")
        return index.SerializeToString()

    async def _stream(self, requests: AsyncIterator[pb.ModelInferRequest], context: Context) -> AsyncGenerator[bytes]:
        metadata = dict(context.invocation_metadata() or ())
        is_status = self.knows_status and metadata.get(_AS_STATUS) == "true"
        async for request in requests:
            try:
                pieces = self._answer(request, context)
            except Refusal as refusal:
                if is_status:
                    raise
                yield _failure(request, refusal.words)
                continue
            async for message in self.play(pieces, error=_failure(request, _ENGINE_ERROR)):
                yield message

    def _answer(self, request: pb.ModelInferRequest, context: Context) -> list[Piece]:
        """All of an answer. Raises Refusal."""
        self.note(
            context,
            {
                "model": request.model_name,
                "id": request.id,
                "inputs": {tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in request.inputs},
            },
        )
        model = self._model(request.model_name)
        if not model.ready:
            raise Refusal(
                grpc.StatusCode.UNAVAILABLE, f"Request for unknown model: '{model.name}' has no available versions"
            )
        inputs = tensors.read(request, model)
        self.seen[-1]["values"] = inputs
        reading = _Reading(model, inputs)
        pieces = [
            Piece(_message(request, outputs, is_final=is_last and model.ends_with_text), is_output=True)
            for outputs, is_last in reading.outputs()
        ]
        if not model.is_decoupled:
            return [
                Piece(_message(request, outputs, is_final=True), is_output=True) for outputs, _ in reading.outputs()
            ]
        if not model.ends_with_text and request.parameters[_EMPTY_FINAL].bool_param:
            pieces.append(Piece(_message(request, [], is_final=True)))
        return pieces

    def _model(self, name: str) -> TritonModel:
        found = self.models.get(name)
        if found is None:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{name}' is not found")
        return found


_Output = tuple[str, str, bytes]


class _Reading:
    """A request as its backend reads it, and what it is answered."""

    def __init__(self, model: TritonModel, inputs: tensors.Inputs) -> None:
        self._model = model
        self._inputs = inputs
        self._prompt = self._first("prompt", b"").decode()
        self._streams = bool(self._first("stream", False))
        if self._streams and not model.is_decoupled:
            raise _refused("Streaming is only supported if model is deployed using decoupled mode.")
        excludes = self._first("exclude", None)
        self._echoes = not self._streams if excludes is None and model.is_vllm else not excludes
        if model.is_vllm and self._echoes and self._streams:
            raise _refused("When streaming, `exclude_input_in_output` = False is not allowed.")
        self._parameters = _sampling(inputs) if model.is_vllm else {}
        self._input_tokens = count_tokens(len(self._prompt))
        self._check_window()
        self._answer = plan(self._ask())

    def outputs(self) -> Iterator[tuple[list[_Output], bool]]:
        """The tensors of each piece, and whether it is the last."""
        text = self._answer.text if self._model.is_vllm else self._answer.text + (self._answer.stop or "")
        size = CHARS_PER_TOKEN if self._streams else max(1, len(text))
        raw = [text[at : at + size] for at in range(0, len(text), size)] or [""]
        so_far = ""
        for index, token in enumerate(raw):
            is_last = index == len(raw) - 1
            said = (self._prompt if self._echoes and not index else "") + token
            so_far += said
            yield self._tensors(so_far if self._model.accumulates else said, token, is_last=is_last), is_last

    def _tensors(self, text: str, token: str, *, is_last: bool) -> list[_Output]:
        found = [(self._model.output, "BYTES", tensors.string(text))]
        if self._wants("finish_reason"):
            found.append(("finish_reason", "BYTES", tensors.string(self._answer.finish_reason if is_last else "None")))
        if self._wants("num_input_tokens"):
            found.append(("num_input_tokens", "UINT32", tensors.number(self._input_tokens)))
        if self._wants("num_output_tokens"):
            found.append(("num_output_tokens", "UINT32", tensors.number(max(1, count_tokens(len(token))))))
        if self._wants("logprobs"):
            found.append(("logprobs", "BYTES", tensors.string(self._logprobs(token))))
        return found

    def _logprobs(self, token: str) -> str:
        top = self._parameters.get("logprobs")
        if top is None:
            return "null"
        entries = [{"logprob": -0.25, "rank": 1, "decoded_token": token}]
        entries += [{"logprob": -2.0 - n, "rank": 2 + n, "decoded_token": f"other{n}"} for n in range(top - 1)]
        return json.dumps([{str(100 + n): entry for n, entry in enumerate(entries)}])

    def _wants(self, output: str) -> bool:
        return bool(self._inputs.get(f"return_{output}", [False])[0])

    def _first(self, role: str, default: Any) -> Any:
        values = self._inputs.get(self._model.roles.get(role, ""), [])
        return values[0] if values else default

    def _check_window(self) -> None:
        tokens, window = self._input_tokens, self._model.window
        if tokens >= window and self._model.is_vllm:
            raise _refused(f"The decoder prompt (length {tokens}) is longer than the maximum model length of {window}.")
        if tokens >= window:
            raise _refused(f"Prompt length ({tokens}) exceeds maximum input length ({window}).")

    def _ask(self) -> Ask:
        given = self._parameters
        max_tokens = given.get("max_tokens", DEFAULT_TOKENS) if self._model.is_vllm else self._first("max_tokens", 32)
        seed = given.get("seed") if self._model.is_vllm else self._first("seed", None)
        return Ask(
            label=f"{LABEL}, model {self._model.name}",
            seed=zlib.crc32(self._prompt.encode()) if seed is None else seed,
            room=self._model.window - self._input_tokens,
            max_tokens=max_tokens,
            stop=tuple(given.get("stop", ())) if self._model.is_vllm else self._stops(),
            schema=_guide(given) if self._model.is_vllm else self._schema(),
        )

    def _stops(self) -> tuple[str, ...]:
        words = [word.decode() for word in self._inputs.get(self._model.roles["stop"], [])]
        return tuple(next(csv.reader(words), [])) if self._model.is_csv else tuple(words)

    def _schema(self) -> Any:
        kind = self._first("guide_type", b"").decode()
        if kind == "json_schema":
            return msgspec.json.decode(self._first("guide", b"{}"))
        return JSON_OBJECT if kind == "json" else None


def _sampling(inputs: tensors.Inputs) -> dict[str, Any]:
    """Of the vllm backend; what it cannot read ends in an error of the engine's, as there."""
    try:
        found = json.loads(inputs.get("sampling_parameters", [b"{}"])[0])
        _guide(found)
    except (ValueError, TypeError) as error:
        raise _refused(f"'NoneType' object has no attribute 'lora_name': {error}") from None
    return dict(found)


def _guide(given: dict[str, Any]) -> Any:
    """The schema, which is JSON within JSON."""
    text = given.get("structured_outputs", given.get("guided_decoding"))
    if text is None:
        return None
    guide = json.loads(text)
    return guide.get("json", JSON_OBJECT)


def _refused(words: str) -> Refusal:
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, words)


def _message(request: pb.ModelInferRequest, outputs: Sequence[_Output], *, is_final: bool) -> bytes:
    answer = pb.ModelInferResponse(model_name=request.model_name, model_version="1", id=request.id)
    answer.parameters[_FINAL].bool_param = is_final
    for name, datatype, raw in outputs:
        answer.outputs.add(name=name, datatype=datatype, shape=[1])
        answer.raw_output_contents.append(raw)
    return pb.ModelStreamInferResponse(infer_response=answer).SerializeToString()


def _failure(request: pb.ModelInferRequest, words: str) -> bytes:
    answer = pb.ModelInferResponse(id=request.id)
    return pb.ModelStreamInferResponse(error_message=words, infer_response=answer).SerializeToString()
