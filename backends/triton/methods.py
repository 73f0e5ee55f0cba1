"""The methods of Triton's service that are called, by their true paths."""

from __future__ import annotations

from typing import Final

from backends.rpc.channel import Method
from backends.triton.v2 import inference_pb2 as pb

DEFAULT_PORT = 8001
SERVICE: Final = "inference.GRPCInferenceService"

SERVER_LIVE = Method(f"/{SERVICE}/ServerLive", pb.ServerLiveRequest, pb.ServerLiveResponse)
MODEL_READY = Method(f"/{SERVICE}/ModelReady", pb.ModelReadyRequest, pb.ModelReadyResponse)
MODEL_CONFIG = Method(f"/{SERVICE}/ModelConfig", pb.ModelConfigRequest, pb.ModelConfigResponse)
MODEL_METADATA = Method(f"/{SERVICE}/ModelMetadata", pb.ModelMetadataRequest, pb.ModelMetadataResponse)
REPOSITORY_INDEX = Method(f"/{SERVICE}/RepositoryIndex", pb.RepositoryIndexRequest, pb.RepositoryIndexResponse)
MODEL_STREAM_INFER = Method(
    f"/{SERVICE}/ModelStreamInfer", pb.ModelInferRequest, pb.ModelStreamInferResponse, is_bidirectional=True
)
