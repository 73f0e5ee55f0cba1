"""Times of day at which a price is multiplied: as entries of prices.yaml, and in one line for the command line."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from router.domain.price_rules import contradictions
from router.domain.pricing import DAY_MINUTES, Price, Window, known_zone
from router.settings.strict import Positive, Strict, shown

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# The fields of a window as prices.yaml calls them.
YAML_NAMES = {"start_minute": "from", "end_minute": "to"}
_CLOCK = re.compile(r"([01]\d|2[0-4]):([0-5]\d)")
_LINE = re.compile(
    r"(?:(?P<days>[a-zA-Z,-]+) )?(?P<start>\d\d:\d\d)-(?P<end>\d\d:\d\d)(?: (?P<zone>[^x ]\S*))? x(?P<factor>\S+)"
)


def minute_of_day(value: object) -> int:
    """Minutes from midnight of "18:00"; "24:00" is the end of the day."""
    # Without quotes YAML 1.1 reads 18:00 as a number to base 60.
    found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    minute = int(found[1]) * 60 + int(found[2]) if found else DAY_MINUTES + 1
    if minute > DAY_MINUTES:
        raise ValueError(f'expected a time of day in quotes, such as "18:00", got {shown(value)}')
    return minute


def zone_name(value: object) -> object:
    if isinstance(value, str) and known_zone(value) is None:
        raise ValueError(f"unknown time zone {shown(value)}: expected UTC, +05:30 or a name such as Europe/Berlin")
    return value


MinuteOfDay = Annotated[int, BeforeValidator(minute_of_day)]


class WindowEntry(Strict):
    """A time of day, on some days, at which the price is multiplied."""

    synonyms: ClassVar = {"start": "from", "end": "to", "until": "to", "timezone": "zone", "tz": "zone"}

    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = Field(default_factory=list)
    from_: MinuteOfDay = Field(alias="from")
    to: MinuteOfDay
    zone: Annotated[str, BeforeValidator(zone_name)] = "UTC"
    factor: Positive

    def window(self) -> Window:
        days = tuple(DAYS.index(day) for day in self.days)
        return Window(start_minute=self.from_, end_minute=self.to, factor=self.factor, days=days, zone=self.zone)


def parse_window(text: str) -> Window:
    """A window in one line: "mon-fri 18:00-08:00 Europe/Berlin x0.5"; without days every day, without a zone UTC.

    Raises:
        ValueError: with a message for whoever wrote it.
    """
    found = _LINE.fullmatch(" ".join(text.split()))
    if found is None:
        raise ValueError(
            f"expected '[DAYS] FROM-TO [ZONE] xFACTOR', such as 'mon-fri 18:00-08:00 UTC x0.5', got {shown(text)}"
        )
    window = Window(
        start_minute=minute_of_day(found["start"]),
        end_minute=minute_of_day(found["end"]),
        factor=_factor(found["factor"]),
        days=_days(found["days"]) if found["days"] else (),
        zone=found["zone"] or "UTC",
    )
    broken = [what for _, what in contradictions(Price(backend="", request_usd=0.0, schedule=(window,)))]
    if broken:
        raise ValueError(broken[0])
    return window


def window_text(window: Window) -> str:
    """The line that `parse_window` takes."""
    days = ",".join(DAYS[day] for day in window.days)
    clock = "-".join(f"{m // 60:02}:{m % 60:02}" for m in (window.start_minute, window.end_minute))
    return f"{days} {clock} {window.zone} x{window.factor:g}".strip()


def _factor(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"expected a factor such as x0.5, got {shown(text)}") from None


def _days(text: str) -> tuple[int, ...]:
    days: list[int] = []
    for part in text.lower().split(","):
        first, _, last = part.partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise ValueError(f"expected days such as mon-fri or sat,sun, got {shown(text)}")
        start, end = DAYS.index(first), DAYS.index(last or first)
        days += [(start + n) % 7 for n in range((end - start) % 7 + 1)]
    return tuple(sorted(set(days)))
