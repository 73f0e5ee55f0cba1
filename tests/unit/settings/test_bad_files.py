"""Every kind of bad file ends with the line that names file, key and remedy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from router.settings import load
from router.settings.strict import ConfigError

Problems = Callable[..., list[str]]
ONE = "fleet.yaml: backends.one"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A case of bad_files.yaml."""

    id: str
    file: str
    expected: str
    text: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def cases() -> list[Case]:
    text = Path(__file__).with_name("bad_files.yaml").read_text(encoding="utf-8")
    return [Case(**case) for case in yaml.safe_load(text)]


def fleet(changes: str) -> str:
    """The small fleet with more keys for its one backend."""
    return f"""\
backends:
  one:
    wire: openai_chat
    address: http://127.0.0.1:8000
    models: [{{model: llama-8b}}]
    {changes}
"""


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.id)
def test_a_bad_file_is_refused_with_exactly_its_lines(case: Case, problems: Problems, tmp_path: Path) -> None:
    """Each kind of mistake is reported with exactly the lines that name file, key and remedy."""
    found = problems({case.file: case.text}, case.environment)

    assert found == case.expected.replace("{dir}", str(tmp_path)).splitlines()


def test_every_problem_of_every_file_is_reported_at_once(problems: Problems) -> None:
    """One load reports the mistakes of all files, so nobody corrects them one by one."""
    found = problems(
        {
            "router.yaml": "grpc_prot: 1\nlog_jsn: true\n",
            "fleet.yaml": fleet("profile: y\n    max_concurrency: 0"),
            "policies.yaml": "classes: {interactive: {batch: 1}}\n",
        }
    )

    assert [line.partition(": ")[0] for line in found] == [*["router.yaml"] * 2, *["fleet.yaml"] * 2, "policies.yaml"]


def test_a_missing_directory_is_one_problem(tmp_path: Path) -> None:
    """A directory that is not there is named, once."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "absent", {})

    assert str(caught.value) == f"{tmp_path / 'absent'}: no such directory"


@pytest.mark.parametrize(
    "secret",
    ["sk-proj-abcdefgh12345678", "env:sk-abcdefgh12345678", "gsk_abcdefgh", "hunter2", "env:1X", "file: x", "ENV:KEY"],
)
def test_a_secret_in_place_of_a_reference_is_refused_and_not_repeated(secret: str, problems: Problems) -> None:
    """A credential must be a reference, and what stands there instead is never printed."""
    (line,) = problems({"fleet.yaml": fleet(f"credential: '{secret}'")})

    assert line.startswith(f"{ONE}.credential: ")
    assert "'env:NAME' or 'file:PATH'" in line
    assert secret not in line


def test_a_password_in_a_url_is_not_repeated(problems: Problems) -> None:
    """Neither an address nor a store's URL that holds a password is shown."""
    found = problems(
        {
            "fleet.yaml": fleet("").replace("http://", "http://me:hunter2@"),
            "router.yaml": "redis_url: http://user:hunter2@cache\n",
        }
    )

    assert len(found) == 2
    assert "hunter2" not in "".join(found)


def test_problems_know_their_lines(write: Callable[..., Path]) -> None:
    """A problem carries the line of its key, for editors and --json."""
    with pytest.raises(ConfigError) as caught:
        load(write({"fleet.yaml": fleet("hardware: h10\n    max_concurrency: 0")}), {})

    assert [(p.path, p.line) for p in caught.value.problems] == [
        ("backends.one.hardware", 6),
        ("backends.one.max_concurrency", 7),
    ]
