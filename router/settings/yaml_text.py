"""YAML text to plain values, refusing what YAML would let pass in silence.

PyYAML takes the last of two equal keys and reads `1e12` as text (YAML 1.1); here the first is a problem of the file and
the second a number. Every key path keeps the line it was written on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import yaml

MAX_VALUES = 1_000_000
# Beyond any configuration, and far below where libyaml's recursion would end the process.
MAX_DEPTH = 500
MERGE_TAG = "tag:yaml.org,2002:merge"


if TYPE_CHECKING:
    _Fastest = yaml.SafeLoader
else:
    # libyaml reads several times as fast; PyYAML has it wherever it comes as a wheel.
    _Fastest = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Fastest):
    """SafeLoader with the floats of YAML 1.2; what a plain word is, is found out once."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._tags: dict[str, str] = {}

    def resolve(self, kind: type[yaml.Node], value: str | None, implicit: object) -> str:
        plain = kind is yaml.ScalarNode and isinstance(implicit, tuple) and implicit[0]
        if not plain or value is None:
            return str(super().resolve(kind, value, implicit))  # type: ignore[no-untyped-call]  # PyYAML
        tag = self._tags.get(value)
        if tag is None:
            tag = self._tags[value] = str(super().resolve(kind, value, implicit))  # type: ignore[no-untyped-call]  # PyYAML
        return tag


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


@dataclass(slots=True)
class Document:
    """A parsed file: its value, the line of each key path, and what is wrong with it as (path, message)."""

    value: object = None
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)


def join(path: str, part: str | int) -> str:
    """The path of a part: `backends.h100.models[0]`."""
    if isinstance(part, int):
        return f"{path}[{part}]"
    return f"{path}.{part}" if path else part


def read_document(text: str) -> Document:
    """Parses one document; problems are collected, never raised."""
    document = Document()
    try:
        if _is_deep(text):
            raise RecursionError  # noqa: TRY301 - as the parser in Python ends it
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                _Walk(document).visit(node, "")
                document.value = loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = getattr(error, "problem", None) or str(error).partition("\n")[0]
        document.problems.append(("", f"not valid YAML{where}: {what}"))
    except _TooLargeError as error:
        document.problems.append(("", str(error)))
    except RecursionError:
        document.problems.append(("", "nested too deeply"))
    except ValueError as error:
        # PyYAML's constructors of dates and numbers: `2026-13-01` looks like a date and is none.
        document.problems.append(("", f"not valid YAML: {error}"))
    return document


def _is_deep(text: str) -> bool:
    """Whether it is nested beyond `MAX_DEPTH`. Events come without recursion, whatever the text."""
    depth = 0
    for event in yaml.parse(text, Loader=_Fastest):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return False


class _TooLargeError(Exception):
    """More values than any configuration has: an alias of aliases grows without bound."""


class _Walk:
    """Collects lines and duplicate keys of a document before it is turned into values."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._open: set[int] = set()
        self._visited = 0

    def visit(self, node: yaml.Node, path: str) -> None:
        document = self._document
        self._visited += 1
        if self._visited > MAX_VALUES:
            raise _TooLargeError(f"more than {MAX_VALUES} values")
        if id(node) in self._open:
            raise _TooLargeError(f"{path}: an anchor that holds itself")
        document.lines.setdefault(path, node.start_mark.line + 1)
        self._open.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.visit(item, join(path, index))
        elif isinstance(node, yaml.MappingNode):
            self._visit_mapping(node, path)
        self._open.discard(id(node))

    def _visit_mapping(self, node: yaml.MappingNode, path: str) -> None:
        problems = self._document.problems
        seen: dict[str, int] = {}
        for key, value in node.value:
            if key.tag == MERGE_TAG:
                self.visit(value, path)
                continue
            name = str(key.value)
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                problems.append((join(path, name[:40]), f"a key must be text; quote it (line {line})"))
            elif name in seen:
                problems.append((join(path, name), f"duplicate key, on lines {seen[name]} and {line}"))
            seen.setdefault(name, line)
            self.visit(value, join(path, name))
