"""Environment and config/*.yaml to one frozen `Settings`; anything wrong stops start-up, naming file and key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend
from router.domain.policies import Policies
from router.domain.price_feed import FeedSettings
from router.domain.pricing import Price
from router.domain.tenant import Tenant
from router.domain.wires import Wires
from router.settings.catalogue import HardwareFile, ModelsFile, build_catalogue
from router.settings.fleet import FleetFile, build_fleet
from router.settings.policies import parse_policies
from router.settings.prices import PricesFile, build_prices
from router.settings.regions import RegionsFile, build_places
from router.settings.remarks import without_effect
from router.settings.router_yaml import RouterSettings, router_settings
from router.settings.strict import ConfigError, Problem, check, read_file, read_text
from router.settings.tenants import TenantsFile, build_tenants


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """What an empty state store starts with; a store that has a fleet already keeps its own."""

    backends: tuple[Backend, ...]
    prices: tuple[Price, ...]
    policies_yaml: str
    tenants: tuple[Tenant, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that a configuration directory says. `notices` are lines to log at start."""

    router: RouterSettings
    catalogue: Catalogue
    seed: Seed
    policies: Policies
    feeds: tuple[FeedSettings, ...] = ()
    notices: tuple[str, ...] = ()


def load(
    config_dir: Path,
    env: Mapping[str, str],
    *,
    wires: Wires | None = None,
) -> Settings:
    """Reads the files of a directory; all but router.yaml, regions.yaml and tenants.yaml must exist.

    Args:
        config_dir: where the files are.
        env: overrides of router.yaml, variables in addresses, and which credentials exist.
        wires: what is known of the wires that adapters exist for; None leaves them unchecked.

    Raises:
        ConfigError: with every problem of every file.
    """
    problems: list[Problem] = []
    if not config_dir.is_dir():
        raise ConfigError([Problem(str(config_dir), "", "no such directory")])
    router_document = None
    if (config_dir / "router.yaml").exists():
        router_document = read_file(config_dir, "router.yaml", problems)
    router = router_settings(router_document, env, "router.yaml", problems)

    hardware_document = read_file(config_dir, "hardware.yaml", problems)
    hardware = check(HardwareFile, hardware_document, "hardware.yaml", problems) if hardware_document else None
    models_document = read_file(config_dir, "models.yaml", problems)
    models = check(ModelsFile, models_document, "models.yaml", problems) if models_document else None
    catalogue = build_catalogue(hardware, models, problems)

    if (config_dir / "regions.yaml").exists():
        regions_document = read_file(config_dir, "regions.yaml", problems)
        regions = check(RegionsFile, regions_document, "regions.yaml", problems) if regions_document else None
        if regions is not None:
            catalogue = replace(catalogue, places=build_places(regions, problems))

    backends: list[Backend] = []
    notices: list[str] = []
    prices: list[Price] = []
    fleet_document = read_file(config_dir, "fleet.yaml", problems)
    fleet = check(FleetFile, fleet_document, "fleet.yaml", problems) if fleet_document else None
    # References into a catalogue that did not parse would only repeat its problems.
    if fleet is not None and fleet_document is not None and hardware is not None and models is not None:
        backends, notices = build_fleet(
            fleet,
            fleet_document,
            catalogue,
            env,
            problems,
            wires=wires,
        )
    prices_document = read_file(config_dir, "prices.yaml", problems)
    parsed_prices = check(PricesFile, prices_document, "prices.yaml", problems) if prices_document else None
    if parsed_prices is not None and prices_document is not None and fleet is not None:
        served = {name: frozenset(s.model for s in entry.models) for name, entry in fleet.backends.items()}
        prices = build_prices(parsed_prices, prices_document, served, problems)

    policies_text, policies = _policies(config_dir, problems)
    tenants, left_out = _tenants(config_dir, env, catalogue if models is not None else None, policies, problems)
    if problems or router is None or policies is None:
        raise ConfigError(problems)
    present = {backend.id for backend in backends}
    return Settings(
        router=router,
        catalogue=catalogue,
        seed=Seed(
            backends=tuple(backends),
            prices=tuple(price for price in prices if price.backend in present),
            policies_yaml=policies_text,
            tenants=tuple(tenants),
        ),
        policies=policies,
        feeds=parsed_prices.feed_settings() if parsed_prices is not None else (),
        notices=(*notices, *left_out, *without_effect(policies, catalogue, prices)),
    )


def _policies(config_dir: Path, problems: list[Problem]) -> tuple[str, Policies | None]:
    text = read_text(config_dir, "policies.yaml", problems)
    if text is None:
        return "", None
    try:
        return text, parse_policies(text, "policies.yaml")
    except ConfigError as error:
        problems.extend(error.problems)
        return text, None


def _tenants(
    config_dir: Path,
    env: Mapping[str, str],
    catalogue: Catalogue | None,
    policies: Policies | None,
    problems: list[Problem],
) -> tuple[list[Tenant], list[str]]:
    """The tenants, and a notice for each key that is not there; none when there is no such file."""
    if not (config_dir / "tenants.yaml").exists():
        return [], []
    document = read_file(config_dir, "tenants.yaml", problems)
    parsed = check(TenantsFile, document, "tenants.yaml", problems) if document else None
    if parsed is None or document is None:
        return [], []
    classes = policies.classes if policies is not None else None
    return build_tenants(parsed, document, problems, env=env, catalogue=catalogue, classes=classes)


__all__ = ["ConfigError", "RouterSettings", "Seed", "Settings", "load"]
