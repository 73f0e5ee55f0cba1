"""Which of the configuration files a text is: its top-level keys say so, whatever it is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from router.settings.router_yaml import RouterFile
from router.settings.strict import Problem, nearest, parse_text
from router.settings.yaml_text import Document


class FileKind(StrEnum):
    """The files whose content can change while routers run."""

    FLEET = "fleet"
    PRICES = "prices"
    POLICIES = "policies"
    TENANTS = "tenants"


@dataclass(frozen=True, slots=True)
class ConfigText:
    """A file as it was given; `name` is for messages only."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class ConfigDocument:
    """A file that was recognised."""

    name: str
    text: str
    document: Document


# In this order: models.yaml has classes too, those of models.
_OF_A_START: tuple[tuple[str, frozenset[str]], ...] = (
    ("hardware.yaml", frozenset({"hardware"})),
    ("models.yaml", frozenset({"models", "aliases"})),
    ("regions.yaml", frozenset({"regions", "shapes", "world"})),
)
_KEYS: dict[FileKind, frozenset[str]] = {
    FileKind.FLEET: frozenset({"backends"}),
    FileKind.PRICES: frozenset({"prices", "feeds"}),
    FileKind.TENANTS: frozenset({"tenants"}),
    FileKind.POLICIES: frozenset({"default_class", "classes", "objectives", "dispatch"}),
}
_ROUTER_KEYS = frozenset(RouterFile.model_fields)


def recognise(files: Sequence[ConfigText], problems: list[Problem]) -> dict[FileKind, ConfigDocument]:
    """The files by what they are; what is none, belongs to a start or comes twice is a problem."""
    found: dict[FileKind, ConfigDocument] = {}
    for file in files:
        document = parse_text(file.text, file.name, problems)
        if document is None:
            continue
        kind = _kind(file.name, document, problems)
        if kind is None:
            continue
        if kind in found:
            what = f"is about {kind.value}, and {found[kind].name} is already: give one file of each kind"
            problems.append(Problem(file.name, "", what, 1))
        else:
            found[kind] = ConfigDocument(file.name, file.text, document)
    return found


def _kind(name: str, document: Document, problems: list[Problem]) -> FileKind | None:
    value = document.value
    keys = frozenset(key for key in value if isinstance(key, str)) if isinstance(value, dict) else frozenset[str]()
    if not keys:
        problems.append(Problem(name, "", "expected keys and values at the top", 1))
        return None
    for start, own in _OF_A_START:
        if keys & own:
            what = f"is like {start}, which belongs to a start: change it where the routers start, and restart them"
            problems.append(Problem(name, "", what, 1))
            return None
    kinds = [kind for kind, own in _KEYS.items() if keys & own]
    if len(kinds) > 1:
        both = " and ".join(kind.value for kind in kinds)
        problems.append(Problem(name, "", f"is about {both}: write one file for each", 1))
        return None
    if kinds:
        return kinds[0]
    if keys & _ROUTER_KEYS:
        what = "is like router.yaml, which belongs to a start: change it where the routers start, and restart them"
        problems.append(Problem(name, "", what, 1))
        return None
    known = [key for own in _KEYS.values() for key in sorted(own)]
    first = min(keys, key=lambda key: document.lines.get(key, 0))
    near = nearest(first, known) or f" (known: {', '.join(sorted(known))})"
    what = f"unknown key{near}"
    problems.append(Problem(name, first, what, document.lines.get(first, 1)))
    return None
