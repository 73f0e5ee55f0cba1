"""Verdicts and the table: a row is reached when all of its facts are, and every form says the same."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from bench.state.__main__ import measure
from bench.state.lab import Lab
from bench.state.registry import ROWS
from bench.state.row import Findings, NotBuilt, Result, Row, Verdict
from bench.state.table import Head, json_text, markdown, print_table, summary

HEAD = Head(date="2026-11-23", machine="two cores", quick=True, core="compiled", seconds=12.0)


@pytest.fixture
def lab(tmp_path: object) -> Lab:
    """Nothing runs in it."""
    return Lab(quick=True, folder=tmp_path, sources=tmp_path, say=lambda _: None)  # type: ignore[arg-type]


def row(*tries: Findings | Exception) -> Row:
    """Finds these things, one after the other."""
    left = list(tries)

    async def run(_lab: Lab, findings: Findings) -> None:
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        findings.facts += found.facts

    return Row(name="x", title="a test", does="something", run=run)


def findings(*, ms: float, lost: int = 0) -> Findings:
    found = Findings()
    found.times_ms("it takes", [ms / 1e3] * 100, p99=50.0)
    found.none("lost", range(lost), of=100)
    return found


async def test_all_facts_make_a_row(lab: Lab) -> None:
    """Every fact within its bound: reached. One beside it: missed, and the fact says so."""
    good = await measure(row(findings(ms=10.0)), lab)
    bad = await measure(row(findings(ms=10.0, lost=1)), lab)

    assert (good.verdict, bad.verdict) == (Verdict.REACHED, Verdict.MISSED)
    assert [fact.reached for fact in bad.findings.facts] == [True, False]


async def test_only_time_has_a_second_try(lab: Lab) -> None:
    """What missed by time alone is tried once more and says so; what lost something is not."""
    slow = await measure(row(findings(ms=90.0), findings(ms=10.0)), lab)
    twice = await measure(row(findings(ms=90.0), findings(ms=80.0)), lab)
    lost = await measure(row(findings(ms=90.0, lost=1), findings(ms=10.0)), lab)

    assert (slow.verdict, twice.verdict, lost.verdict) == (Verdict.REACHED, Verdict.MISSED, Verdict.MISSED)
    assert "a second try" in slow.findings.notes[0]
    assert not lost.findings.notes


async def test_a_row_that_fails_is_a_line(lab: Lab) -> None:
    """A row that cannot run, or breaks, even deep in a group of tasks, says why, and nothing is raised."""
    absent = await measure(row(NotBuilt("leases")), lab)
    broken = await measure(row(ExceptionGroup("tasks", [ValueError("two\nlines")])), lab)

    assert (absent.verdict, absent.why) == (Verdict.NOT_BUILT, "not built yet: leases")
    assert (broken.verdict, broken.why) == (Verdict.FAILED, "ValueError: two lines")


def test_nothing_measured_is_a_miss() -> None:
    """No facts, no times, and nothing looked at are not successes."""
    empty, none = Findings(), Findings()
    empty.times_ms("it takes", [], p99=50.0)
    none.none("lost", [], of=0)

    assert not Findings().reached
    assert not empty.reached
    assert not none.reached


def test_every_form_says_the_same() -> None:
    """The table, Markdown and JSON hold each row with its verdict, its facts and its notes."""
    found = findings(ms=10.0)
    found.note("how it was done")
    results = [
        Result(row=row(), verdict=Verdict.REACHED, findings=found, seconds=3.0),
        Result(row=row(), verdict=Verdict.FAILED, findings=Findings(), seconds=1.0, why="it broke | here"),
    ]
    page = io.StringIO()
    print_table(Console(file=page, width=150), HEAD, results)
    plain = json.loads(json_text(HEAD, results))

    for text in (page.getvalue(), markdown(HEAD, results)):
        for said in ("a test", "it takes, p99", "< 50 ms", "how it was done", "reached", "FAILED", "1 of 2 reached"):
            assert said in text
    assert "it broke \\| here" in markdown(HEAD, results)
    assert [r["verdict"] for r in plain["rows"]] == ["reached", "FAILED"]
    assert plain["rows"][0]["facts"][1] == {
        "what": "lost",
        "bound": "0",
        "got": "0 of 100",
        "reached": True,
        "timed": False,
    }
    assert summary(results) == "1 of 2 reached; not: x (FAILED)"


def test_rows_have_names_of_their_own() -> None:
    """No two rows share a name, and each says what it does."""
    assert len({one.name for one in ROWS}) == len(ROWS)
    assert all(one.title and one.does for one in ROWS)
