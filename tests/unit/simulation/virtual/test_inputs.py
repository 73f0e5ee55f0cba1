"""Traces, tables and events as they come from files and command lines: right ones are read, wrong ones named."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulation.virtual.events import Event, Kind, parse
from simulation.virtual.scenario import site
from simulation.virtual.tables import Tables, TablesError, load
from simulation.virtual.traces import Ask, TraceError, read, scaled, section
from simulation.virtual.truth import NoTruth
from tests.unit.simulation.virtual.small import CONFIG

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:47.1805900,396,109
"""
MOONCAKE = """{"timestamp": 1000, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1, 2]}
{"timestamp": 3000, "input_length": 10, "output_length": 1, "hash_ids": []}
"""


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_azure_and_mooncake_are_read(tmp_path: Path) -> None:
    """From the first arrival on, in seconds."""
    first, second = read(write(tmp_path, "t.csv", AZURE))
    assert (first.at_s, first.input_tokens, first.output_tokens) == (0.0, 374, 44)
    assert second.at_s == pytest.approx(0.5)
    long, short = read(write(tmp_path, "t.jsonl", MOONCAKE))
    assert (long.blocks, short.at_s, short.input_tokens) == ((0, 1, 2), 2.0, 10)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("t.csv", "a,b\n1,2\n", "none of the columns timestamp"),
        ("t.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\nnoon,1,1\n", "t.csv:2: TIMESTAMP: expected a time"),
        ("t.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n1,x,1\n", "t.csv:2: ContextTokens: expected a number"),
        ("t.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n", "holds no request"),
        ("t.jsonl", "{", "t.jsonl:1: no JSON"),
        ("t.jsonl", "[1]", "t.jsonl:1: expected an object"),
        ("t.jsonl", '{"timestamp": 1, "input_length": 1, "output_length": 1, "hash_ids": "a"}', "hash_ids: expected"),
    ],
)
def test_a_bad_trace_is_named_with_its_line_and_column(tmp_path: Path, name: str, text: str, told: str) -> None:
    """What was expected there is said too."""
    with pytest.raises(TraceError, match=told):
        read(write(tmp_path, name, text))


def test_a_trace_that_is_not_there_is_named(tmp_path: Path) -> None:
    """By its path and the reason."""
    with pytest.raises(TraceError, match=r"none\.csv: No such file"):
        read(tmp_path / "none.csv")


def test_load_makes_the_same_requests_come_faster() -> None:
    """Arrivals are divided, seven in ten are interactive, and the same seed draws the same."""
    asks = [Ask(n, float(n), 10, 10) for n in range(100)]
    fast = scaled(asks, load=4.0, interactive_share=0.7, seed=1)

    assert fast[-1].at_s == pytest.approx(99.0 / 4.0)
    assert 55 <= sum(ask.interactive for ask in fast) <= 85
    assert fast == scaled(asks, load=4.0, interactive_share=0.7, seed=1)


def test_sections_are_numbered_and_timed_from_their_own_beginning() -> None:
    """A section beyond the end wraps round, and is as long."""
    asks = [Ask(n, 2.0 * n, 10 + n, 10) for n in range(100)]
    part = section(asks, 1, 30)

    assert [part[0].number, part[0].at_s, part[0].input_tokens, len(part)] == [0, 0.0, 40, 30]
    assert len(section(asks, 7, 30)) == 30


def test_an_event_is_read_as_it_is_written() -> None:
    """Its kind, backend, amount and second."""
    assert parse("slow:h100:3@600", ["h100"]) == Event(Kind.SLOW, "h100", 3.0, 600.0)
    assert parse("dead:h100@5", ["h100"]) == Event(Kind.DEAD, "h100", 0.0, 5.0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("slow:h100:3", "is not KIND"),
        ("sick:h100@1", "no kind 'sick'; there are: slow"),
        ("slow:h200:3@1", "no backend 'h200'; there are: h100"),
        ("slow:h100@1", "takes an amount, how many times slower"),
        ("dead:h100:1@1", "takes no amount"),
        ("errors:h100:2@1", "the share of requests that fail"),
        ("slow:h100:3@soon", "'soon' is not a second"),
    ],
)
def test_a_wrong_event_is_named_with_what_it_may_be(text: str, told: str) -> None:
    """With the event as it was written."""
    with pytest.raises(ValueError, match=told):
        parse(text, ["h100"])


@pytest.mark.parametrize("name", ["none.yaml", "."])
def test_a_fleet_that_is_not_there_is_never_another_one(tmp_path: Path, name: str) -> None:
    """Policies and prices may come from elsewhere; the fleet is the one that was asked for, or none."""
    with pytest.raises(NoTruth, match=r"no such file, or no fleet\.yaml in it"):
        site(tmp_path / name, model=None, tables=Tables({}, {}, {}), config=CONFIG)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    """By its path."""
    with pytest.raises(TablesError, match=r"mlenergy_v3_llm\.csv: No such file"):
        load(tmp_path)
