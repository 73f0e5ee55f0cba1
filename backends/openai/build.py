"""Binds the OpenAI chat wire to one server."""

from __future__ import annotations

from backends.authorise import KeyAuthoriser
from backends.http.exchange import HttpBackend
from backends.openai.codec import OpenAICodec
from backends.openai.options import bound
from backends.openai.profiles import PROFILES
from backends.probing.prober import HttpProber
from backends.spec import BackendSpec
from backends.wire import Resources, UnknownProfile


def build(spec: BackendSpec, resources: Resources) -> HttpBackend:
    """Raises what `backends.registry.build` says."""
    profile = PROFILES.get(spec.profile)
    if profile is None:
        raise UnknownProfile(f"unknown profile {spec.profile!r}; known: {', '.join(sorted(PROFILES))}")
    profile = bound(profile, spec)
    authoriser = KeyAuthoriser(spec.credential, resources.env, profile.key)
    return HttpBackend(
        spec,
        OpenAICodec(profile),
        transport=resources.transport,
        authoriser=authoriser,
        prober=HttpProber(spec, profile, resources.control, authoriser=authoriser),
    )
