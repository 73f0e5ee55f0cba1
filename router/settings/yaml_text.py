"""YAML text to plain values, refusing what YAML would let pass in silence.

PyYAML takes the last of two equal keys and reads `1e12` as text (YAML 1.1); here the first is a problem of the file and
the second a number. Every key path keeps the line it was written on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import yaml

MERGE_TAG = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """SafeLoader with the floats of YAML 1.2."""


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
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is not None:
            _walk(node, "", document, set())
            document.value = loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        document.problems.append(("", f"not valid YAML{where}: {getattr(error, 'problem', None) or error}"))
        document.value = None
    finally:
        loader.dispose()
    return document


def _walk(node: yaml.Node, path: str, document: Document, open_nodes: set[int]) -> None:
    if id(node) in open_nodes:
        document.problems.append((path, "an anchor that holds itself"))
        return
    document.lines.setdefault(path, node.start_mark.line + 1)
    open_nodes.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(item, join(path, index), document, open_nodes)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            if key.tag == MERGE_TAG:
                continue
            name = str(key.value)
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                document.problems.append((join(path, name), f"a key must be text; quote it (line {line})"))
            elif name in seen:
                document.problems.append((join(path, name), f"duplicate key, on lines {seen[name]} and {line}"))
            seen.setdefault(name, line)
            _walk(value, join(path, name), document, open_nodes)
    open_nodes.discard(id(node))
