"""`admin plan`, `apply`, `history` and `rollback` over a real gRPC connection: what is sent and what is shown."""

# ruff: noqa: N802 - gRPC names its methods
from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result
from google.protobuf.timestamp_pb2 import Timestamp

from router.api.rescue import rescue, to_grpc_status
from router.cli.main import main
from router.errors import StaleVersion
from router.v1 import config_pb2 as pb
from router.v1.config_pb2_grpc import ConfigServiceServicer, add_ConfigServiceServicer_to_server

CHEAPER = pb.DocumentDifference(
    kind="price",
    id="h100-vllm/",
    operation="change",
    fields=[pb.FieldDifference(path="usd_per_hour", before="11.8", after="5.9", ratio=0.5)],
)
NEW = pb.DocumentDifference(
    kind="backend",
    id="b200",
    operation="add",
    fields=[pb.FieldDifference(path=f"field_{n}", after=f"value number {n}") for n in range(8)],
)
GONE = pb.DocumentDifference(kind="tenant", id="acme", operation="remove")
EFFECT = pb.Effect(
    requests=300,
    moved=120,
    unserved_after=3,
    cost_usd_before=0.4,
    cost_usd_after=0.3,
    mean_ttft_s_before=0.21,
    mean_ttft_s_after=0.25,
    slo_attainment_before=0.98,
    slo_attainment_after=0.961,
    backends=[
        pb.BackendEffect(
            backend="h100-vllm", requests_before=60, requests_after=180, cost_usd_before=0.1, cost_usd_after=0.2
        )
    ],
)
REVISION = pb.Revision(
    version=17,
    changed_at=Timestamp(seconds=1_800_000_000),
    actor="ann@laptop",
    origin="ipv4:10.0.0.1:4242",
    action="Apply",
    note="black friday",
    documents=1,
    summary="~ price h100-vllm: usd_per_hour 11.80 -> 5.90 (x0.50)",
)


@dataclass
class Config(ConfigServiceServicer):
    """Answers with `differences` at version 17, or refuses to write at a version that is not the expected one."""

    differences: list[pb.DocumentDifference] = field(default_factory=lambda: [CHEAPER, NEW, GONE])
    effect: pb.Effect = field(default_factory=lambda: EFFECT)
    current: int = 17
    missing: list[pb.ReplicaVersion] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    actors: list[str] = field(default_factory=list)

    def _take(self, request: Any, context: grpc.ServicerContext) -> None:
        self.requests.append(request)
        self.actors += [str(value) for key, value in context.invocation_metadata() if key == "x-actor"]

    def _write(self, request: Any, context: grpc.ServicerContext) -> dict[str, Any]:
        self._take(request, context)
        if request.expected_config_version != self.current:
            error = StaleVersion(
                f"the configuration is at version {self.current}, not at the expected "
                f"{request.expected_config_version}: somebody changed it meanwhile; plan again",
                current=self.current,
            )
            status = to_grpc_status(error, "req-1")
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            context.abort(rescue(error).grpc, status.message)
        there = [pb.ReplicaVersion(replica=name, fleet_version=20) for name in ("r1", "r2")]
        return {
            "config_version": 20 if self.differences else 17,
            "differences": self.differences,
            "acknowledged": there,
            "missing": self.missing,
            "waited_s": 0.012,
        }

    def Plan(self, request: pb.PlanRequest, context: grpc.ServicerContext) -> pb.PlanResponse:
        self._take(request, context)
        notes = ["nobody serves any more: gpt-4o"] if self.differences else []
        return pb.PlanResponse(config_version=17, differences=self.differences, effect=self.effect, notes=notes)

    def Apply(self, request: pb.ApplyRequest, context: grpc.ServicerContext) -> pb.ApplyResponse:
        return pb.ApplyResponse(**self._write(request, context))

    def Rollback(self, request: pb.RollbackRequest, context: grpc.ServicerContext) -> pb.RollbackResponse:
        if request.plan_only:
            self._take(request, context)
            return pb.RollbackResponse(config_version=17, differences=self.differences)
        return pb.RollbackResponse(**self._write(request, context))

    def ListHistory(self, request: pb.ListHistoryRequest, context: grpc.ServicerContext) -> pb.ListHistoryResponse:
        self._take(request, context)
        return pb.ListHistoryResponse(revisions=[REVISION], config_version=17)

    def GetRevision(self, request: pb.GetRevisionRequest, context: grpc.ServicerContext) -> pb.GetRevisionResponse:
        self._take(request, context)
        return pb.GetRevisionResponse(revision=REVISION, differences=[CHEAPER])


