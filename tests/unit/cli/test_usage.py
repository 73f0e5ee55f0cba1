"""`admin usage` over a real gRPC connection: what is asked, and what is shown and written."""

# ruff: noqa: N802 - gRPC names its methods
from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result
from google.protobuf.timestamp_pb2 import Timestamp

from router.api.rescue import rescue, to_grpc_status
from router.cli.admin_usage import usage as command
from router.cli.usage_lines import parse_time
from router.errors import StoreUnavailable
from router.v1 import usage_pb2 as pb
from router.v1.usage_pb2_grpc import UsageServiceServicer, add_UsageServiceServicer_to_server

NOON = int(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp())
COUNTS = "requests,attempts,failed_attempts,input_tokens,cached_input_tokens,output_tokens,reasoning_tokens"


def row(hour: int, tenant: str, backend: str, cost: int, requests: int = 1) -> pb.UsageRow:
    return pb.UsageRow(
        hour=Timestamp(seconds=NOON + hour * 3600),
        tenant=tenant,
        model="llama",
        backend=backend,
        requests=requests,
        attempts=requests + 1,
        failed_attempts=1,
        input_tokens=1000,
        cached_input_tokens=100,
        output_tokens=50,
        reasoning_tokens=5,
        cost_nano_usd=cost,
        energy_j=1.5,
    )


ROWS = [
    row(0, "acme", "h100", 1),
    row(0, "acme", "tpu", 2_000_000_001),
    row(0, "zoo, ltd", "h100", 10**17 + 1),
    row(12, "acme", "h100", 3),
]


@dataclass
class Usage(UsageServiceServicer):
    """Two pages of rows, then the error if there is one."""

    requests: list[pb.ListUsageRequest] = field(default_factory=list)
    error: Exception | None = None
    address: str = ""

    def ListUsage(self, request: pb.ListUsageRequest, context: grpc.ServicerContext) -> Iterator[pb.ListUsageResponse]:
        self.requests.append(request)
        yield pb.ListUsageResponse(rows=ROWS[:3])
        if self.error is not None:
            status = to_grpc_status(self.error, "req-1")
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            context.abort(rescue(self.error).grpc, status.message)
        yield pb.ListUsageResponse(rows=ROWS[3:])

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(command, [*arguments, "--address", self.address])


@pytest.fixture
def usage() -> Iterator[Usage]:
    service = Usage()
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    add_UsageServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]  # generated
    service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield service
    server.stop(None).wait()


def test_a_table_has_each_row_and_the_total(usage: Usage) -> None:
    """One line for each hour, tenant, model and backend, and their sum; money with six decimals."""
    result = usage.run()

    assert result.exit_code == 0, result.output
    lines = [line for line in result.stdout.splitlines() if "llama" in line or "total" in line]
    assert len(lines) == 5
    assert all(word in lines[1] for word in ("2026-11-23T12:00:00Z", "acme", "tpu", "2.000000"))
    assert all(word in lines[4] for word in ("total", "4,000", "100,000,002.000000"))


def test_what_is_asked_for_reaches_the_router(usage: Usage) -> None:
    """Times are UTC unless they say otherwise; filters go along."""
    result = usage.run(
        "--from", "2026-11-23", "--to", "2026-11-23T14:00+02:00", "--tenant", "t", "--model", "m", "--backend", "b"
    )

    assert result.exit_code == 0, result.output
    (request,) = usage.requests
    assert getattr(request, "from").seconds == NOON - 12 * 3600
    assert request.to.seconds == NOON
    assert (request.tenant, request.model, request.backend) == ("t", "m", "b")


def test_without_a_range_the_router_chooses_it(usage: Usage) -> None:
    """Neither end is sent."""
    usage.run()

    (request,) = usage.requests
    assert not request.HasField("from")
    assert not request.HasField("to")


def test_csv_has_exact_dollars(usage: Usage) -> None:
    """Every nano-dollar of a hundred million dollars is there, and a name with a comma is quoted."""
    result = usage.run("--csv", "-")

    assert result.exit_code == 0, result.output
    lines = list(csv.reader(io.StringIO(result.stdout)))
    assert ",".join(lines[0]) == f"hour,tenant,model,backend,{COUNTS},cost_usd,energy_j"
    assert lines[1][:4] == ["2026-11-23T12:00:00Z", "acme", "llama", "h100"]
    assert lines[1][4:] == ["1", "2", "1", "1000", "100", "50", "5", "0.000000001", "1.500"]
    assert [line[-2] for line in lines[2:]] == ["2.000000001", "100000000.000000001", "0.000000003"]
    assert lines[3][1] == "zoo, ltd"


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        (("day",), [["2026-11-23", "3"], ["2026-11-24", "1"]]),
        (("tenant",), [["acme", "3"], ["zoo, ltd", "1"]]),
        (("backend", "tenant"), [["h100", "acme", "2"], ["h100", "zoo, ltd", "1"], ["tpu", "acme", "1"]]),
        (("model", "model"), [["llama", "4"]]),
    ],
)
def test_rows_are_summed_by_what_is_asked(by: tuple[str, ...], groups: list[list[str]], usage: Usage) -> None:
    """Each `--by` is a column, in the order given; requests are added up."""
    result = usage.run("--csv", "-", *(part for name in by for part in ("--by", name)))

    lines = list(csv.reader(io.StringIO(result.stdout)))
    assert [line[: len(groups[0])] for line in lines[1:]] == groups


