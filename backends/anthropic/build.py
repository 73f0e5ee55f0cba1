"""Binds the Messages wire to one server."""

from __future__ import annotations

from backends.anthropic.codec import MessagesCodec
from backends.anthropic.profiles import PROFILES
from backends.anthropic.settings import Settings
from backends.authorise import KeyAuthoriser
from backends.http.exchange import HttpBackend
from backends.probing.prober import HttpProber
from backends.spec import BackendSpec
from backends.wire import GENERIC, Resources, UnknownProfile


def build(spec: BackendSpec, resources: Resources) -> HttpBackend:
    """Raises what `backends.registry.build` says."""
    profile = PROFILES.get("anthropic" if spec.profile == GENERIC else spec.profile)
    if profile is None:
        raise UnknownProfile(f"unknown profile {spec.profile!r}; known: {', '.join(sorted(PROFILES))}")
    settings = Settings.read(spec.options)
    authoriser = KeyAuthoriser(spec.credential, resources.env, profile.key)
    return HttpBackend(
        spec,
        MessagesCodec(profile, settings),
        transport=resources.transport,
        authoriser=authoriser,
        headers=[*profile.headers, *settings.headers],
        prober=HttpProber(spec, profile, resources.control, authoriser=authoriser, headers=profile.headers),
    )
