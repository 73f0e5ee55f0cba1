"""Tables as people export them: separators, encodings, decimal marks, units in cells, and what has to be assumed."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.domain.catalogue import Catalogue
from simulation.fit.figures import catalogue
from simulation.measured.accelerators import accelerator
from simulation.validate.__main__ import main
from simulation.validate.anytable import Table, read
from simulation.validate.cells import number

HEADER = "hw,tp,model,conc,isl,osl,tpot_ms"
PLAIN = f"""{HEADER}
h200,8,llama70b,4,1024,1024,9.5
h200,8,llama70b,64,1024,1024,17.25
"""


@pytest.fixture(scope="module")
def known() -> Catalogue:
    """The shipped accelerators and models."""
    return catalogue()


def table(text: str | bytes, known: Catalogue, tmp_path: Path) -> Table:
    """A file with that text, as it is read."""
    path = tmp_path / "tpot.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path, known)


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        PLAIN.replace(",", ";").replace(".", ","),
        PLAIN.replace("\n", "\r\n"),
        "# made by hand, in a hurry\n\n" + PLAIN,
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        PLAIN.replace("9.5", "9.5 ms").replace("17.25", "0.01725 s"),
        PLAIN.replace("1024", '"1,024"'),
        PLAIN.replace("1024", "1k"),
    ],
)
def test_a_table_means_the_same_however_it_is_written(text: str | bytes, known: Catalogue, tmp_path: Path) -> None:
    """Separators, encodings, decimal commas, separated thousands, units in cells."""
    plain, found = table(PLAIN, known, tmp_path).points, table(text, known, tmp_path).points

    assert [point.row.tpot_s for point in found] == pytest.approx([point.row.tpot_s for point in plain])
    assert [point.prior_s for point in found] == [point.prior_s for point in plain]


@pytest.mark.parametrize(
    ("text", "decimal_comma", "value"),
    [
        ("1,024", False, 1024.0),
        ("1,5", False, None),
        ("1,5", True, 1.5),
        ("0,012", True, 0.012),
        ("2.000", True, 2000.0),
        ("1 024", False, 1024.0),
        ("-3", False, -3.0),
        ("1e400", False, None),
        ("50%", False, None),
        ("nan", False, None),
        (".5", False, 0.5),
    ],
)
def test_a_number_is_never_another(text: str, decimal_comma: bool, value: float | None) -> None:  # noqa: FBT001 - of pytest
    """What is no number is refused, not read as ten times as much."""
    found = number(text, decimal_comma=decimal_comma)

    assert (found and found[0]) == value


def test_a_row_of_too_many_cells_is_not_used(known: Catalogue, tmp_path: Path) -> None:
    """A comma in a number that nobody quoted shifts all that follows."""
    found = table(PLAIN + "h200,8,llama70b,4,1,024,1024,9.5\n", known, tmp_path)

    assert [(line, "8 cells for 7 columns" in reason) for line, reason in found.unusable] == [(4, True)]


def test_of_two_columns_with_one_name_the_first_is_read_and_said(known: Catalogue, tmp_path: Path) -> None:
    """Not the last in silence."""
    found = table("gpu,count,model,batch,tpot_ms,tpot_ms\nh100,1,llama-3.1-8b,8,7.3,9999\n", known, tmp_path)

    assert found.points[0].row.tpot_s == pytest.approx(0.0073)
    assert "column 'tpot_ms' is there twice: the first is read" in found.said


def test_a_unit_that_nobody_says_is_the_one_nearest_to_the_forecast(known: Catalogue, tmp_path: Path) -> None:
    """Half a millisecond on a wafer is not half a second; and a row in another unit than the rest is named."""
    wafer = table("hw,tp,model,conc,tpot\ncerebras wse-3,4,llama-3.1-70b,1,0.48\n", known, tmp_path)
    mixed = table(PLAIN.replace("tpot_ms", "tpot") + "h200,8,llama70b,64,1024,1024,0.017\n", known, tmp_path)

    assert wafer.points[0].row.tpot_s == pytest.approx(0.00048)
    assert any("another unit perhaps: line 4" in said for said in mixed.said)


def test_rows_of_prefill_are_not_of_decoding(known: Catalogue, tmp_path: Path) -> None:
    """Tables of llama.cpp have both."""
    text = "device,phase,model,batch,tok_per_s\nM4 16GB,{},llama3-8b-q4_k_m,1,20.9\n"

    assert len(table(text.format("generate"), known, tmp_path).points) == 1
    assert table(text.format("prompt"), known, tmp_path).unusable == [
        (2, "column 'phase' is 'prompt': not of decoding")
    ]


def test_a_quantisation_of_gguf_is_llama_cpp(known: Catalogue, tmp_path: Path) -> None:
    """Which gains no speed from more devices; said, as the table does not name an engine."""
    text = "device,model,batch,tok_per_s\n4090 24GB,{0},1,120\n4090 24GB * 4,{0},1,117\n"
    quantised = table(text.format("llama3-8b-q4_k_m"), known, tmp_path)
    plain = table(text.format("llama3-8b"), known, tmp_path)

    assert quantised.points[0].prior_s == quantised.points[1].prior_s
    assert plain.points[0].prior_s > 1.5 * plain.points[1].prior_s
    assert any("GGUF" in said for said in quantised.said)


def test_a_rate_is_of_one_user_or_of_all(known: Catalogue, tmp_path: Path) -> None:
    """Whichever it can be."""
    text = "gpu,count,model,batch,tokens_per_second\nh100,1,llama-3.1-8b,64,{}\n"
    one, every = (table(text.format(rate), known, tmp_path) for rate in (87, 87 * 64))

    assert one.points[0].row.tpot_s == pytest.approx(every.points[0].row.tpot_s) == pytest.approx(1 / 87)
    assert any("tokens of one user" in said for said in one.said)
    assert any("tokens of all users" in said for said in every.said)


@pytest.mark.parametrize(
    ("tp", "dp", "ep", "count", "batch"),
    [(4, 2, 1, 4, 32.0), (1, 8, 1, 1, 8.0), (8, 8, 8, 8, 64.0), (1, 8, 8, 8, 64.0), (1, 8, "true", 8, 64.0)],
)
def test_devices_of_copies_and_spread_experts(
    tp: int, dp: int, ep: int | str, count: int, batch: float, known: Catalogue, tmp_path: Path
) -> None:
    """Copies share the requests; copies of attention alone are on the devices of the experts."""
    found = table(f"hw,model,conc,tp,dp,ep,tpot_ms\nh200,dsr1,64,{tp},{dp},{ep},30\n", known, tmp_path).points[0].row

    assert (found.count, found.batch) == (count, batch)


def test_what_is_assumed_is_said(known: Catalogue, tmp_path: Path) -> None:
    """Count, precision, lengths, whose concurrency it is, and that nothing is said of TTFT."""
    said = " ".join(table("gpu,model,conc,tpot_ms,ttft_ms\nh100,llama-3.1-8b,8,7.3,90\n", known, tmp_path).said)

    for words in ("no number of accelerators: one", "no precision", "1000 tokens", "one replica", "not judged"):
        assert words in said


def test_numbers_that_cannot_be_are_refused(known: Catalogue, tmp_path: Path) -> None:
    """A context below nothing."""
    found = table("gpu,model,conc,context,tpot_ms\nh100,llama-3.1-8b,8,-5,7.3\n", known, tmp_path)

    assert found.unusable == [(2, "column 'context' is -5: below 0")]


@pytest.mark.parametrize(
    ("name", "known_as"),
    [
        ("M4 16GB", ("m4", None)),
        ("M1 7-Core GPU 8GB", ("m1", None)),
        ("v6e-8", ("tpu-v6e", 8)),
        ("OCI dedicated", ("hosted", None)),
        ("Azure ND H100 v5", ("h100-sxm-80", None)),
        ("m10", None),
    ],
)
def test_names_of_devices_and_hosts(name: str, known_as: tuple[str, int | None] | None) -> None:
    """With their memory, their cores, their slice."""
    assert accelerator(name) == known_as


def test_a_file_of_a_header_alone_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 1, as nothing could be used; what is no text has status 2."""
    path = tmp_path / "tpot.csv"
    path.write_text(HEADER + "\n", encoding="utf-8")
    assert main(["--tpot", str(path)]) == 1
    assert "a header and no rows" in capsys.readouterr().out
    path.write_bytes(b"\x7fELF\0\xd0\0")
    assert main(["--tpot", str(path)]) == 2
    assert "is not text" in capsys.readouterr().err
