"""The offline judge of quality by task: what a table can and cannot know."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from simulation.quality import Point, Prompt, curve, judge, main, oracle, read


def prompts(chances: dict[str, tuple[float, float]], count: int = 2000) -> list[Prompt]:
    rng = random.Random(5)
    return [
        Prompt(task, rng.random() < weak, rng.random() < strong)
        for task, (weak, strong) in chances.items()
        for _ in range(count)
    ]


def test_tasks_that_differ_are_told_apart() -> None:
    """Where the strong model is needed for one task only, half the calls close nearly all of the gap."""
    verdict = judge(curve(prompts({"easy": (0.8, 0.8), "hard": (0.2, 0.9)}), seed=1))
    assert verdict.apgr > 0.65
    assert verdict.cpt_80 < 0.55


def test_tasks_that_are_alike_are_a_coin() -> None:
    """A table knows nothing of single prompts: without differences between tasks it is as good as chance."""
    verdict = judge(curve(prompts({"one": (0.5, 0.8), "other": (0.5, 0.8)}), seed=1))
    assert verdict.apgr == pytest.approx(0.5, abs=0.06)


def test_a_straight_line_is_a_coin() -> None:
    """APGR 0.5, and each part of the gap costs as much of the calls."""
    verdict = judge([Point(0.0, 0.6), Point(1.0, 0.8)])
    assert (verdict.apgr, verdict.cpt_50, verdict.cpt_80) == pytest.approx((0.5, 0.5, 0.8), abs=0.01)


def test_the_oracle_calls_the_strong_model_only_where_it_helps() -> None:
    """Right wherever either is."""
    assert oracle([Prompt("t", True, True), Prompt("t", False, True), Prompt("t", False, False)]) == Point(1 / 3, 2 / 3)


def test_a_file_is_read_and_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The subject is the task, the dataset where there is none."""
    head = "dataset,subject,prompt,mixtral_8x7b_correct,gpt4_1106_correct\n"
    lines = [f"mmlu,law,x,{n % 2},1\n" for n in range(40)] + ["gsm8k,,x,0,1\n"] * 10
    file = tmp_path / "answers.csv"
    file.write_text(head + "".join(lines), encoding="utf-8")
    assert {p.task for p in read(file)} == {"law", "gsm8k"}
    main([str(file), "--seeds", "1"])
    assert "50 prompts, 2 tasks; right: weak 0.400, strong 1.000" in capsys.readouterr().out
