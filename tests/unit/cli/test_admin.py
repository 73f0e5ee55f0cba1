"""`admin` over a real gRPC connection: what is sent, which version it expects, what is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from router.v1 import admin_pb2, common_pb2

ONE = """\
id: mine
wire: openai_chat
profile: vllm
address: http://127.0.0.1:${PORT_OF_MINE:-8000}
hardware: h100-sxm-80
hardware_count: 2
privacy: own_hardware
capabilities: [tools]
max_concurrency: 16
requests_per_minute: 60
network_rtt_s: 2 ms
credential: env:MY_KEY
labels: {team: a}
options: {api_version: 2024-10-21, strict: true}
models: [{model: llama-3.1-8b, bytes_per_weight: 2}]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(ONE, encoding="utf-8")
    return path


def test_list_shows_state_and_says_what_is_emulated(admin_router: Any) -> None:
    """One row per backend, with health, load and hardware."""
    words = admin_router.run("admin", "backends", "list").stdout
    listed = json.loads(admin_router.run("admin", "backends", "list", "--json").stdout)

    for expected in ("h100", "healthy", "3/8", "(emulated)", "own_hardware"):
        assert expected in words
    assert listed["fleet_version"] == "20"
    assert listed["backends"][0]["version"] == "7"


def test_get_shows_what_is_unknown_as_unknown(admin_router: Any) -> None:
    """A gauge that the engine does not report is unknown, never zero; a name in brackets is shown as it is."""
    words = admin_router.run("admin", "backends", "get", "h100").stdout

    assert "unknown / unknown" in words
    assert "llama-3.1-8b (as meta [8b])" in words


def test_a_missing_backend_is_an_error_with_a_hint(admin_router: Any) -> None:
    """NOT_FOUND names what was asked for."""
    result = admin_router.run("admin", "backends", "get", "nope")

    assert result.exit_code == 1
    assert result.stderr == ("error: NOT_FOUND: no backend is called 'nope'\n  hint: List what exists first.\n")


def test_register_sends_the_file_as_a_new_backend(admin_router: Any, admin: Any, file: Path) -> None:
    """Every key of the file is in the spec, in base units, and the expected version is that of a new backend."""
    result = admin_router.run("admin", "backends", "register", str(file))

    assert result.stdout == "registered mine, version 1; fleet version 21\n"
    (request,) = admin.requests
    assert request.expected_version == 0
    assert request.spec == admin_pb2.BackendSpec(
        id="mine",
        wire="openai_chat",
        profile="vllm",
        address="http://127.0.0.1:8000",
        models=[admin_pb2.ServedModel(model="llama-3.1-8b", bytes_per_weight=2.0)],
        hardware=common_pb2.Hardware(id="h100-sxm-80", count=2),
        privacy=common_pb2.PRIVACY_LEVEL_OWN_HARDWARE,
        capabilities=[common_pb2.CAPABILITY_TOOLS],
        max_concurrency=16,
        limits=admin_pb2.RateLimits(requests_per_minute=60),
        credential="env:MY_KEY",
        labels={"team": "a"},
        options={"api_version": "2024-10-21", "strict": "true"},
        network_rtt_s=0.002,
    )


def test_register_takes_a_section_of_a_fleet_file(admin_router: Any, admin: Any, tmp_path: Path) -> None:
    """A file like fleet.yaml registers each of its backends."""
    entry = "{wire: w, address: 'http://h', models: [{model: m}]}"
    path = tmp_path / "two.yaml"
    path.write_text(f"backends:\n  a: {entry}\n  b: {entry}\n", encoding="utf-8")

    admin_router.run("admin", "backends", "register", str(path))

    assert [request.spec.id for request in admin.requests] == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("wire: openai_chat", "wyre: openai_chat"), "mine.yaml: wyre: unknown key (did you mean 'wire'?)"),
        (("id: mine\n", ""), "mine.yaml: id: required, and missing"),
        (("2 ms", "2 m"), "mine.yaml: network_rtt_s: wrong unit 'm': expected seconds, such as '250 ms'"),
        (("env:MY_KEY", "sk-hunter2"), "mine.yaml: credential: looks like the secret itself"),
        (("labels: {team: a}", "drained: true"), "mine.yaml: drained: not part of a registration"),
        (("${PORT_OF_MINE:-8000}", "${PORT_OF_MINE}"), "mine.yaml: address: environment variable PORT_OF_MINE is not"),
        ((ONE, "backends: {}"), "mine.yaml: names no backend"),
    ],
)
def test_a_bad_file_is_not_sent(admin_router: Any, admin: Any, file: Path, change: tuple[str, str], line: str) -> None:
    """A mistake in the file is reported by key, and nothing is sent."""
    file.write_text(ONE.replace(*change), encoding="utf-8")

    result = admin_router.run("admin", "backends", "register", str(file))

    assert result.exit_code == 1
    assert line in result.stderr
    assert "hunter2" not in result.output
    assert admin.requests == []


