"""Reading YAML and quantities: total over any text, exact over good text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.settings import quantity as q
from router.settings.policies import parse_policies
from router.settings.strict import ConfigError
from router.settings.yaml_text import read_document


@given(st.text(alphabet=st.sampled_from("ab:-{}[]&*!#'\"\n ,<?|>%@\t0.e"), max_size=60))
def test_any_text_is_a_document_or_a_problem(text: str) -> None:
    """Whatever the text, reading it raises nothing and says what is wrong."""
    document = read_document(text)

    assert all(message for _, message in document.problems)


@given(st.text(max_size=200))
def test_text_that_is_no_policies_is_refused(text: str) -> None:
    """`SetPolicies` takes text from outside: anything but ConfigError would be a fault of the router."""
    with pytest.raises(ConfigError) as caught:
        parse_policies(text, "p")

    assert caught.value.problems


@pytest.mark.parametrize(
    ("text", "value"),
    [("a: 1e12", 1e12), ("a: 2.5E-3", 2.5e-3), ("a: -1e3", -1e3), ("a: 1e", "1e"), ("a: e1", "e1")],
)
def test_floats_are_those_of_yaml_1_2(text: str, value: object) -> None:
    """`1e12` is a number, though YAML 1.1 reads it as text."""
    assert read_document(text).value == {"a": value}


def test_an_anchor_that_holds_itself_is_a_problem() -> None:
    """A document that would never end is refused."""
    assert read_document("a: &x [*x]").problems == [("", "a[0]: an anchor that holds itself")]


def test_aliases_of_aliases_do_not_grow_without_bound() -> None:
    """A few lines that stand for a billion values are refused before they are built."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    assert read_document("\n".join(lines)).problems == [("", "more than 1000000 values")]


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 5_000,
        "a: " + "{a: " * 5_000,
        "- " * 5_000,
        "[" * 200_000 + "]" * 200_000,
        "\n".join(f"{' ' * n}a:" for n in range(1_000)),
        "\n".join(f"{' ' * n}-" for n in range(1_000)),
    ],
)
def test_deep_nesting_is_a_problem(text: str) -> None:
    """A document that would exhaust the stack is refused."""
    assert read_document(text).problems == [("", "nested too deeply")]


def test_a_date_that_is_none_is_a_problem() -> None:
    """What looks like a date and is none does not raise from within the parser."""
    assert read_document("a: 2026-13-01").problems == [("", "not valid YAML: month must be in 1..12")]


def test_merged_keys_are_no_duplicates() -> None:
    """A merge may be overridden: that is what it is for."""
    document = read_document("base: &b {x: 1}\nother: {<<: *b, x: 2}\n")

    assert document.problems == []
    assert document.value == {"base": {"x": 1}, "other": {"x": 2}}


@given(st.floats(min_value=0, max_value=1e6), st.sampled_from(["s", "ms", "us", "min", "h"]))
def test_a_quantity_with_a_unit_is_the_number_times_the_unit(number: float, unit: str) -> None:
    """Text with a unit converts to the base unit, whatever the spacing."""
    expected = number * q.SECONDS.units[unit]

    assert math.isclose(q.parse_quantity(f"{number!r} {unit}", q.SECONDS), expected, rel_tol=1e-12)
    assert math.isclose(q.parse_quantity(f" {number!r}{unit} ", q.SECONDS), expected, rel_tol=1e-12)


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("80 GB", q.BYTES, 80e9),
        ("8 MiB", q.BYTES, 8 * 1024.0**2),
        ("3.35 TB/s", q.BYTES_PER_S, 3.35e12),
        ("989 TFLOPS", q.FLOPS, 989e12),
        ("23 kW", q.WATTS, 23e3),
        ("2.95 USD/h", q.USD_PER_HOUR, 2.95),
        ("0.59 USD/Mtok", q.USD_PER_MTOK, 0.59),
        ("0.0001 USD/ktok", q.USD_PER_MTOK, 0.1),
        (250, q.SECONDS, 250.0),
        ("0.25", q.SECONDS, 0.25),
    ],
)
def test_quantities(text: object, dimension: q.Dimension, value: float) -> None:
    """Each dimension takes the units that people write."""
    assert q.parse_quantity(text, dimension) == pytest.approx(value)


@given(st.text(max_size=30))
def test_any_text_is_a_quantity_or_refused(text: str) -> None:
    """A quantity is finite or a ValueError with a message."""
    try:
        number = q.parse_quantity(text, q.BYTES)
    except ValueError:
        return
    assert math.isfinite(number)
