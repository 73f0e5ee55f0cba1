"""regions.yaml: what is absent, what is wrong, and how the hour of a place is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.sites import Grids, Site
from router.settings import Settings
from router.settings.regions import RegionsFile, build_places
from router.settings.strict import Problem

NOON = 1_795_348_800.0  # 2026-11-22 12:00 UTC
PEAK = [0.5] * 12 + [1.5] * 12


def problems(**file: object) -> list[Problem]:
    found: list[Problem] = []
    build_places(RegionsFile.model_validate(file), found)
    return found


def test_a_region_is_as_the_world_where_it_says_nothing() -> None:
    """An unknown region stands for the world's mean and says so; a backend's own figures go first."""
    places = build_places(
        RegionsFile.model_validate(
            {
                "world": {"g_per_kwh": 500, "pue": 1.5},
                "regions": {"north": {"g_per_kwh": 30}},
                "backends": {"desk": {"pue": 1, "host_share": 0}},
            }
        ),
        [],
    )

    north, nowhere, desk = places.of("x", "north"), places.of("x", "nowhere"), places.of("desk", "north")

    assert (north.g_per_kwh, north.pue, north.known) == (30.0, 1.5, True)
    assert (nowhere.g_per_kwh, nowhere.known) == (500.0, False)
    assert (desk.g_per_kwh, desk.at_the_wall) == (30.0, 1.0)
    assert north.at_the_wall == pytest.approx(1.4 * 1.5)


def test_the_hour_is_the_regions_own() -> None:
    """Noon in Greenwich is seven in the morning five hours west, and evening six hours east."""
    shape = {"shapes": {"peak": PEAK}}
    places = build_places(
        RegionsFile.model_validate(
            shape
            | {
                "regions": {
                    "west": {"g_per_kwh": 100, "shape": "peak", "utc_offset_h": -5},
                    "east": {"g_per_kwh": 100, "shape": "peak", "utc_offset_h": 6},
                }
            }
        ),
        [],
    )

    assert places.of("x", "west").g_per_kwh_at(NOON) == 50.0
    assert places.of("x", "east").g_per_kwh_at(NOON) == 150.0
    grids = Grids(places)
    _, grid = grids.of("x", "west", NOON)
    grids.keep(NOON + 6 * 3600.0)
    assert grid.g_per_joule * 3.6e6 == pytest.approx(150.0)
    assert grids.of("y", "west", NOON)[1] is grid


@pytest.mark.parametrize(
    ("file", "path"),
    [
        ({"shapes": {"wrong": [2.0] * 24}}, "shapes.wrong"),
        ({"regions": {"a": {"shape": "moon"}}}, "regions.a.shape"),
    ],
)
def test_what_is_wrong_is_named(file: dict[str, object], path: str) -> None:
    """A shape's mean is 1, and a region's shape is one of the file."""
    assert [problem.path for problem in problems(**file)] == [path]


@given(st.floats(0.0, 4e9), st.floats(-12.0, 14.0))
def test_no_hour_is_without_a_figure(unix: float, offset: float) -> None:
    """At any time and anywhere there is a figure, and it is one of the day's."""
    site = Site(g_per_kwh=100.0, shape=tuple(PEAK), utc_offset_h=offset)

    assert site.g_per_kwh_at(unix) in {50.0, 150.0}


def test_the_shipped_regions_describe_the_shipped_fleet(shipped: Settings) -> None:
    """Every region of the fleet that is a place has a grid, and every day's mean is the year's."""
    places = shipped.catalogue.places
    unknown = {b.region for b in shipped.seed.backends if not places.of(b.id, b.region).known}

    assert unknown <= {"local", "us"}
    for site in places.by_region.values():
        assert sum(site.shape) / 24.0 == pytest.approx(1.0)
        assert site.source
