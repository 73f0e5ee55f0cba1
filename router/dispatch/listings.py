"""What can be asked for: models, aliases and classes that something in the fleet serves."""

from __future__ import annotations

from router.dispatch.events import ModelListing
from router.dispatch.fleet import Fleet


def listings(fleet: Fleet) -> tuple[ModelListing, ...]:
    """Every name, models first."""
    catalogue = fleet.catalogue
    found = [_listing(fleet, model, "model", (model,)) for model in sorted(fleet.served())]
    found += [_listing(fleet, name, "alias", (model,)) for name, model in sorted(catalogue.aliases.items())]
    found += [_listing(fleet, name, "class", members) for name, members in sorted(catalogue.classes.items())]
    return tuple(listing for listing in found if listing.backends)


def _listing(fleet: Fleet, name: str, kind: str, members: tuple[str, ...]) -> ModelListing:
    rows = [row for model in members for row in fleet.served().get(model, ())]
    return ModelListing(
        id=name,
        kind=kind,
        members=members,
        context_tokens=max((row.context_tokens for row in rows), default=0),
        backends=tuple(sorted({row.id for row in rows})),
    )
