"""What has no effect is said: a floor for a task that nobody rates, a service tier that nothing has a price for."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from router.settings import load

CONFIG = Path(__file__).parents[3] / "config"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            'minimum_quality: { "*": 0.65, code: 0.8 }',
            "minimum_quality: { coed: 0.8 }",
            r"classes\.agentic\.minimum_quality\.coed: .*did you mean 'code'",
        ),
        (
            "    max_attempts: 4 ",
            "    service_tier: priorit\n    max_attempts: 4 ",
            r"classes\.agentic\.service_tier: .*did you mean 'priority'",
        ),
    ],
)
def test_a_slip_of_the_pen_is_said(tmp_path: Path, old: str, new: str, told: str) -> None:
    """By its field, with the nearest word that has an effect; the configuration loads all the same."""
    shutil.copytree(CONFIG, tmp_path, dirs_exist_ok=True)
    text = (tmp_path / "policies.yaml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "policies.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")

    notices = "\n".join(load(tmp_path, {}).notices)

    assert not [line for line in load(CONFIG, {}).notices if line.startswith("policies.yaml")]
    assert re.search(told, notices)
