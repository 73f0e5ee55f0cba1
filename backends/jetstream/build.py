"""Binds JetStream's wire to one server."""

from __future__ import annotations

from backends.authorise import KeyAuthoriser
from backends.chat_template import ChatTemplate
from backends.jetstream import DIALECT
from backends.jetstream.codec import HEALTH_CHECK, JetStreamCodec
from backends.jetstream.v1 import jetstream_pb2 as pb
from backends.rpc.backend import RpcBackend, credential
from backends.rpc.channel import Channel
from backends.rpc.options import default_max_tokens
from backends.rpc.prober import RpcProber
from backends.spec import BackendSpec
from backends.wire import Resources, find_dialect

_DEFAULT_PORT = 9000


def build(spec: BackendSpec, resources: Resources) -> RpcBackend:
    """Raises what `backends.registry.build` says."""
    dialect = find_dialect({DIALECT.name: DIALECT}, spec.profile)
    options = spec.options
    authoriser = KeyAuthoriser(spec.credential, resources.env, dialect.key)
    channel = Channel(
        spec.base_url,
        default_port=_DEFAULT_PORT,
        connect_timeout_s=spec.connect_timeout_s,
        ca_file=options.get("ca_file"),
    )
    codec = JetStreamCodec(
        dialect,
        ChatTemplate.load(options["chat_template"]),
        default_max_tokens=default_max_tokens(options),
        keep_bos=options.get("bos") == "prompt",
    )
    prober = RpcProber(
        JetStreamQuestions(channel, authoriser),
        dialect,
        authoriser,
        resources.control,
        metrics_url=options.get("metrics_url"),
    )
    return RpcBackend(spec, codec, channel=channel, authoriser=authoriser, prober=prober)


class JetStreamQuestions:
    """Implements `backends.rpc.prober.Questions`."""

    def __init__(self, channel: Channel, authoriser: KeyAuthoriser) -> None:
        self._channel = channel
        self._authoriser = authoriser

    async def alive(self, *, timeout_s: float) -> bool:
        answer = await self._channel.ask(
            HEALTH_CHECK, pb.HealthCheckRequest(), metadata=credential(self._authoriser), timeout_s=timeout_s
        )
        return answer.is_live

    async def models(self, *, timeout_s: float) -> tuple[str, ...] | None:  # noqa: ARG002 - nothing is asked
        """The server does not say what it serves."""
        return None