@dataclass
class Router:
    """A ConfigService at an address, and commands that are run against it."""

    config: Config
    address: str

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, ["admin", *arguments, "--address", self.address])


@pytest.fixture
def router() -> Iterator[Router]:
    config = Config()
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    add_ConfigServiceServicer_to_server(config, server)  # type: ignore[no-untyped-call]  # generated
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield Router(config, f"127.0.0.1:{port}")
    server.stop(None).wait()


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    path = tmp_path / "prices.yaml"
    path.write_text("prices: []\n", encoding="utf-8")
    return path


def test_a_plan_reads_as_words_and_numbers(router: Router, prices: Path) -> None:
    """One line for a small difference, a block for a large one, the count, the effect as a table, then the notes."""
    result = router.run("plan", str(prices), "--prune")

    lines = result.stdout.splitlines()
    assert lines[:2] == ["~ price h100-vllm: usd_per_hour 11.80 -> 5.90 (x0.50)", "+ backend b200"]
    assert lines[2:10] == [f"    field_{n} value number {n}" for n in range(8)]
    assert lines[10:12] == ["- tenant acme", "1 added, 1 changed, 1 removed; configuration version 17"]
    assert "20.0% -> 60.0%" in result.stdout
    assert "$0.10 -> $0.20" in result.stdout
    assert lines[-2] == (
        "120 of 300 would go elsewhere; cost $0.40 -> $0.30 (x0.75); mean TTFT 0.21 s -> 0.25 s; "
        "objectives met 98.0% -> 96.1%; unserved 0 -> 3"
    )
    assert lines[-1] == "note: nobody serves any more: gpt-4o"
    (request,) = router.config.requests
    assert request == pb.PlanRequest(files=[pb.ConfigFile(name=str(prices), text="prices: []\n")], prune=True)


def test_a_plan_without_differences_or_traffic_says_so(router: Router, prices: Path) -> None:
    """Nothing to change is one line; without recent requests there is no table."""
    router.config.effect = pb.Effect()
    silent = router.run("plan", str(prices)).stdout
    router.config.differences = []
    nothing = router.run("plan", str(prices)).stdout

    assert "effect: this router has decided no requests yet" in silent
    assert nothing == "nothing to change; configuration version 17\n"


def test_a_directory_stands_for_the_known_files_in_it(router: Router, tmp_path: Path) -> None:
    """Those of a start and others are left alone; a directory without any is wrong usage."""
    for name in ("fleet.yaml", "policies.yaml", "router.yaml", "models.yaml", "notes.txt"):
        (tmp_path / name).write_text(f"# {name}\n", encoding="utf-8")
    empty = tmp_path / "empty"
    empty.mkdir()

    router.run("plan", str(tmp_path))
    wrong = router.run("plan", str(empty))

    assert [file.text for file in router.config.requests[0].files] == ["# fleet.yaml\n", "# policies.yaml\n"]
    assert wrong.exit_code == 2
    assert "holds none of fleet.yaml, prices.yaml, policies.yaml, tenants.yaml" in wrong.stderr


def test_a_file_that_cannot_be_read_is_not_sent(router: Router, tmp_path: Path) -> None:
    """What is no text is reported by its name, and nothing is sent."""
    path = tmp_path / "fleet.yaml"
    path.write_bytes(b"\xff\xfe\x00")

    result = router.run("plan", str(path))

    assert result.exit_code == 1
    assert "fleet.yaml: cannot be read" in result.stderr
    assert router.config.requests == []


def test_apply_expects_the_version_of_its_plan(router: Router, prices: Path) -> None:
    """It shows the plan, writes at the plan's version with its note, and says who runs it; the caller is named."""
    result = router.run("apply", str(prices), "--yes", "--note", "black friday", "--wait", "250 ms")

    assert result.exit_code == 0
    assert "~ price h100-vllm: usd_per_hour 11.80 -> 5.90 (x0.50)" in result.stdout
    assert result.stdout.endswith("applied: configuration version 20; all 2 replicas run it after 0.012 s\n")
    _, request = router.config.requests
    assert (request.expected_config_version, request.note, request.wait_s) == (17, "black friday", 0.25)
    assert len(set(router.config.actors)) == 1
    assert "@" in router.config.actors[0]


def test_apply_says_who_does_not_run_it_yet(router: Router, prices: Path) -> None:
    """The replicas that have not followed in time are named apart; the change is made."""
    router.config.missing = [pb.ReplicaVersion(replica="r3", fleet_version=16, age_s=0.4)]

    result = router.run("apply", str(prices), "--yes")

    assert result.exit_code == 0
    assert "2 of 3 replicas run it" in result.stdout
    assert result.stderr == "not yet: r3, at version 16, last heard of 0.4 s ago; it will follow\n"


