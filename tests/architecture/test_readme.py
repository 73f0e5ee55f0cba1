"""What README.md tells a newcomer to type exists, in what a clone gives."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.conftest import Run

SHELL_END = {"|", "||", "&", "&&", ";", ">", ">>", "<", "2>&1"}
# One process for all of them: what takes time is to start.
ALL_OF_THEM = """
import json, sys
from click.testing import CliRunner
from router.cli.main import main
asked = json.loads(sys.argv[1])
answers = [(command, CliRunner().invoke(main, command)) for command in asked]
print(json.dumps([[command, answer.output] for command, answer in answers if answer.exit_code != 0]))
"""


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def blocks(readme: str) -> list[str]:
    """The fenced blocks of shell commands."""
    return re.findall(r"^```(?:sh|bash|shell|console)\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def targets(root: Path) -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):(?!=)", (root / "Makefile").read_text("utf-8"), re.MULTILINE))


def test_it_begins_with_the_demo_and_the_tests(blocks: list[str]) -> None:
    """The two commands that a newcomer needs stand in a block that can be copied."""
    commands = {tuple(command[:2]) for block in blocks for command in _commands(block)}

    assert {("make", "demo"), ("make", "test")} <= commands


def test_every_make_target_it_names_exists(readme: str, blocks: list[str], targets: set[str]) -> None:
    """Each `make X`, in a block or between backquotes, is a target of the Makefile."""
    named = {target for text in (*blocks, *_code_spans(readme)) for target in re.findall(r"\bmake ([a-z][\w-]*)", text)}

    assert named <= targets


def test_every_make_target_can_be_planned_from_a_clean_clone(
    blocks: list[str], clean_clone: Path, run: Run, targets: set[str]
) -> None:
    """`make -n` finds what each target of a block, and each target of the Makefile, is made from."""
    named = {command[1] for block in blocks for command in _commands(block) if command[0] == "make"}
    for target in sorted(named | targets):
        result = run(["make", "--dry-run", target], clean_clone)

        assert result.returncode == 0, f"make {target}: {result.stderr}"


def test_every_command_line_it_shows_is_understood(readme: str, blocks: list[str], clean_clone: Path, run: Run) -> None:
    """Each `inference-router ...`, with its own subcommand and options, is known to the program of a clean clone."""
    shown = {command for text in (*blocks, *_code_spans(readme)) for command in _router_commands(text)}
    assert shown, "README.md shows no inference-router command"

    asked = [[*command, "--help"] for command in sorted(shown)]
    result = run([sys.executable, "-c", ALL_OF_THEM, json.dumps(asked)], clean_clone)

    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == []


def test_every_file_it_links_to_exists(readme: str, root: Path) -> None:
    """Each relative link leads to a file or folder of the repository."""
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", readme) if "://" not in link]

    assert [link for link in links if link and not (root / link).exists()] == []


def test_what_ci_runs_is_its_test_command(root: Path) -> None:
    """.ci/run can be executed and calls `make test`, nothing more."""
    script = root / ".ci" / "run"
    body = [line for line in script.read_text("utf-8").splitlines() if line and not line.startswith("#")]

    assert script.stat().st_mode & 0o111 == 0o111
    assert body == ["set -eu", 'cd "$(dirname "$0")/.."', "exec make test"]


def _code_spans(readme: str) -> list[str]:
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", readme)


def _commands(block: str) -> Iterator[list[str]]:
    """Words of each command of a block, up to where the shell would begin another."""
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        while words:
            end = next((n for n, word in enumerate(words) if word in SHELL_END), len(words))
            command, words = [w for w in words[:end] if not re.match(r"^[A-Z_]+=", w)], words[end + 1 :]
            if command:
                yield command


def _router_commands(text: str) -> Iterator[tuple[str, ...]]:
    """Arguments of the router's own program, however it is started; placeholders such as `...` are left out."""
    if "inference-router" not in text and "-m router" not in text:
        return
    for command in _commands(text):
        words = [word for word in command if word not in {"...", "…"}]
        if Path(words[0]).name == "inference-router":
            yield tuple(words[1:])
        elif words[1:3] == ["-m", "router"]:
            yield tuple(words[3:])
