"""Tables that fit the width of a screen: on a narrow one columns give way, then words; numbers are never cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

Row = TypeVar("Row")
GAP = 2
NARROW_GAP = 1
# Of a screen on which words are worth more than blanks.
NARROW = 100


@dataclass(frozen=True)
class Column(Generic[Row]):
    """`least`: characters that words may be cut down to; 0: nothing of it is ever cut. Words are on the left."""

    name: str
    cell: Callable[[Row], Text]
    least: int = 0


def fitted(title: str, layouts: Sequence[Sequence[Column[Row]]], rows: Sequence[Row], width: int) -> Table:
    """The first of the layouts, which go from wide to narrow, that the width has room for."""
    for columns in layouts:
        cells = [[column.cell(row) for column in columns] for row in rows]
        for gap in (GAP, NARROW_GAP) if width >= NARROW else (NARROW_GAP,):
            widths = _widths(columns, cells, width - gap * (len(columns) - 1))
            if widths is not None:
                return _table(title, columns, cells, widths, gap)
    return _folded(title, columns, cells)


def plain(text: str) -> str:
    """Text from elsewhere as one line that says nothing to the terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


def _widths(columns: Sequence[Column[Row]], cells: Sequence[Sequence[Text]], room: int) -> list[int] | None:
    """What each column gets: numbers what they need, words what is left; None when that is too little."""
    needed = [
        max(len(column.name), *(line.cell_len for row in cells for line in row[position].split("\n")), 1)
        for position, column in enumerate(columns)
    ]
    widths = [min(column.least or need, need) for column, need in zip(columns, needed, strict=True)]
    spare = room - sum(widths)
    if spare < 0:
        return None
    for position, need in enumerate(needed):
        more = min(spare, need - widths[position])
        widths[position] += more
        spare -= more
    return widths


def _table(
    title: str, columns: Sequence[Column[Row]], cells: Sequence[Sequence[Text]], widths: Sequence[int], gap: int
) -> Table:
    # The box has one blank between columns, to which the padding adds.
    table = _empty(title, padding=(0, gap - NARROW_GAP, 0, 0))
    for column, width in zip(columns, widths, strict=True):
        justify = "left" if column.least else "right"
        table.add_column(column.name, justify=justify, no_wrap=True, width=width, overflow="ellipsis")  # type: ignore[arg-type]
    for row in cells:
        table.add_row(*row)
    return table


def _folded(title: str, columns: Sequence[Column[Row]], cells: Sequence[Sequence[Text]]) -> Table:
    """Where not even the last layout fits: on as many lines as it takes."""
    table = _empty(title, padding=(0, 0, 0, 0))
    for column in columns:
        table.add_column(column.name, justify="left" if column.least else "right", overflow="fold")
    for row in cells:
        table.add_row(*row)
    return table


def _empty(title: str, *, padding: tuple[int, int, int, int]) -> Table:
    return Table(
        title=title,
        title_justify="left",
        header_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=padding,
    )
