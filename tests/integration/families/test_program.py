"""`python -m simulation.wires`, as people run it: it starts servers, writes what registers them, and stops."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from backends import registry
from simulation.wires.families import STANDS
from supervise.child import Child
from tests.integration.families.place import BY_ID, IDS, question
from tests.integration.router.calls import clients_of, generate
from tests.integration.router.site import CONFIG, ROOT, Site, assert_clean, environment, free_port, run_router

COMMAND = (sys.executable, "-m", "simulation.wires")
LIMIT_S = 30.0


@asynccontextmanager
async def started(folder: Path, *arguments: str, shows: str) -> AsyncGenerator[Path]:
    """Where its output goes, once that shows a text. It must stop with status 0 and without a traceback."""
    log = folder / "wires.log"
    log.touch()

    async def showing() -> bool:
        return shows in log.read_text()

    async with Child.start(
        [*COMMAND, *arguments], name="wires", env=environment(), cwd=ROOT, log=log, ready=showing
    ) as child:
        yield log
        assert await child.stop(timeout_s=8.0) == 0
    assert_clean(log.read_text(), "wires")


def refused(*arguments: str) -> tuple[int, str]:
    """The status and the words of a call that starts nothing."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return done.returncode, done.stderr


def test_every_wire_has_a_server() -> None:
    """All but the two that need none: a model in a child of the router, and a script."""
    assert {stand.wire for stand in STANDS} == set(registry.WIRES) - {"llama_cpp_embedded", "scripted"}


async def test_a_router_on_what_it_writes(tmp_path: Path) -> None:
    """The written configuration and keys are enough for a router to answer from servers of three wires."""
    config, names = tmp_path / "config", ("ollama", "jetstream", "bedrock")
    async with started(tmp_path, *names, "--config", str(config), shows="Ctrl-C stops.") as said:
        words = [shlex.split(line) for line in (config / "keys.env").read_text().splitlines()]
        env = dict(word.split("=", 1) for _, word in words)
        async with run_router(Site(config, {}, {}), **env) as router, clients_of(router) as clients:
            for name in names:
                answer = await generate(clients, question(name))
                assert answer.backend == name
                assert answer.finished is not None
                assert answer.finished.hardware.emulated
                assert "mulated" in answer.text

    assert "3 emulated servers: no model runs in them" in said.read_text()
    assert "inference-router generate Hello --model gemma-3-4b --only jetstream" in said.read_text()


async def test_all_of_them_as_yaml(tmp_path: Path) -> None:
    """--yaml prints a fleet.yaml of every family, each entry as the stand has it and marked as emulated."""
    async with started(tmp_path, "--yaml", shows=f"  # {STANDS[-1].title}") as said:
        pass

    fleet = yaml.safe_load(said.read_text())["backends"]
    assert tuple(fleet) == IDS
    assert all(entry["emulated"] is True for entry in fleet.values())
    assert {name: entry["wire"] for name, entry in fleet.items()} == {name: BY_ID[name].wire for name in IDS}
    for name in IDS:
        if BY_ID[name].secret:
            assert f"# export {BY_ID[name].variable}=" in said.read_text()


async def test_one_line_of_json_for_each(tmp_path: Path) -> None:
    """--json and --port are for programs: one object a server, on consecutive ports."""
    port = free_port()
    async with started(tmp_path, "groq", "gemini", "--json", "--port", str(port), shows='"gemini"') as said:
        pass

    found = [json.loads(line) for line in said.read_text().splitlines()]
    assert [(server["id"], server["emulated"]) for server in found] == [("groq", True), ("gemini", True)]
    assert [server["address"] for server in found] == [
        f"http://127.0.0.1:{port}/openai",
        f"http://127.0.0.1:{port + 1}",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nobody",), "no server nobody; there are anthropic, "),
        (("--port", "65530"), "--port: 33 ports from 65530 on"),
        (("--json", "--yaml"), "not allowed with"),
    ],
)
def test_wrong_arguments(arguments: tuple[str, ...], words: str) -> None:
    """They are named, with what would be right."""
    status, said = refused(*arguments)

    assert status == 2
    assert words in said


def test_a_configuration_of_somebody_else(tmp_path: Path) -> None:
    """A fleet that it has not written stays as it is."""
    fleet = (CONFIG / "fleet.yaml").read_text()
    (tmp_path / "fleet.yaml").write_text(fleet)

    status, said = refused("ollama", "--config", str(tmp_path))

    assert status == 1
    assert "fleet.yaml has a fleet that is not of this command" in said
    assert (tmp_path / "fleet.yaml").read_text() == fleet
    assert [path.name for path in tmp_path.iterdir()] == ["fleet.yaml"]
