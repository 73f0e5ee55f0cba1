"""Tool calls out of pieces in every form that servers send."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.contract import ToolCallDelta
from backends.errors import ProtocolViolation
from backends.openai.tools import ToolCallAssembler
from backends.openai.wire import ToolCallPart

Calls = list[tuple[str, str, str]]


def assembled(*events: list[dict[str, Any]], was_cut: bool = False) -> Calls:
    """The calls that the pieces make, after a check that each has one id and one name, in its first piece."""
    assembler = ToolCallAssembler()
    deltas: list[ToolCallDelta] = []
    for event in events:
        deltas += assembler.take(msgspec.convert(event, list[ToolCallPart]))
    deltas += assembler.finish(was_cut=was_cut)
    calls: dict[int, list[str]] = {}
    for delta in deltas:
        if delta.index not in calls:
            assert delta.id
            assert delta.name
            calls[delta.index] = [delta.id, delta.name, delta.arguments]
        else:
            assert delta.id is None
            assert delta.name is None
            calls[delta.index][2] += delta.arguments
    assert sorted(calls) == list(range(len(calls)))
    return [(call[0], call[1], call[2]) for _, call in sorted(calls.items())]


def piece(
    index: int | None = None, id_: str | None = None, name: str | None = None, args: Any = None
) -> dict[str, Any]:
    return {"index": index, "id": id_, "function": {"name": name, "arguments": args}}


@pytest.mark.parametrize(
    ("events", "calls"),
    [
        pytest.param(
            ([piece(0, "a", "f", "")], [piece(0, args='{"x"')], [piece(0, args=":1}")]),
            [("a", "f", '{"x":1}')],
            id="by the book",
        ),
        pytest.param(
            ([piece(0, "a", "f", "{}"), piece(1, "b", "g", '{"y":2}')],),
            [("a", "f", "{}"), ("b", "g", '{"y":2}')],
            id="all in one delta",
        ),
        pytest.param(
            ([piece(0, "a", "f", "{}")], [piece(0, "b", "f", "{}")]),
            [("a", "f", "{}"), ("b", "f", "{}")],
            id="index restarts",
        ),
        pytest.param(
            ([piece(0, "a", "f", '{"x"')], [piece(0, "a", "f", ":1}")]),
            [("a", "f", '{"x":1}')],
            id="id and name repeated",
        ),
        pytest.param(
            ([piece(None, "a", "f", "{}")], [piece(None, "b", "g", "{}")]),
            [("a", "f", "{}"), ("b", "g", "{}")],
            id="no index",
        ),
        pytest.param(
            ([piece(None, "a", "f", '{"x"')], [piece(args=":1}")]),
            [("a", "f", '{"x":1}')],
            id="no index in the rest",
        ),
        pytest.param(([piece(0, "a", "f", {"x": 1})],), [("a", "f", '{"x":1}')], id="arguments are an object"),
        pytest.param(([piece(0, "a", "f", None)],), [("a", "f", "{}")], id="null arguments"),
        pytest.param(([piece(0, "a", "f", "")],), [("a", "f", "{}")], id="empty arguments"),
        pytest.param(
            ([piece(0, "a", None, '{"x"')], [piece(0, None, "f", ":1}")]),
            [("a", "f", '{"x":1}')],
            id="name comes late",
        ),
        pytest.param(([piece(3, "a", "f", "{}")],), [("a", "f", "{}")], id="index does not start at 0"),
    ],
)
def test_pieces_become_calls(events: tuple[list[dict[str, Any]], ...], calls: Calls) -> None:
    """Whatever the server's habits, the calls come out by the book."""
    assert assembled(*events) == calls


def test_missing_ids_are_made() -> None:
    """Calls without an id get different ones that every vendor takes back."""
    calls = assembled([piece(0, None, "f", "{}")], [piece(0, None, "f", '{"x":1}')], [piece(1, "", "g", "{}")])
    assert [(name, arguments) for _, name, arguments in calls] == [("f", "{}"), ("f", '{"x":1}'), ("g", "{}")]
    assert len({call_id for call_id, _, _ in calls}) == 3
    assert all(len(call_id) == 9 and call_id.isalnum() for call_id, _, _ in calls)


def test_a_call_that_was_cut_keeps_its_empty_arguments() -> None:
    """At the token limit nobody knows the arguments, so none are made up."""
    assert assembled([piece(0, "a", "f", "")], was_cut=True) == [("a", "f", "")]


def test_a_call_without_a_name_is_a_violation() -> None:
    """Nobody can answer a call that does not say to what."""
    with pytest.raises(ProtocolViolation):
        assembled([piece(0, "a", None, "{}")])


ARGUMENTS = st.dictionaries(st.text(max_size=3), st.integers(), max_size=3)


@given(st.lists(st.tuples(st.sampled_from("fg"), ARGUMENTS), max_size=4), st.randoms())
def test_any_cut_of_the_arguments_gives_the_same_calls(wanted: list[tuple[str, dict[str, int]]], rng: Any) -> None:
    """By the book, wherever the arguments are cut and however the calls interleave."""
    streams: list[list[dict[str, Any]]] = []
    for index, (name, arguments) in enumerate(wanted):
        text = msgspec.json.encode(arguments).decode()
        at = rng.randint(0, len(text))
        streams.append(
            [piece(index, f"id{index}", name, ""), piece(index, args=text[:at]), piece(index, args=text[at:])]
        )
    events = [[stream.pop(0)] for stream in streams]  # first pieces in order, the rest interleaved
    rest = [stream for stream in streams for _ in stream]
    rng.shuffle(rest)
    events += [[stream.pop(0)] for stream in rest]
    assert assembled(*events) == [
        (f"id{index}", name, msgspec.json.encode(arguments).decode()) for index, (name, arguments) in enumerate(wanted)
    ]
