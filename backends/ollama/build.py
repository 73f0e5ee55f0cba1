"""Binds Ollama's wire to one server."""

from __future__ import annotations

from backends.authorise import KeyAuthoriser
from backends.http.exchange import HttpBackend
from backends.ollama.codec import OllamaCodec
from backends.ollama.dialects import DIALECTS
from backends.ollama.encode import Settings
from backends.probing.prober import HttpProber
from backends.spec import BackendSpec
from backends.wire import Resources, find_dialect


def build(spec: BackendSpec, resources: Resources) -> HttpBackend:
    """Raises what `backends.registry.build` says."""
    dialect = find_dialect(DIALECTS, spec.profile)
    authoriser = KeyAuthoriser(spec.credential, resources.env, dialect.key)
    return HttpBackend(
        spec,
        OllamaCodec(dialect, settings(spec.options)),
        transport=resources.transport,
        authoriser=authoriser,
        prober=HttpProber(spec, dialect, resources.control, authoriser=authoriser),
    )


def settings(options: dict[str, str]) -> Settings:
    """The backend's options, which the registry has checked."""
    num_ctx = options.get("num_ctx")
    keep_alive: str | int | None = options.get("keep_alive")
    if keep_alive in ("0", "-1"):  # a bare number is a number of seconds, and not a duration as text
        keep_alive = int(keep_alive)
    return Settings(num_ctx=None if num_ctx is None else int(num_ctx), keep_alive=keep_alive)
