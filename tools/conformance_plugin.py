"""A pytest plugin: writes down how each test that speaks for a judge went. `tools.conformance` runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

OPTION = "--judgements"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(OPTION, required=True, help="the file to write to")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Judgements(Path(config.getoption(OPTION))), "judgements")


class _Judgements:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._marks: dict[str, list[tuple[str, str]]] = {}
        self._outcomes: dict[str, tuple[str, str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            self._marks[item.nodeid] = [(str(m.args[0]), str(m.args[1])) for m in item.iter_markers("judge")]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._outcomes[report.nodeid] = ("failed", "")
        elif report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self._outcomes[report.nodeid] = ("skipped", reason.removeprefix("Skipped: "))
        elif report.when == "call":
            self._outcomes.setdefault(report.nodeid, ("passed", ""))

    def pytest_sessionfinish(self) -> None:
        rows = [
            {"family": family, "judge": judge, "test": test, "outcome": outcome, "reason": reason}
            for test, (outcome, reason) in self._outcomes.items()
            for family, judge in self._marks.get(test, [])
        ]
        self._file.write_text(json.dumps(rows))