@pytest.mark.parametrize("command", ["remove", "drain", "undrain"])
def test_a_write_expects_the_current_version_and_says_so(admin_router: Any, admin: Any, command: str) -> None:
    """Without --expected-version the current one is read first and named."""
    result = admin_router.run("admin", "backends", command, "h100")

    assert result.exit_code == 0
    assert result.stderr == "h100: expecting its current version, 7\n"
    assert admin.requests[0].expected_version == 7


@pytest.mark.parametrize("command", ["remove", "drain", "undrain"])
def test_a_stale_version_is_refused(admin_router: Any, command: str) -> None:
    """With --expected-version nothing is read first, and a stale one shows the current version."""
    result = admin_router.run("admin", "backends", command, "h100", "--expected-version", "6")

    assert result.exit_code == 1
    assert "error: STALE_VERSION: it is at version 7, not at the expected 6\n" in result.stderr
    assert "  current_version: 7\n" in result.stderr


def test_update_replaces_the_backend(admin_router: Any, admin: Any, file: Path) -> None:
    """Update sends the whole backend with the version that it has."""
    file.write_text(ONE.replace("id: mine", "id: h100"), encoding="utf-8")

    result = admin_router.run("admin", "backends", "update", str(file), "--json")

    assert admin.requests[0].expected_version == 7
    assert json.loads(result.stdout)["fleet_version"] == "21"


def test_a_price_is_changed_in_part(admin_router: Any, admin: Any) -> None:
    """What is not given stays as it was; the source says that an admin set it."""
    old = admin_pb2.Price(backend="groq", model="m", input_usd_per_mtok=0.5, output_usd_per_mtok=0.8, source="vendor")
    admin.prices = [admin_pb2.PriceEntry(price=old, version=3, in_force=True)]

    result = admin_router.run("admin", "prices", "set", "groq", "--model", "m", "--output", "0.9 USD/Mtok")

    assert result.exit_code == 0
    assert result.stderr == "groq: expecting the price's current version, 3\n"
    (request,) = admin.requests
    assert request.expected_version == 3
    assert request.price == admin_pb2.Price(
        backend="groq", model="m", input_usd_per_mtok=0.5, output_usd_per_mtok=0.9, source="admin"
    )


def test_a_price_is_replaced_whole(admin_router: Any, admin: Any) -> None:
    """With --replace only what is given remains."""
    old = admin_pb2.Price(backend="groq", input_usd_per_mtok=0.5, output_usd_per_mtok=0.8)
    admin.prices = [admin_pb2.PriceEntry(price=old, version=3, in_force=True)]

    admin_router.run("admin", "prices", "set", "groq", "--per-hour", "2", "--source", "contract", "--replace")

    assert admin.requests[0].price == admin_pb2.Price(backend="groq", usd_per_hour=2.0, source="contract")


@pytest.mark.parametrize("arguments", [[], ["--output", "1 EUR/Mtok"], ["--per-hour", "-1"]])
def test_a_price_that_is_none_is_wrong_usage(admin_router: Any, admin: Any, arguments: list[str]) -> None:
    """No amount, another currency and a negative amount are refused before anything is sent."""
    assert admin_router.run("admin", "prices", "set", "groq", *arguments).exit_code == 2
    assert admin.requests == []


def test_prices_are_listed_with_their_source(admin_router: Any, admin: Any) -> None:
    """What is not charged this way is a dash, never a zero."""
    price = admin_pb2.Price(backend="groq", output_usd_per_mtok=0.8, source="vendor: list")
    admin.prices = [admin_pb2.PriceEntry(price=price, version=3)]

    words = admin_router.run("admin", "prices", "list").stdout

    for expected in ("groq", "(all)", "0.8", "-", "vendor: list"):
        assert expected in words


def test_a_listed_price_shows_what_is_charged_now_and_what_is_wrong(admin_router: Any, admin: Any) -> None:
    """The schedule is applied; source, age, staleness and a doubted quote are in the row."""
    window = admin_pb2.PriceWindow(start_minute=1080, end_minute=480, factor=0.5, days=[0, 4], zone="Europe/Berlin")
    price = admin_pb2.Price(backend="h100", usd_per_hour=12.0, elastic_fraction=0.1, spot=True, schedule=[window])
    price.expires_at.FromSeconds(1_800_000_000)
    admin.prices = [
        admin_pb2.PriceEntry(
            price=price,
            version=3,
            source_kind=admin_pb2.PRICE_SOURCE_FEED,
            feed="night",
            in_force=True,
            factor_now=0.5,
            age_s=7_200.0,
            stale=True,
            held="JUMP: 900 against 12",
        )
    ]

    result = admin_router.run("admin", "prices", "list", "--all")

    words = " ".join(result.stdout.replace("│", " ").split())
    for expected in ("$6/h", "(x0.5", "spot", "now,", "STALE", "HELD", "JUMP:", "feed night", "2 h", "2027-01-15"):
        assert expected in words


