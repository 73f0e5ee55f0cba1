"""Counters that only grow: merging, handing in, forgetting, and what happens when there is no room."""

from __future__ import annotations

from router.domain.usage import FIELDS, HOUR_S
from router.metering.cells import OTHER, CellKey, Cells

HOUR = 1_800_000_000
KEEP_S = 72 * HOUR_S


def key(backend: str = "a", *, hour: int = HOUR, tenant: str = "t") -> CellKey:
    return (hour, "run", tenant, "m", backend)


def numbers(attempts: int) -> list[int]:
    return [attempts] * len(FIELDS)


def test_the_later_copy_of_a_cell_stays() -> None:
    """Merging copies in any order, and again, leaves the one with the most attempts."""
    cells = Cells()
    for attempts in (2, 5, 3, 5):
        cells.merge(key(), numbers(attempts))

    assert cells.values == {key(): numbers(5)}


def test_a_copy_that_is_not_later_needs_no_hand_in() -> None:
    """Merging what is known changes nothing."""
    cells = Cells()
    cells.merge(key(), numbers(2))
    cells.take(10)
    cells.merge(key(), numbers(2))

    assert not cells.changed


def test_what_is_taken_is_given_once_and_can_be_given_back() -> None:
    """Cells are taken in the order of their changes, within the limit, and are due again when given back."""
    cells = Cells()
    for name in "abc":
        cells.merge(key(name), numbers(1))

    taken = cells.take(2)
    assert [k for k, _ in taken] == [key("a"), key("b")]
    assert list(cells.changed) == [key("c")]
    cells.give_back(k for k, _ in taken)
    assert set(cells.changed) == {key("a"), key("b"), key("c")}


def test_keys_beyond_the_limit_are_counted_under_other() -> None:
    """When there is no room, the tenant stays known as long as a reserve lasts; the number of cells has an end."""
    cells = Cells(limit=20)
    opened = [cells.open(key(str(n), tenant=f"t{n}"))[0] for n in range(1000)]

    assert opened[0] == key("0", tenant="t0")
    assert opened[20] == (HOUR, "run", "t20", OTHER, OTHER)
    assert opened[999] == (HOUR, "run", OTHER, OTHER, OTHER)
    assert len(cells) <= 24
    assert cells.overflowed == 980


def test_old_hours_are_forgotten_once_they_are_handed_in() -> None:
    """An hour goes when it is older than the keeping time and nothing is due; its cells never begin again."""
    cells = Cells()
    cells.merge(key(), numbers(1))
    cells.merge(key(hour=HOUR + HOUR_S), numbers(1))
    now = HOUR + KEEP_S + 1.0

    cells.forget(now=now, keep_s=KEEP_S)
    assert len(cells) == 2
    cells.take(10)
    cells.forget(now=now, keep_s=KEEP_S)
    assert list(cells.values) == [key(hour=HOUR + HOUR_S)]
    assert cells.floor == HOUR + HOUR_S


def test_a_crowd_makes_the_oldest_hours_go_early() -> None:
    """Near the limit the oldest hours that are handed in make room, but never this hour and the one before."""
    cells = Cells(limit=10)
    for hours in range(5):
        for name in "abcd":
            cells.merge(key(name, hour=HOUR + hours * HOUR_S), numbers(1))
    cells.take(100)

    cells.forget(now=HOUR + 4 * HOUR_S + 1.0, keep_s=KEEP_S)
    assert {k[0] for k in cells.values} == {HOUR + 3 * HOUR_S, HOUR + 4 * HOUR_S}
