"""regions.yaml: what buildings add to the power of accelerators, and how dirty their electricity is by the hour."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from router.domain.sites import HOST_SHARE, HOURS, PUE, WORLD_G_PER_KWH, Own, Places, Site
from router.settings.strict import NonNegative, Problem, Strict, nearest

FLAT = (1.0,) * HOURS
# The mean of a shape may be off by so much: it is written with two digits.
ROUNDING = 0.02

AtLeastOne = Annotated[float, Field(ge=1, le=10)]
Factors = Annotated[list[NonNegative], Field(min_length=HOURS, max_length=HOURS)]
Offset = Annotated[float, Field(ge=-12, le=14)]


class WorldEntry(Strict):
    """What stands in where a region says nothing."""

    g_per_kwh: NonNegative = WORLD_G_PER_KWH
    host_share: NonNegative = HOST_SHARE
    pue: AtLeastOne = PUE
    source: str = "world mean"


class RegionEntry(Strict):
    """One region; what is absent is as in `world`."""

    synonyms: ClassVar = {
        "carbon": "g_per_kwh",
        "intensity": "g_per_kwh",
        "gco2_per_kwh": "g_per_kwh",
        "offset": "utc_offset_h",
        "tz": "utc_offset_h",
    }

    g_per_kwh: NonNegative | None = None
    shape: str = ""
    utc_offset_h: Offset = 0.0
    host_share: NonNegative | None = None
    pue: AtLeastOne | None = None
    source: str = ""


class BackendPlace(Strict):
    """What differs for one backend from its region."""

    g_per_kwh: NonNegative | None = None
    host_share: NonNegative | None = None
    pue: AtLeastOne | None = None


class RegionsFile(Strict):
    """regions.yaml. `shapes`: what each of the 24 hours of a day has of the day's mean, from midnight."""

    world: WorldEntry = WorldEntry()
    shapes: dict[str, Factors] = Field(default_factory=dict)
    regions: dict[str, RegionEntry] = Field(default_factory=dict)
    backends: dict[str, BackendPlace] = Field(default_factory=dict)


def build_places(parsed: RegionsFile, problems: list[Problem], *, file: str = "regions.yaml") -> Places:
    """The places that the file describes, with every broken reference among the problems."""
    for name, factors in parsed.shapes.items():
        mean = sum(factors) / HOURS
        if abs(mean - 1.0) > ROUNDING:
            what = f"the mean of the 24 factors must be 1, not {mean:.3f}: they are shares of the day's mean"
            problems.append(Problem(file, f"shapes.{name}", what))
    world = Site(**parsed.world.model_dump())
    by_region = {}
    for name, entry in parsed.regions.items():
        shape = FLAT
        if entry.shape and entry.shape not in parsed.shapes:
            what = f"unknown shape '{entry.shape}'{nearest(entry.shape, parsed.shapes)}"
            problems.append(Problem(file, f"regions.{name}.shape", what))
        elif entry.shape:
            shape = _of_mean_one(parsed.shapes[entry.shape])
        by_region[name] = Site(
            g_per_kwh=world.g_per_kwh if entry.g_per_kwh is None else entry.g_per_kwh,
            host_share=world.host_share if entry.host_share is None else entry.host_share,
            pue=world.pue if entry.pue is None else entry.pue,
            shape=shape,
            utc_offset_h=entry.utc_offset_h,
            known=entry.g_per_kwh is not None,
            source=entry.source or world.source,
        )
    own = {name: Own(**entry.model_dump()) for name, entry in parsed.backends.items()}
    return Places(world=world, by_region=by_region, by_backend=own)


def _of_mean_one(factors: list[float]) -> tuple[float, ...]:
    mean = sum(factors) / HOURS
    return tuple(factor / mean for factor in factors) if mean > 0.0 else FLAT
