"""Recorded predictions of Replicate: creating one and reading its stream are two requests, and one answer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from simulation.recordings.interaction import Interaction


def creates(interaction: Interaction) -> bool:
    return interaction.method == "POST" and interaction.path.endswith("/predictions")


def created(interaction: Interaction) -> dict[str, Any]:
    """The prediction that was made; empty if none was."""
    try:
        value = json.loads(interaction.body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def joined(interactions: list[Interaction]) -> list[Interaction]:
    """The interactions of a file, with what belongs to a prediction gathered under its creation."""
    found: list[Interaction] = []
    at: dict[str, int] = {}  # the URL of a prediction -> its place in `found`
    for interaction in interactions:
        owner = at.get(interaction.url.partition("?")[0]) if interaction.method in ("GET", "POST") else None
        if owner is not None:
            found[owner] = replace(found[owner], later=(*found[owner].later, interaction))
            continue
        if creates(interaction):
            urls = created(interaction).get("urls")
            for url in (urls or {}).values() if isinstance(urls, dict) else ():
                at[str(url)] = len(found)
        found.append(interaction)
    return found


def stream_of(interaction: Interaction) -> Interaction | None:
    """The recorded stream of a prediction; None if it was not recorded."""
    found = _later(interaction, "stream")
    return found[0] if found else None


def last_seen(interaction: Interaction) -> Interaction | None:
    """The prediction as it was looked at last; None if it never was."""
    found = _later(interaction, "get")
    return found[-1] if found else None


def _later(interaction: Interaction, name: str) -> list[Interaction]:
    urls = created(interaction).get("urls")
    wanted = urls.get(name) if isinstance(urls, dict) else None
    address = str(wanted or "").partition("?")[0]
    return [part for part in interaction.later if address and part.url.partition("?")[0] == address]