def test_json_has_rows_and_total(usage: Usage) -> None:
    """Dollars are strings, which a reader does not round."""
    shown = json.loads(usage.run("--json", "--by", "tenant").stdout)

    assert [(r["tenant"], r["cost_usd"]) for r in shown["rows"]] == [
        ("acme", "2.000000005"),
        ("zoo, ltd", "100000000.000000001"),
    ]
    assert shown["total"]["cost_usd"] == "100000002.000000006"
    assert shown["total"]["energy_j"] == 6.0


def test_parquet_is_typed(usage: Usage, tmp_path: Path) -> None:
    """UTC timestamps, unsigned counts, decimal dollars: as pyarrow reads them back."""
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "usage.parquet"
    result = usage.run("--parquet", str(path))

    assert result.exit_code == 0, result.output
    table: Any = parquet.read_table(path)
    types = {name: str(table.schema.field(name).type) for name in table.column_names}
    assert types["hour"] == "timestamp[ms, tz=UTC]"
    assert types["tenant"] == "string"
    assert types["requests"] == types["output_tokens"] == "uint64"
    assert types["cost_usd"] == "decimal128(18, 9)"
    assert table.column("hour").to_pylist()[0] == datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert table.column("cost_usd").to_pylist() == [
        Decimal("0.000000001"), Decimal("2.000000001"), Decimal("100000000.000000001"), Decimal("0.000000003"),
    ]  # fmt: skip


def test_parquet_by_day_has_dates(usage: Usage, tmp_path: Path) -> None:
    """A day is a date."""
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "usage.parquet"
    usage.run("--parquet", str(path), "--by", "day")

    table: Any = parquet.read_table(path)
    assert table.column("day").to_pylist() == [date(2026, 11, 23), date(2026, 11, 24)]


def test_an_export_that_fails_leaves_the_old_file(usage: Usage, tmp_path: Path) -> None:
    """The store goes away in the middle: the reason is shown, and what was there stays as it was."""
    usage.error = StoreUnavailable("the store is away")
    path = tmp_path / "usage.csv"
    path.write_text("old")
    result = usage.run("--csv", str(path))

    assert result.exit_code == 1
    assert "STORE_UNAVAILABLE" in result.stderr
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["usage.csv"]


def test_a_file_that_cannot_be_written_is_named(usage: Usage, tmp_path: Path) -> None:
    """No directory: one line, no traceback."""
    result = usage.run("--csv", str(tmp_path / "none" / "usage.csv"))

    assert result.exit_code == 1
    assert "usage.csv cannot be written" in result.stderr


def test_only_one_form_at_a_time(usage: Usage, tmp_path: Path) -> None:
    """CSV and JSON together are a mistake, found before anything is asked."""
    result = usage.run("--csv", str(tmp_path / "x"), "--json")

    assert result.exit_code == 2
    assert not usage.requests


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-23", datetime(2026, 11, 23, tzinfo=UTC)),
        ("2026-11-23T14:30", datetime(2026, 11, 23, 14, 30, tzinfo=UTC)),
        ("2026-11-23T14:30+02:00", datetime(2026, 11, 23, 12, 30, tzinfo=UTC)),
        ("24h", datetime(2026, 11, 22, 12, tzinfo=UTC)),
        ("7d", datetime(2026, 11, 16, 12, tzinfo=UTC)),
    ],
)
def test_times_are_dates_or_how_long_ago(text: str, at: datetime) -> None:
    """ISO dates and times, in UTC unless they say otherwise, and spans back from now."""
    assert parse_time(text, NOON) == at


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "d", "-1d"])
def test_other_times_are_refused(text: str, usage: Usage) -> None:
    """The message shows how a time is written, and nothing is asked."""
    result = usage.run("--from", text)

    assert result.exit_code == 2
    assert "2026-11-23T14:00" in result.stderr
    assert not usage.requests


def test_parquet_without_its_package_says_what_to_do(
    usage: Usage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where pyarrow is not installed the remedy is named before anything is asked."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = usage.run("--parquet", str(tmp_path / "usage.parquet"))

    assert result.exit_code == 1
    assert "pip install 'inference-router[export]'" in result.stderr
    assert not usage.requests
