"""How values look in a terminal and as JSON."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table
from rich.text import Text

from router.v1 import common_pb2

WIDTH_WITHOUT_TERMINAL = 200


def as_dict(message: Message) -> dict[str, object]:
    """The message as its protobuf JSON, with the field names of the .proto and unset scalars written out."""
    return dict(MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True))


def print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_message(message: Message) -> None:
    print_json(as_dict(message))


def print_event(message: Message) -> None:
    """One event a line, unset fields left out: a stream repeats enough as it is."""
    print_json(MessageToDict(message, preserving_proto_field_name=True))


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    right: str = "",
    width: int = WIDTH_WITHOUT_TERMINAL,
) -> None:
    """A table on stdout; `right` names the columns, comma-separated, that hold numbers.

    `width` is that of a page where stdout is no terminal.
    """
    numbers = {name.strip() for name in right.split(",")}
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        # Text: names may hold square brackets, which rich would read as markup.
        table.add_row(*(Text(str(cell)) for cell in row))
    console = Console(width=None if sys.stdout.isatty() else width)
    console.print(table)


def seconds(value: float) -> str:
    """A duration in the unit that reads best."""
    if value <= 0.0:
        return "-"
    if value < 0.0995:
        return f"{value * 1e3:.3g} ms"
    return f"{value:.3g} s"


def dollars(value: float) -> str:
    """Two significant digits, never an exponent: "$0.000036"."""
    if abs(value) < 1e-9:
        return "$0"
    digits = max(2, 1 - math.floor(math.log10(abs(value))))
    return f"${value:.{digits}f}"


def hardware(label: common_pb2.Hardware) -> str:
    """As `domain.HardwareLabel` writes it: an emulated device is never shown without saying so."""
    count = f"{label.count}x " if label.count > 1 else ""
    return f"{count}{label.name or label.id}{' (emulated)' if label.emulated else ''}"


def enum_name(name: str, prefix: str) -> str:
    """`PRIVACY_LEVEL_ON_DEVICE` as `on_device`."""
    return name.removeprefix(prefix).lower()
