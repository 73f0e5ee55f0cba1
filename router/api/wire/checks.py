"""Checks of single fields, and the list of what they found.

Every violation of a request is reported at once: a caller who mends one field at a time learns of the next one only by
sending again. The list is bounded, for what is wrong a million times is said a hundred times.
"""

from __future__ import annotations

import math
import re

import msgspec

from router.errors import InvalidRequest, Violation

MAX_VIOLATIONS = 100
MAX_NAME = 256

_IMAGE_TYPE = re.compile(r"image/[a-z0-9][a-z0-9.+-]{0,63}", re.IGNORECASE)
_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]{1,64};base64,", re.IGNORECASE)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
MAX_URL = 8_192
MAX_IMAGE_BYTES = 20 * 1024 * 1024


class Checks:
    """Collects violations; `raise_any` ends the check."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: list[Violation] = []

    def add(self, path: str, description: str) -> None:
        if len(self.found) < MAX_VIOLATIONS:
            self.found.append(Violation(path, description))

    def raise_any(self) -> None:
        if self.found:
            raise InvalidRequest(*self.found)

    def number(
        self,
        path: str,
        value: float,
        *,
        low: float = -math.inf,
        high: float = math.inf,
        open_low: bool = False,
        open_high: bool = False,
    ) -> float | None:
        """The value, or None after saying which range it misses. Infinity and NaN miss every range."""
        inside = (low < value if open_low else low <= value) and (value < high if open_high else value <= high)
        if inside and math.isfinite(value):
            return value
        if low == -math.inf:
            wanted = "must be a finite number"
        elif high == math.inf:
            wanted = f"must be a finite number {'greater than' if open_low else 'of at least'} {low:g}"
        else:
            wanted = f"must be within {'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"
        self.add(path, f"{wanted}, not {value:g}")
        return None

    def text(self, path: str, value: str, *, required: bool = False, limit: int = MAX_NAME) -> str:
        """A short name or key: not empty where it is required, not long, nothing unprintable."""
        if not value:
            if required:
                self.add(path, "must not be empty")
        elif len(value) > limit:
            self.add(path, f"must have at most {limit} characters, not {len(value)}")
        elif not value.isprintable():
            self.add(path, "must not contain control characters")
        return value

    def count(self, path: str, size: int, limit: int) -> bool:
        """Whether a list is short enough to be looked into."""
        if size > limit:
            self.add(path, f"must have at most {limit} entries, not {size}")
        return size <= limit

    def json_object(self, path: str, text: str) -> None:
        try:
            _OBJECT.decode(text)
        except msgspec.ValidationError:
            self.add(path, "must be a JSON object")
        except msgspec.DecodeError as error:
            self.add(path, f"must be a JSON object: {error}")
        except RecursionError:
            self.add(path, "is nested too deeply")

    def image_type(self, path: str, value: str) -> None:
        if not _IMAGE_TYPE.fullmatch(value):
            self.add(path, "must name an image type, such as image/png; it is needed with data")

    def image_url(self, path: str, url: str) -> None:
        """An http or https URL, or a data URL of an image within the size bound."""
        scheme = url[:8].partition(":")[0].lower()
        if scheme == "data":
            if not _DATA_URL.match(url):
                self.add(path, "must have the form data:image/TYPE;base64,DATA")
            elif len(url) > MAX_IMAGE_BYTES * 4 // 3 + 128:
                self.add(path, f"must hold an image of at most {MAX_IMAGE_BYTES} bytes")
        elif scheme not in {"http", "https"} or not url[len(scheme) :].startswith("://") or len(url) <= len(scheme) + 3:
            self.add(path, "must be an http, https or data URL")
        elif len(url) > MAX_URL:
            self.add(path, f"must have at most {MAX_URL} characters, not {len(url)}")
        elif not url.isprintable() or " " in url:
            self.add(path, "must not contain spaces or control characters")
