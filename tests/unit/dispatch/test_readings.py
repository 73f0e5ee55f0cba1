"""What replicas tell each other of prompts: each thing once, lately, and no more than a bound."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from router.dispatch.readings import MAX_TOLD_BLOCKS, TOLD_S, Readings
from router.domain.replica import Beat, Replica


def beat(teller: Readings, now: float, *, started_at: float = 1.0, name: str = "other") -> Replica:
    """What the teller would say, as it comes out of the store."""
    said = Beat(replica=name, started_at=started_at, read=teller.lately(now))
    return Replica(beat=msgspec.msgpack.decode(msgspec.msgpack.encode(said), type=Beat))


@given(
    steps=st.lists(st.tuples(st.floats(0.0, 0.3), st.integers(0, 3), st.booleans(), st.booleans()), max_size=40),
)
def test_each_reading_is_heard_once_however_beats_come(steps: list[tuple[float, int, bool, bool]]) -> None:
    """Beats that come twice say nothing new; a lost one is made up for by the next within half a second."""
    teller, listener = Readings(), Readings()
    now, block, gap = 0.0, 0, 0.0
    told: list[tuple[int, ...]] = []
    heard: list[tuple[int, ...]] = []
    for later, count, lost, twice in [*steps, (0.0, 0, False, False)]:
        now += later
        gap += later
        for _ in range(count):
            block += 1
            teller.add("m", "b", (block,), now)
            told.append((block,))
        if lost and gap + 0.3 <= TOLD_S:
            continue
        for _ in range(1 + twice):
            heard += [reading.blocks for reading in listener.new_of((beat(teller, now),))]
        gap = 0.0
    assert heard == told


@given(sizes=st.lists(st.integers(1, 400), max_size=30))
def test_a_beat_holds_no_more_than_its_bound(sizes: list[int]) -> None:
    """Whatever is read, one beat names at most so many blocks, and the latest of them."""
    teller = Readings()
    for size in sizes:
        teller.add("m", "b", tuple(range(size)), 0.0)
        said = teller.lately(0.0)
        assert sum(len(reading.blocks) for reading in said) <= MAX_TOLD_BLOCKS
        assert said[-1].blocks == tuple(range(size))
    assert teller.lately(TOLD_S + 0.1) == ()


def test_a_replica_that_starts_anew_is_listened_to_from_its_beginning() -> None:
    """Its numbers begin at 1 again; who has left and comes back does too."""
    listener = Readings()
    first, again = Readings(), Readings()
    for n in range(5):
        first.add("m", "b", (n,), 0.0)
    again.add("m", "b", (99,), 0.0)
    assert len(list(listener.new_of((beat(first, 0.0),)))) == 5
    assert [reading.blocks for reading in listener.new_of((beat(again, 0.0, started_at=2.0),))] == [(99,)]
    assert list(listener.new_of(())) == []
    assert len(list(listener.new_of((beat(again, 0.0, started_at=2.0),)))) == 1


def test_a_replica_of_an_older_version_says_nothing_of_prompts() -> None:
    """A beat without the field is one that tells nothing."""
    said = msgspec.msgpack.decode(msgspec.msgpack.encode({"replica": "old"}), type=Beat)
    assert said.read == ()
    assert list(Readings().new_of((Replica(beat=said),))) == []
