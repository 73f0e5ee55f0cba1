"""Anybody's table of TPOT is read, its bad rows are named, and errors are those of the router's own belief."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.domain.catalogue import Catalogue
from simulation.fit.figures import catalogue
from simulation.measured.row import NoTable
from simulation.validate.__main__ import main
from simulation.validate.anytable import Table, read
from simulation.validate.columns import find
from simulation.validate.streams import misses, score

PLAIN = """accelerator,count,model,batch,context,tpot_ms
h100,1,llama-3.1-8b,8,500,7.3
h100,1,llama-3.1-8b,64,500,11.5
h100,1,llama-3.1-8b,128,500,16.5
h100,1,llama-3.1-8b,255,500,26.1
mi300x,2,Llama-3.1-70B,8,500,30
mi300x,2,Llama-3.1-70B,64,500,40
"""


@pytest.fixture(scope="module")
def known() -> Catalogue:
    """The shipped accelerators and models."""
    return catalogue()


def table(text: str, known: Catalogue, tmp_path: Path) -> Table:
    """A file with that text, as it is read."""
    path = tmp_path / "tpot.csv"
    path.write_text(text, encoding="utf-8")
    return read(path, known)


@pytest.mark.parametrize(
    "header",
    [
        "gpu_model,num_gpus,model_id,avg_batch_size,avg_output_len,median_itl_ms",
        "Hardware,TP,Model,Concurrency,ISL,OSL,TPOT (s)",
        "gpu,n_acc,model,max_num_seqs,input_len,output_len,tpot",
        "hw,tp,model,conc,isl,osl,median_tpot_s,framework,precision",
        "accelerator,count,model,batch_size,ctx,itl_ms,weights_dtype",
    ],
)
def test_columns_are_known_by_their_usual_names(header: str) -> None:
    """With the unit where the name says it."""
    columns = find(header.split(","))

    assert {"accelerator", "model", "batch", "tpot"} <= columns.at.keys()
    assert {"count", "tensor_parallel"} & columns.at.keys()


def test_units_are_as_the_header_says_or_inferred_and_said(known: Catalogue, tmp_path: Path) -> None:
    """Milliseconds and seconds come to the same."""
    ms = table(PLAIN, known, tmp_path)
    bare = table(PLAIN.replace("tpot_ms", "tpot"), known, tmp_path)
    rows = [line.split(",") for line in PLAIN.splitlines()[1:]]
    seconds = "\n".join(",".join([*row[:-1], str(float(row[-1]) / 1e3)]) for row in rows)
    s = table(PLAIN.splitlines()[0].replace("tpot_ms", "tpot (s)") + "\n" + seconds, known, tmp_path)

    assert [point.row.tpot_s for point in ms.points] == [point.row.tpot_s for point in bare.points]
    assert [point.row.tpot_s for point in s.points] == pytest.approx([point.row.tpot_s for point in ms.points])
    assert any("says no unit: read as ms" in said for said in bare.said)
    assert not any("says no unit" in said for said in ms.said)


def test_bad_rows_are_named_with_their_line_and_reason(known: Catalogue, tmp_path: Path) -> None:
    """None is dropped in silence."""
    found = table(
        PLAIN + "foo,1,llama-3.1-8b,8,500,7\nh100,1,nameless,8,500,7\nh100,1,llama-3.1-8b,8,500,fast\n"
        "h100,1,llama-3.1-8b,0,500,7\nh100,1,llama-3.1-8b,8,500,\n",
        known,
        tmp_path,
    )

    assert len(found.points) == 6
    assert [line for line, _ in found.unusable] == [8, 9, 10, 11, 12]
    for reason, (_, said) in zip(("foo", "nameless", "fast", "batch", "empty"), found.unusable, strict=True):
        assert reason in said


def test_a_missing_column_is_named(known: Catalogue, tmp_path: Path) -> None:
    """With what it may be called, and what there is."""
    with pytest.raises(NoTable, match=r"no column for 'batch'.*concurrency.*columns are: gpu, model, tpot"):
        table("gpu,model,tpot\nh100,llama-3.1-8b,7\n", known, tmp_path)
    with pytest.raises(NoTable, match="empty"):
        table("", known, tmp_path)


def test_replicas_side_by_side_share_the_load(known: Catalogue, tmp_path: Path) -> None:
    """Eight devices as four replicas of two with 64 requests: two devices with 16."""
    found = table("gpu,num_gpus,tp,dp,model,batch,itl_ms\nh100,8,2,4,llama-3.1-70b,64,30\n", known, tmp_path)

    assert (found.points[0].row.count, found.points[0].row.batch) == (2, 16.0)


def test_what_a_file_lacks_may_be_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table of one server says neither its accelerator nor its model in every row."""
    path = tmp_path / "gaudi3.csv"
    path.write_text("concurrency,isl,osl,tpot_ms\n1,1024,1024,52.9\n128,1024,1024,160\n", encoding="utf-8")
    given = ["--given", "accelerator=gaudi3", "--given", "count=8", "--given", "model=GLM-4.7"]

    assert main(["--tpot", str(path), *given]) == 0
    assert "gaudi3 x glm-4.7" in capsys.readouterr().out
    assert main(["--tpot", str(path)]) == 2
    assert main(["--tpot", str(path), "--given", "colour=red"]) == 2
    assert "no such quantity" in capsys.readouterr().err


