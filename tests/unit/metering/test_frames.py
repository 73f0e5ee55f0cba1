"""Frames of the usage journal: what is whole is read, whatever is around it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.metering.frames import MAGIC, Row, pack, unpack

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.just(MAGIC.decode())
NUMBERS = st.integers(0, 2**63 - 1)
ROWS: st.SearchStrategy[Row] = st.tuples(NUMBERS, NAMES, NAMES, NAMES, NAMES, *[NUMBERS] * 9)
FRAMES = st.lists(st.lists(ROWS, min_size=1, max_size=2), max_size=4)


@given(FRAMES)
def test_what_is_packed_is_unpacked(frames: list[list[Row]]) -> None:
    """Frames one after the other come out as they went in."""
    assert list(unpack(b"".join(map(pack, frames)))) == frames


@given(FRAMES, st.data())
def test_a_file_cut_anywhere_gives_all_frames_before_the_cut(frames: list[list[Row]], data: st.DataObject) -> None:
    """A torn tail costs the frame that it tears and nothing else."""
    packed = [pack(frame) for frame in frames]
    whole = b"".join(packed)
    cut = data.draw(st.integers(0, len(whole)))
    left, fits = cut, 0
    for part in packed:
        if left < len(part):
            break
        left -= len(part)
        fits += 1

    assert list(unpack(whole[:cut])) == frames[:fits]


@given(FRAMES, st.binary(max_size=40), FRAMES)
def test_damage_between_frames_is_skipped(before: list[list[Row]], damage: bytes, after: list[list[Row]]) -> None:
    """Bytes that are no frame, as holes after a loss of power are, hide none of the frames behind them."""
    data = b"".join([*map(pack, before), b"\0" * 7, damage, *map(pack, after)])

    assert list(unpack(data)) == before + after


@given(st.binary(max_size=200))
def test_noise_is_nothing(data: bytes) -> None:
    """Any bytes can be read; without the mark of a frame there is nothing in them."""
    found = list(unpack(data))

    assert not found or MAGIC in data
