"""Where backends run: what the building adds to the power of accelerators, and how dirty its electricity is by hour."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from router.domain.grid import Grid

HOURS = 24
# DECISION 2.4: of the server around an accelerator, and of the building around the server.
HOST_SHARE = 0.4
PUE = 1.2
# Grams of CO2 a kWh, the world's mean of 2023 by Ember: for regions that nobody described.
WORLD_G_PER_KWH = 480.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A region, or one backend's own place.

    Attributes:
        host_share: power of the server around the accelerators, as a share of theirs.
        pue: power at the meter of the building over that of its servers.
        g_per_kwh: grams of CO2 equivalent a kWh, the mean of a day.
        shape: what each hour of the day has of that mean, by the site's own clock; the mean of the 24 is 1.
        utc_offset_h: of the site's clock from UTC.
        known: False where the grid is not known and the world's mean stands in.
        source: where the figures are from, in words.
    """

    host_share: float = HOST_SHARE
    pue: float = PUE
    g_per_kwh: float = WORLD_G_PER_KWH
    shape: tuple[float, ...] = (1.0,) * HOURS
    utc_offset_h: float = 0.0
    known: bool = False
    source: str = "world mean"

    @property
    def at_the_wall(self) -> float:
        """Joules at the building's meter for one joule of an accelerator."""
        return (1.0 + self.host_share) * self.pue

    def g_per_kwh_at(self, unix: float) -> float:
        """Grams a kWh at this time of day."""
        moment = datetime.fromtimestamp(unix, UTC) + timedelta(hours=self.utc_offset_h)
        return self.g_per_kwh * self.shape[moment.hour]


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What one backend has of its own; None is as its region."""

    host_share: float | None = None
    pue: float | None = None
    g_per_kwh: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """`by_region` and `by_backend` are the sites that are described; a backend's own goes before its region's."""

    world: Site = field(default=Site())
    by_region: Mapping[str, Site] = field(default_factory=dict)
    by_backend: Mapping[str, Own] = field(default_factory=dict)

    def of(self, backend: str, region: str) -> Site:
        site = self.by_region.get(region, self.world)
        own = self.by_backend.get(backend)
        if own is None:
            return site
        return replace(
            site,
            host_share=site.host_share if own.host_share is None else own.host_share,
            pue=site.pue if own.pue is None else own.pue,
            g_per_kwh=site.g_per_kwh if own.g_per_kwh is None else own.g_per_kwh,
            known=site.known or own.g_per_kwh is not None,
        )


class Grids:
    """One `Grid` for each place that a row stands in, set to the hour: rows read it, nothing is made anew."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._grids: dict[Site, Grid] = {}
        self._hour = -math.inf

    def of(self, backend: str, region: str, unix: float) -> tuple[Site, Grid]:
        site = self._places.of(backend, region)
        grid = self._grids.get(site)
        if grid is None:
            grid = self._grids[site] = Grid()
            grid.set(site.g_per_kwh_at(unix))
        return site, grid

    def keep(self, unix: float) -> None:
        """Sets all to the hour; costs nothing within the same quarter of an hour."""
        quarter = unix // 900.0
        if quarter == self._hour:
            return
        self._hour = quarter
        for site, grid in self._grids.items():
            grid.set(site.g_per_kwh_at(unix))
