"""Binds Google's wire to one address."""

from __future__ import annotations

from dataclasses import replace

from backends.authorise import KeyAuthoriser
from backends.gemini.codec import GeminiCodec, Target
from backends.gemini.dialects import DIALECTS, GEMINI
from backends.http.exchange import HttpBackend
from backends.probing.prober import HttpProber
from backends.spec import BackendSpec
from backends.wire import GENERIC, Resources, UnknownProfile


def build(spec: BackendSpec, resources: Resources) -> HttpBackend:
    """Raises what `backends.registry.build` says; ValueError too where a dialect lacks an option that it needs."""
    dialect = GEMINI if spec.profile == GENERIC else DIALECTS.get(spec.profile)
    if dialect is None:
        raise UnknownProfile(f"unknown profile {spec.profile!r}; known: {', '.join(sorted(DIALECTS))}")
    missing = [name for name in dialect.needs if name not in spec.options]
    if missing:
        raise ValueError(f"{spec.id}: options.{missing[0]}: required for profile {dialect.name!r}")
    version = spec.options.get("api_version", dialect.version)
    if dialect.probe.models is not None:
        models = dialect.probe.models.format(version=version)
        dialect = replace(dialect, probe=replace(dialect.probe, models=models))
    target = Target(
        prefix=f"/{version}/{dialect.parent.format_map(spec.options)}",
        models=dialect.models,
        collections=dialect.collections,
    )
    authoriser = KeyAuthoriser(spec.credential, resources.env, dialect.key)
    return HttpBackend(
        spec,
        GeminiCodec(dialect, target, openapi_schemas=spec.options.get("schemas") == "openapi"),
        transport=resources.transport,
        authoriser=authoriser,
        prober=HttpProber(spec, dialect, resources.control, authoriser=authoriser),
    )
