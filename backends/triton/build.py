"""Binds Triton's wire to one server."""

from __future__ import annotations

from backends.authorise import KeyAuthoriser
from backends.chat_template import ChatTemplate
from backends.rpc.backend import RpcBackend
from backends.rpc.channel import Channel
from backends.rpc.options import default_max_tokens
from backends.rpc.prober import RpcProber
from backends.spec import BackendSpec
from backends.triton.codec import TritonCodec
from backends.triton.dialects import DIALECTS
from backends.triton.encode import Settings
from backends.triton.methods import DEFAULT_PORT
from backends.triton.questions import TritonQuestions
from backends.triton.shapes import ModelShapes
from backends.wire import Resources, find_dialect

_DESCRIBE_S = 5.0


def build(spec: BackendSpec, resources: Resources) -> RpcBackend:
    """Raises what `backends.registry.build` says."""
    dialect = find_dialect(DIALECTS, spec.profile)
    options = spec.options
    authoriser = KeyAuthoriser(spec.credential, resources.env, dialect.key)
    channel = Channel(
        spec.base_url,
        default_port=DEFAULT_PORT,
        connect_timeout_s=spec.connect_timeout_s,
        ca_file=options.get("ca_file"),
    )
    shapes = ModelShapes(channel, authoriser, dialect, timeout_s=spec.connect_timeout_s + _DESCRIBE_S)
    codec = TritonCodec(
        dialect,
        ChatTemplate.load(options["chat_template"]),
        settings(options),
        shapes,
        authoriser,
        keep_bos=options.get("bos") == "prompt",
    )
    prober = RpcProber(
        TritonQuestions(channel, authoriser, shapes),
        dialect,
        authoriser,
        resources.control,
        metrics_url=options.get("metrics_url"),
    )
    return RpcBackend(spec, codec, channel=channel, authoriser=authoriser, prober=prober)


def settings(options: dict[str, str]) -> Settings:
    """The backend's options, which the registry has checked."""
    return Settings(
        default_max_tokens=default_max_tokens(options),
        is_streaming=_flag(options, "stream"),
        is_cumulative=_flag(options, "cumulative"),
        schema_field=options.get("schema_field", "structured_outputs"),
    )


def _flag(options: dict[str, str], name: str) -> bool | None:
    value = options.get(name)
    return None if value is None else value == "true"
