"""The program as people run it: a router in one process, commands in others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LIMIT_S = 60.0


def environment() -> dict[str, str]:
    """This process's, without what would change the program's behaviour."""
    dropped = ("INFERENCE_ROUTER_", "REDIS_URL", "OPENAI_API_KEY")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)}


@dataclass(frozen=True)
class Program:
    """A running router's process and where it listens."""

    process: subprocess.Popen[str]
    ports: dict[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        addresses = {
            "INFERENCE_ROUTER_ADDRESS": self.ports["grpc"],
            "INFERENCE_ROUTER_ADMIN_ADDRESS": self.ports["admin"],
        }
        return subprocess.run(
            [sys.executable, "-m", "router", *arguments],
            cwd=ROOT,
            env=environment() | addresses,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    """`serve` on the shipped configuration, whose backends are all absent, on free ports."""
    process = subprocess.Popen(
        [sys.executable, "-m", "router", "serve", "--grpc-port", "0", "--admin-port", "0", "--http-port", "0"],
        cwd=ROOT,
        env=environment() | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    with process, process.stdout as lines:
        try:
            serving = next(line for line in lines if line.startswith("serving "))
            yield Program(process, dict(word.split("=") for word in serving.split()[1:]))
        finally:
            process.kill()


def test_models_and_backends_of_the_shipped_configuration(program: Program) -> None:
    """A router that has just started knows every name and every backend of its configuration."""
    models = json.loads(program.run("models", "--json").stdout)["models"]
    backends = json.loads(program.run("admin", "backends", "list", "--json").stdout)["backends"]

    assert {"fast-chat", "small-chat", "llama-3.1-8b"} <= {model["id"] for model in models}
    assert len(backends) == 8


def test_a_backend_is_registered_drained_and_removed(program: Program, tmp_path: Path) -> None:
    """The life of a backend by commands, each expecting the version that the one before left."""
    file = tmp_path / "mine.yaml"
    file.write_text(
        "{id: mine, wire: openai_chat, profile: vllm, address: 'http://127.0.0.1:9', hardware: h100-sxm-80,"
        " models: [{model: llama-3.1-8b}]}",
        encoding="utf-8",
    )

    registered = program.run("admin", "backends", "register", str(file))
    drained = program.run("admin", "backends", "drain", "mine")
    stale = program.run("admin", "backends", "remove", "mine", "--expected-version", "1")
    removed = program.run("admin", "backends", "remove", "mine")
    gone = program.run("admin", "backends", "get", "mine")

    assert registered.stdout.startswith("registered mine, version 1; ")
    assert drained.stdout.startswith("draining mine, version 2; ")
    assert "error: STALE_VERSION: " in stale.stderr
    assert removed.stdout.startswith("removed mine; ")
    assert "error: NOT_FOUND: " in gone.stderr
    assert (stale.returncode, gone.returncode) == (1, 1)


def test_the_router_checks_what_the_file_cannot_know(program: Program, tmp_path: Path) -> None:
    """References of a registered backend are held against the router's own catalogue, with the nearest name."""
    file = tmp_path / "mine.yaml"
    file.write_text(
        "{id: mine, wire: openai_chat, address: 'http://127.0.0.1:9', hardware: h100-sxm-81, models: [{model: x}]}",
        encoding="utf-8",
    )

    result = program.run("admin", "backends", "register", str(file))

    assert result.returncode == 1
    assert "spec.hardware.id: unknown hardware 'h100-sxm-81' (did you mean 'h100-sxm-80'?)" in result.stderr


def test_a_price_and_the_policies_are_changed(program: Program, tmp_path: Path) -> None:
    """A price set in part keeps the rest; the policies that are read can be written back."""
    policies = tmp_path / "policies.yaml"
    policies.write_text(program.run("admin", "policies", "get").stdout, encoding="utf-8")

    price = json.loads(program.run("admin", "prices", "set", "h100-vllm", "--per-hour", "12 USD/h", "--json").stdout)
    written = program.run("admin", "policies", "set", str(policies))

    assert price["entry"]["price"]["usd_per_hour"] == 12.0
    assert price["entry"]["price"]["electricity_usd_per_kwh"] == 0.08
    assert written.stdout.startswith("policies set, version 2; ")


def test_a_refusal_says_why(program: Program) -> None:
    """Asking for what no backend can do is exit code 1 with reasons, both asked for and explained."""
    refused = program.run("generate", "hi", "--privacy", "on-device", "--need", "vision")
    explained = program.run("explain", "hi", "--privacy", "on-device", "--need", "vision")

    assert (refused.returncode, explained.returncode) == (1, 1)
    assert "error: NO_ENDPOINT: " in refused.stderr
    assert "PRIVACY" in explained.stdout
    assert "Traceback" not in refused.stderr + explained.stderr


def test_a_watch_ends_at_the_interrupt(program: Program) -> None:
    """Ctrl-C ends `admin watch` with exit code 130 and without a traceback."""
    watch = subprocess.Popen(
        [sys.executable, "-m", "router", "admin", "watch", "--address", program.ports["admin"]],
        cwd=ROOT,
        env=environment() | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watch.stdout is not None
    first = watch.stdout.readline()
    watch.send_signal(signal.SIGINT)
    _, errors = watch.communicate(timeout=LIMIT_S)

    assert " set (version 1)" in first
    assert watch.returncode == 130
    assert errors == ""


def test_a_taken_port_is_one_line(program: Program) -> None:
    """A second router on a port ends at once and says what to do."""
    port = program.ports["grpc"].rpartition(":")[2]

    result = program.run("serve", "--grpc-port", port, "--admin-port", "0", "--http-port", "0")

    assert result.returncode == 1
    assert "error: START_FAILED: " in result.stderr
    assert "hint: Free the port, name another, or allow --pick-free-ports." in result.stderr
    assert "Traceback" not in result.stderr


def test_a_stop_is_exit_code_0(program: Program) -> None:
    """SIGTERM ends the router in order; it is the last test of this module."""
    program.process.send_signal(signal.SIGTERM)

    assert program.process.wait(timeout=LIMIT_S) == 0