def test_apply_of_nothing_says_unchanged(router: Router, prices: Path) -> None:
    """Without a difference nobody is asked, and no version is made."""
    router.config.differences = []

    result = router.run("apply", str(prices))

    assert result.exit_code == 0
    assert result.stdout.endswith("unchanged: the configuration is so already, at version 17\n")


@pytest.mark.parametrize("arguments", [["apply", "FILE"], ["rollback", "12"]])
def test_without_a_terminal_yes_is_needed(router: Router, prices: Path, arguments: list[str]) -> None:
    """Where nobody can be asked, nothing is written without --yes: wrong usage."""
    result = router.run(*(str(prices) if part == "FILE" else part for part in arguments))

    assert result.exit_code == 2
    assert "give --yes to change the configuration; nothing was changed" in result.stderr
    assert len(router.config.requests) == 1


@pytest.mark.parametrize(("answer", "code", "said"), [("y", 0, "applied: "), ("n", 1, "nothing was changed")])
def test_on_a_terminal_it_asks(router: Router, prices: Path, answer: str, code: int, said: str) -> None:
    """The plan is shown first; only yes applies it."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "router", "admin", "apply", str(prices), "--address", router.address]
    process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    output, _ = process.communicate(timeout=30)
    os.close(ours)

    assert process.returncode == code
    assert output.index("usd_per_hour 11.80") < output.index("Apply this?") < output.index(said)
    assert len(router.config.requests) == 1 + (answer == "y")


def test_a_stale_plan_is_refused_with_the_new_version(router: Router, prices: Path) -> None:
    """ABORTED names the version that there is now, and says to plan again."""
    router.config.current = 19

    result = router.run("apply", str(prices), "--yes")

    assert result.exit_code == 1
    assert "error: STALE_VERSION: the configuration is at version 19, not at the expected 17" in result.stderr
    assert "plan again" in result.stderr
    assert "  current_version: 19\n" in result.stderr


def test_history_lists_who_changed_what(router: Router) -> None:
    """One row per change: version, time, who, from where, action, what and why."""
    result = router.run("history", "--limit", "5", "--before", "30")

    for expected in ("17", "2027-01-15 08:00:00", "ann@laptop", "ipv4:10.0.0.1:4242", "Apply", "(black friday)"):
        assert expected in result.stdout
    assert router.config.requests == [pb.ListHistoryRequest(before_version=30, limit=5)]


def test_history_of_one_version_shows_its_difference(router: Router) -> None:
    """With a version, everything that the change changed."""
    assert router.run("history", "17").stdout.splitlines() == [
        "version 17, 2027-01-15 08:00:00 UTC, Apply by ann@laptop",
        "from ipv4:10.0.0.1:4242",
        "note: black friday",
        "~ price h100-vllm: usd_per_hour 11.80 -> 5.90 (x0.50)",
        "1 changed; configuration version 17",
    ]


def test_rollback_shows_then_writes_at_the_version_of_its_plan(router: Router) -> None:
    """--plan only shows; --yes goes back, expecting what was shown."""
    shown = router.run("rollback", "12", "--plan")
    done = router.run("rollback", "12", "--yes", "--note", "too cheap")

    assert shown.stdout.endswith("1 added, 1 changed, 1 removed; configuration version 17\n")
    assert done.stdout.endswith("all 2 replicas run it after 0.012 s\n")
    first, second, third = router.config.requests
    assert first == second == pb.RollbackRequest(version=12, plan_only=True)
    assert third == pb.RollbackRequest(version=12, expected_config_version=17, note="too cheap", wait_s=5.0)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["plan", "FILE"], "differences"),
        (["apply", "FILE", "--yes"], "acknowledged"),
        (["history"], "revisions"),
        (["history", "17"], "revision"),
        (["rollback", "12", "--plan"], "differences"),
        (["rollback", "12", "--yes"], "acknowledged"),
    ],
)
def test_each_command_prints_one_json_object(router: Router, prices: Path, arguments: list[str], key: str) -> None:
    """With --json there is the answer and nothing else on stdout."""
    result = router.run(*(str(prices) if part == "FILE" else part for part in arguments), "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)[key]


def test_nobody_there_has_its_own_exit_code(prices: Path) -> None:
    """An address where nothing listens is told apart from a refusal."""
    result = CliRunner().invoke(main, ["admin", "plan", str(prices), "--address", "127.0.0.1:1"])

    assert result.exit_code == 3
    assert "UNREACHABLE" in result.stderr
