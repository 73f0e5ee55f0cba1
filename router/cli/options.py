"""Options that hold quantities: a number in the option's unit, or one with its unit written out."""

from __future__ import annotations

from typing import Any

import click

from router.settings import quantity as q


def quantity_option(dimension: q.Dimension) -> dict[str, Any]:
    """The keywords of `click.option` for a quantity that is not negative."""

    def convert(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
        if value is None:
            return None
        try:
            number = q.parse_quantity(value, dimension)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
        if number < 0.0:
            raise click.BadParameter("must not be negative")
        return number

    return {"callback": convert, "metavar": dimension.base.upper().replace(" ", "-")}


SECONDS = quantity_option(q.SECONDS)
