"""When the tests of this folder run: when they are asked for, and the scripts that start the engines are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engines.engine import FOLDER, FOLDER_VARIABLE


def _why_not(config: pytest.Config) -> str:
    if not config.getoption("--engines"):
        return "real engines take minutes: make test-engines"
    if not (FOLDER / "vllm_cpu").exists():
        return f"{FOLDER.parent.name}/{FOLDER.name} is not beside this project ({FOLDER_VARIABLE} says where else)"
    return ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reason = _why_not(config)
    for item in items if reason else ():
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))
