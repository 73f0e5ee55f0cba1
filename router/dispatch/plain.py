"""The working state of the decision (`Live`, `Learned`, `Row`) as values: read, copied, put back.

These classes are plain typed attributes, compiled or not. A compiled one has no `__dict__`, so that `copy` and `vars`
do not see its attributes; it lists them in `__mypyc_attrs__`.
"""

from __future__ import annotations

from array import array
from base64 import b64decode, b64encode
from operator import attrgetter
from typing import Any, TypeVar

T = TypeVar("T")
SCALARS = (int, float, str, type(None))


def names(thing: object) -> tuple[str, ...]:
    """The attributes of a plain object."""
    listed = getattr(type(thing), "__mypyc_attrs__", None)
    if listed is not None:
        return tuple(name for name in listed if not name.startswith("__"))
    slots = getattr(type(thing), "__slots__", None)
    return tuple(vars(thing)) if slots is None else tuple(slots)


def copied(thing: T) -> T:
    """A copy of its own of something that is made without arguments; lists in it are copied too."""
    new = type(thing)()
    for name in names(thing):
        value = getattr(thing, name)
        setattr(new, name, value[:] if isinstance(value, list | array) else value)
    return new


def remade(thing: T) -> T:
    """A copy of its own of something that is made from its attributes. A compiled class cannot be made without them."""
    return type(thing)(**{name: getattr(thing, name) for name in names(thing)})


class Form:
    """How a kind of state is written: the names of its attributes, and their values at the start.

    Values are read at the pace of a decision, so by one `attrgetter`. Lists and arrays are copied, for they go on
    changing; an attribute that is an object of its own has a form of its own.
    """

    def __init__(self, fresh: object) -> None:
        self.names = names(fresh)
        self._get = attrgetter(*self.names)
        self._lists = [at for at, name in enumerate(self.names) if isinstance(getattr(fresh, name), list | array)]
        self._parts = [
            (at, Form(getattr(fresh, name)))
            for at, name in enumerate(self.names)
            if not isinstance(getattr(fresh, name), (*SCALARS, list, array))
        ]
        self.fresh = self.read(fresh)

    def read(self, thing: object) -> tuple[Any, ...]:
        """The values, in the order of `names`."""
        values: tuple[Any, ...] = self._get(thing)
        if not self._lists and not self._parts:
            return values
        held = list(values)
        for at in self._lists:
            held[at] = held[at][:]
        for at, form in self._parts:
            held[at] = form.read(held[at])
        return tuple(held)

    def told(self, values: tuple[Any, ...]) -> dict[str, Any]:
        """What is not as at the start, by name: a form for JSON."""
        found = {
            name: value for name, value, fresh in zip(self.names, values, self.fresh, strict=True) if value != fresh
        }
        for name, value in found.items():
            if isinstance(value, array):
                found[name] = b64encode(value.tobytes()).decode()
        for at, form in self._parts:
            if self.names[at] in found:
                found[self.names[at]] = form.told(values[at])
        return found

    def write(self, thing: object, told: dict[str, Any]) -> None:
        """Puts back what was told; the rest becomes as at the start. Names of another version are passed over."""
        parts = dict(self._parts)
        for at, name in enumerate(self.names):
            if at in parts:
                parts[at].write(getattr(thing, name), told.get(name, {}))
                continue
            value = told.get(name, self.fresh[at])
            fresh = self.fresh[at]
            if isinstance(fresh, array):
                value = array(fresh.typecode, b64decode(value)) if isinstance(value, str) else value[:]
            elif isinstance(value, list):
                value = value.copy()
            elif isinstance(fresh, float):
                value = float(value)
            setattr(thing, name, value)