def test_drafts_are_taken_into_account(known: Catalogue, tmp_path: Path) -> None:
    """Where a table says that there are any, by name or by number."""
    text = "hw,tp,model,conc,tpot_ms,{}\nh200,8,dsr1,4,9,{}\n"
    plain, named, numbered = (
        table(text.format(*column), known, tmp_path).points[0].prior_s
        for column in (("spec_decoding", "none"), ("spec_decoding", "mtp"), ("draft_tokens", "3"))
    )

    assert named == numbered < 0.7 * plain


def test_a_guessed_model_is_said(known: Catalogue, tmp_path: Path) -> None:
    """It has a forecast all the same."""
    found = table("gpu,count,model,batch,tpot_ms\nh100,4,Foo-70B-A12B-FP8,8,20\n", known, tmp_path)

    assert found.points[0].prior_s > 0.0
    assert any("Foo-70B-A12B-FP8" in said for said in found.said)


def test_prefills_of_others_count_where_tpot_is_over_whole_answers(known: Catalogue, tmp_path: Path) -> None:
    """A median time between tokens is of one step."""
    text = "gpu,count,model,batch,isl,osl,{}\nh100,1,llama-3.1-8b,64,4000,200,20\n"
    whole = table(text.format("tpot_ms"), known, tmp_path)
    step = table(text.format("median_itl_ms"), known, tmp_path)

    assert whole.points[0].prior_s > 1.2 * step.points[0].prior_s


def test_observations_make_forecasts_better(known: Catalogue, tmp_path: Path) -> None:
    """A backend that is twice as slow as its prior is known after four answers."""
    lines = [f"h100,1,llama-3.1-8b,{8 * n},500,{12 + 1.2 * n}" for n in range(1, 20)]
    points = table(PLAIN.splitlines()[0] + "\n" + "\n".join(lines), known, tmp_path).points
    before, later = score(misses(points, 0)), score(misses(points, 4, seeds=range(5)))

    assert before is not None
    assert later is not None
    assert later.mean_error < 0.5 * before.mean_error


def test_shuffles_are_the_same_each_time(known: Catalogue, tmp_path: Path) -> None:
    """By their seeds."""
    points = table(PLAIN, known, tmp_path).points

    assert score(misses(points, 1, seeds=(1, 2))) == score(misses(points, 1, seeds=(1, 2)))


def test_the_program_prints_groups_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each accelerator with each model, and all of them; status 0."""
    path = tmp_path / "tpot.csv"
    path.write_text(PLAIN, encoding="utf-8")

    assert main(["--tpot", str(path)]) == 0
    out = capsys.readouterr().out
    assert "6 rows used, 0 not" in out
    assert "mi300x x llama-3.1-70b" in out
    assert main(["--tpot", "tpot.csv", "--data", str(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {row["observations"] for row in document["groups"]["all"]} >= {0, 1}
    assert document["groups"]["all"][0]["n"] == 6


def test_the_status_says_what_went_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """2 for a file that cannot be read, 1 when no row of it could be used."""
    path = tmp_path / "tpot.csv"
    path.write_text("gpu,count,model,batch,tpot_ms\nfoo,1,bar,1,1\n", encoding="utf-8")

    assert main(["--tpot", str(tmp_path / "none.csv")]) == 2
    assert main(["--tpot", str(path)]) == 1
    assert "unknown accelerator 'foo'" in capsys.readouterr().out