def test_a_price_is_planned_with_its_times(admin_router: Any, admin: Any) -> None:
    """Beginning, end, schedule and spot travel with the price; what held before gives the rest."""
    old = admin_pb2.Price(backend="h100", usd_per_hour=12.0, elastic_fraction=0.1)
    old.expires_at.FromSeconds(5)
    admin.prices = [admin_pb2.PriceEntry(price=old, version=3, in_force=True)]

    admin_router.run(
        *("admin", "prices", "set", "h100", "--per-hour", "9", "--effective", "2026-12-01", "--spot"),
        *("--expires", "2026-12-02T06:00:00+01:00", "--schedule", "mon-tue 18:00-08:00 Europe/Berlin x0.5"),
    )

    expected = admin_pb2.Price(backend="h100", usd_per_hour=9.0, elastic_fraction=0.1, source="admin", spot=True)
    expected.effective_at.FromSeconds(1_796_083_200)
    expected.expires_at.FromSeconds(1_796_187_600)
    expected.schedule.add(start_minute=1080, end_minute=480, factor=0.5, days=[0, 1], zone="Europe/Berlin")
    assert admin.requests[0].price == expected


@pytest.mark.parametrize(("extra", "sent"), [([], 0), (["--yes"], 1)])
def test_a_price_that_jumps_is_asked_about(admin_router: Any, admin: Any, extra: list[str], sent: int) -> None:
    """More than a hundred times as much is not sent without a yes."""
    old = admin_pb2.Price(backend="h100", usd_per_hour=1.0)
    admin.prices = [admin_pb2.PriceEntry(price=old, version=3, in_force=True)]

    result = admin_router.run("admin", "prices", "set", "h100", "--per-hour", "1000", *extra)

    assert len(admin.requests) == sent
    assert ("usd_per_hour goes from 1 to 1000" in result.stderr) is not bool(sent)


@pytest.mark.parametrize(
    "arguments",
    [["--effective", "soon"], ["--expires", "+2 parsecs"], ["--schedule", "18-08 x2"], ["--schedule", "mon 1:00"]],
)
def test_a_time_that_is_none_is_wrong_usage(admin_router: Any, admin: Any, arguments: list[str]) -> None:
    """Times and windows that nobody can read are refused before anything is sent."""
    assert admin_router.run("admin", "prices", "set", "h100", "--per-hour", "1", *arguments).exit_code == 2
    assert admin.requests == []


def test_a_price_is_cleared(admin_router: Any, admin: Any) -> None:
    """What was set by hand is taken back at the version that is there, and what holds now is said."""
    old = admin_pb2.Price(backend="groq", model="m", usd_per_hour=1.0)
    admin.prices = [admin_pb2.PriceEntry(price=old, version=3, in_force=True)]

    result = admin_router.run("admin", "prices", "clear", "groq", "--model", "m")

    assert result.stdout == "price of groq m cleared; it is now $1/h; fleet version 21\n"
    assert admin.requests[0].expected_version == 3


def test_policies_round_trip(admin_router: Any, admin: Any, tmp_path: Path) -> None:
    """What `get` prints, `set` takes; the version is apart on stderr."""
    got = admin_router.run("admin", "policies", "get")
    path = tmp_path / "policies.yaml"
    path.write_text(got.stdout, encoding="utf-8")

    result = admin_router.run("admin", "policies", "set", str(path))

    assert got.stdout == "classes: {interactive: {}}\n"
    assert got.stderr == "version 4\n"
    assert result.stdout == "policies set, version 5; fleet version 21\n"
    assert admin.requests[0].yaml == got.stdout
    assert admin.requests[0].expected_version == 4


def test_policies_may_be_checked_only(admin_router: Any, admin: Any, tmp_path: Path) -> None:
    """--validate-only asks the router to write nothing."""
    path = tmp_path / "p.yaml"
    path.write_text("classes: {interactive: {}}\n", encoding="utf-8")

    result = admin_router.run("admin", "policies", "set", str(path), "--validate-only")

    assert result.stdout == "p.yaml: valid; nothing was changed\n"
    assert admin.requests[0].validate_only


def test_bad_policies_are_not_sent(admin_router: Any, admin: Any, tmp_path: Path) -> None:
    """A mistake in the file is reported by key, and nothing is sent."""
    path = tmp_path / "p.yaml"
    path.write_text("classes: {interactive: {usd_per_ms: 1}}\n", encoding="utf-8")

    result = admin_router.run("admin", "policies", "set", str(path))

    assert result.exit_code == 1
    assert "p.yaml: classes.interactive.usd_per_ms: unknown key" in result.stderr
    assert admin.requests == []


def test_watch_prints_each_change(admin_router: Any, admin: Any) -> None:
    """One line per change, or one JSON object."""
    admin.changes = [
        admin_pb2.WatchChangesResponse(
            fleet_version=9,
            kind="backend",
            id="h100",
            operation="set",
            version=7,
            changed_at=Timestamp(seconds=3_661),
            actor="me",
        ),
        admin_pb2.WatchChangesResponse(fleet_version=10, kind="policies", operation="set", version=5),
    ]

    result = admin_router.run("admin", "watch", "--after", "8")
    first = json.loads(admin_router.run("admin", "watch", "--limit", "1", "--json").stdout)

    assert result.stdout.splitlines() == [
        "9 01:01:01.000 backend h100 set (version 7) by me",
        "10 - policies set (version 5)",
    ]
    assert admin.requests[0].after_version == 8
    assert first["fleet_version"] == "9"
