"""The backends of the suite, and the count of recordings that replayed equal."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import pytest

from tests.contract.harness import KINDS, Harness, harness_of


@pytest.fixture(params=KINDS)
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    async with harness_of(request.param) as found:
        yield found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line that says for each provider how many of its recordings replayed equal."""
    equal: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            if "test_replays_equal[" in report.nodeid and report.when == "call":
                provider = report.nodeid.partition("[")[2].partition("/")[0]
                total[provider] += 1
                equal[provider] += outcome == "passed"
    if total:
        counts = ", ".join(f"{provider} {equal[provider]}/{total[provider]}" for provider in sorted(total))
        terminalreporter.write_line(f"recordings replayed equal: {counts}")
