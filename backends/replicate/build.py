"""Binds Replicate's wire to one account, or to one deployment of it."""

from __future__ import annotations

from backends.authorise import KeyAuthoriser
from backends.probing.prober import HttpProber
from backends.replicate.backend import ReplicateBackend
from backends.replicate.dialects import DIALECTS, VENDOR_HOSTS
from backends.replicate.encode import Render, Settings
from backends.replicate.links import AllowedHosts
from backends.spec import BackendSpec
from backends.urls import endpoint
from backends.wire import Resources, find_dialect


def build(spec: BackendSpec, resources: Resources) -> ReplicateBackend:
    """Raises what `backends.registry.build` says."""
    dialect = find_dialect(DIALECTS, spec.profile)
    authoriser = KeyAuthoriser(spec.credential, resources.env, dialect.key)
    listed = spec.options.get("allowed_hosts")
    hosts = AllowedHosts(endpoint(spec.base_url, "/"), listed.split(",") if listed else VENDOR_HOSTS)
    return ReplicateBackend(
        spec,
        dialect,
        settings(spec.options),
        hosts=hosts,
        transport=resources.transport,
        authoriser=authoriser,
        prober=HttpProber(spec, dialect, resources.control, authoriser=authoriser),
    )


def settings(options: dict[str, str]) -> Settings:
    """The backend's options, which the registry has checked. Raises ValueError for a chat template that is none."""
    return Settings(
        deployment=options.get("deployment") == "true",
        prompt_field=options.get("prompt_field", "prompt"),
        system_field=options.get("system_field", "system_prompt"),
        max_tokens_field=options.get("max_tokens_field", "max_tokens"),
        render=_renderer(options["chat_template"]) if "chat_template" in options else None,
        cancel_after=options.get("cancel_after", ""),
    )


def _renderer(option: str) -> Render:
    from backends.chat_template import ChatTemplate  # noqa: PLC0415 - Jinja is loaded only where it is needed

    return ChatTemplate.load(option).render_request
