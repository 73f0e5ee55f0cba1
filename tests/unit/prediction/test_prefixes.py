"""The index of who holds which beginnings: true, bounded, and forgetful like the caches it stands for."""

from __future__ import annotations

import gc
import math
import random
import tracemalloc
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.prediction.prefixes import MAX_ENTRIES, MAX_NAMED, MIN_TRUST, TRUST_HALF_LIFE_S, Prefixes, Room, Trust

ALWAYS = math.inf
ROOMY = Room(blocks=1000, ttl_s=ALWAYS)
BACKENDS = ("a", "b", "c")

# Prompts of a few common beginnings: a chain names everything up to the end of its block, so equal ends are equal
# beginnings.
TREE = st.lists(st.integers(0, 2), min_size=1, max_size=6).map(
    lambda path: tuple(hash(tuple(path[: n + 1])) & 0xFFFF_FFFF_FFFF for n in range(len(path)))
)
STORES = st.lists(st.tuples(st.sampled_from(BACKENDS), TREE), max_size=40)


def blocks(*names: int) -> tuple[int, ...]:
    return tuple(1 << 40 | name for name in names)


@given(stores=STORES, asked=TREE)
def test_a_match_is_the_longest_beginning_that_was_read(
    stores: list[tuple[str, tuple[int, ...]]], asked: tuple[int, ...]
) -> None:
    """Without pressure every backend is believed to hold exactly the longest common beginning of all it has read."""
    index = Prefixes()
    longest: dict[str, int] = {}
    for now, (backend, prompt) in enumerate(stores):
        index.store("m", backend, prompt, now=float(now), room=ROOMY)
        common = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(prompt, asked, strict=False))))
        longest[backend] = max(common, longest.get(backend, 0))
    assert index.match("m", asked, 100.0) == {backend: depth for backend, depth in longest.items() if depth}


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(("store", "drop", "forget")), st.sampled_from(BACKENDS), TREE), max_size=60
    ),
    limit=st.integers(1, 12),
    room=st.builds(
        Room,
        blocks=st.integers(0, 8),
        ttl_s=st.sampled_from((2.0, ALWAYS)),
        prompts=st.integers(0, 2),
    ),
    asked=TREE,
)
def test_the_bounds_hold_and_a_match_is_no_longer_than_what_was_read(
    steps: list[tuple[str, str, tuple[int, ...]]], limit: int, room: Room, asked: tuple[int, ...]
) -> None:
    """Whatever is stored, dropped and forgotten: entries stay within the bound; no belief is of what was not read."""
    index = Prefixes(max_entries=limit)
    read: dict[str, set[int]] = {}
    now = 0.0
    for step, backend, prompt in steps:
        now += 1.0
        if step == "store":
            index.store("m", backend, prompt, now=now, room=room)
            read.setdefault(backend, set()).update(prompt)
        elif step == "drop":
            index.drop("m", backend, prompt)
            read.get(backend, set()).difference_update(prompt)
        else:
            index.forget(backend)
            read.pop(backend, None)
        assert len(index) <= min(limit, room.blocks * len(BACKENDS))
        found = index.match("m", asked, now)
        for holder, depth in found.items():
            assert set(asked[:depth]) <= read.get(holder, set())
    for backend in BACKENDS:
        index.forget(backend)
    assert len(index) == 0
    assert index.match("m", asked, now) == {}


def test_the_end_of_a_prompt_goes_before_its_beginning() -> None:
    """A cache that has no room for two whole prompts keeps the second, and of the first its beginning."""
    index, room = Prefixes(), Room(blocks=6, ttl_s=ALWAYS)
    first, second = blocks(1, 2, 3, 4), blocks(11, 12, 13, 14)
    index.store("m", "a", first, now=0.0, room=room)
    index.store("m", "a", second, now=1.0, room=room)
    assert (index.match("m", first, 1.0), index.match("m", second, 1.0)) == ({"a": 2}, {"a": 4})


def test_what_is_used_again_is_kept() -> None:
    """Least recently used goes first, not first stored."""
    index, room = Prefixes(), Room(blocks=4, ttl_s=ALWAYS)
    for now, prompt in enumerate((blocks(1, 2), blocks(11, 12), blocks(1, 2), blocks(21, 22))):
        index.store("m", "a", prompt, now=float(now), room=room)
    assert index.match("m", blocks(1, 2), 9.0) == {"a": 2}
    assert index.match("m", blocks(11, 12), 9.0) == {}


def test_what_nobody_asked_for_in_time_is_gone() -> None:
    """A service's cache ends some minutes after the last use of each block."""
    index, room = Prefixes(), Room(blocks=100, ttl_s=300.0)
    index.store("m", "a", blocks(1, 2, 3), now=0.0, room=room)
    index.store("m", "a", blocks(1, 9), now=200.0, room=room)
    assert index.match("m", blocks(1, 2, 3), 300.0) == {"a": 3}
    assert index.match("m", blocks(1, 2, 3), 301.0) == {"a": 1}
    assert index.match("m", blocks(1, 2, 3), 501.0) == {}
    index.store("m", "a", blocks(7), now=502.0, room=room)
    assert len(index) == 1


def test_a_slot_holds_its_last_prompt_and_nothing_else() -> None:
    """Of two slots the one with the more in common takes the prompt; without any in common, the older one."""
    index, room = Prefixes(), Room(blocks=1000, ttl_s=ALWAYS, prompts=2)
    talk, other, third = blocks(1, 2), blocks(11, 12), blocks(21, 22)
    index.store("m", "a", talk, now=0.0, room=room)
    index.store("m", "a", other, now=1.0, room=room)
    index.store("m", "a", blocks(1, 2, 3), now=2.0, room=room)
    assert index.match("m", blocks(1, 2, 3, 4), 2.0) == {"a": 3}
    assert index.match("m", other, 2.0) == {"a": 2}
    index.store("m", "a", third, now=3.0, room=room)
    assert index.match("m", other, 3.0) == {}
    assert index.match("m", talk, 3.0) == {"a": 2}


def test_models_do_not_share_what_they_hold() -> None:
    """A prompt that one model has read is not in another model's cache, on the same backend either."""
    index = Prefixes()
    index.store("m", "a", blocks(1, 2), now=0.0, room=ROOMY)
    assert index.match("other", blocks(1, 2), 0.0) == {}
    index.store("other", "a", blocks(1), now=0.0, room=ROOMY)
    index.forget("a", "m")
    assert (index.match("m", blocks(1, 2), 0.0), index.match("other", blocks(1, 2), 0.0)) == ({}, {"a": 1})


def test_the_whole_index_forgets_who_was_used_least_recently() -> None:
    """Beyond the bound a backend that nobody sends to loses its place, not those that are at work."""
    index = Prefixes(max_entries=4)
    for now, backend in enumerate(("idle", "busy", "busy")):
        index.store("m", backend, blocks(10 * now, 10 * now + 1), now=float(now), room=ROOMY)
    assert index.match("m", blocks(0, 1), 9.0) == {}
    assert index.match("m", blocks(10, 11), 9.0) == index.match("m", blocks(20, 21), 9.0) == {"busy": 2}


def test_what_everybody_holds_names_as_many_as_it_may_those_with_the_most_first() -> None:
    """A lookup does not walk over the fleet: it names a bounded number, the longest matches before the others."""
    index = Prefixes()
    for n in range(MAX_NAMED + 100):
        index.store("m", f"b{n}", blocks(1, 2) if n >= 100 else blocks(1), now=0.0, room=ROOMY)
    found = index.match("m", blocks(1, 2, 3), 0.0)
    assert len(found) == MAX_NAMED
    assert set(found.values()) == {2}


@pytest.mark.parametrize(("fleet", "bytes_per_entry"), [(8, 260), (1000, 420)])
def test_a_full_index_has_a_bounded_size(fleet: int, bytes_per_entry: int) -> None:
    """At its bound it takes about 200 bytes for a block and a backend; a quarter of the blocks are on two of them."""
    rng = random.Random(7)
    index = Prefixes()
    prompts = [tuple(rng.getrandbits(64) for _ in range(64)) for _ in range(MAX_ENTRIES // 64)]
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for now, prompt in enumerate([*prompts, *prompts[::4]]):
        copied = tuple(block + 0 for block in prompt)
        index.store("m", f"b{rng.randrange(fleet)}", copied, now=float(now), room=Room(blocks=1 << 20, ttl_s=ALWAYS))
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(index) == MAX_ENTRIES
    assert used / MAX_ENTRIES < bytes_per_entry


def test_who_reports_less_than_was_believed_is_believed_less() -> None:
    """A backend that never had anything cached ends at the least trust, and is trusted again after some time."""
    trust = Trust(tells=True)
    for n in range(20):
        trust.report(believed=4096.0, said=0.0, now=float(n))
    assert trust.share(20.0) < 1.2 * MIN_TRUST
    assert trust.share(20.0 + TRUST_HALF_LIFE_S) == pytest.approx(0.5, abs=0.05)
    for n in range(20):
        trust.report(believed=4096.0, said=4096.0, now=20.0 + n)
    assert trust.share(40.0) > 0.99


def test_none_from_who_does_not_say_means_nothing() -> None:
    """Most servers leave the count out, which reads as none; only who has named some is held to it."""
    trust = Trust(tells=False)
    trust.report(believed=4096.0, said=0.0, now=0.0)
    assert trust.share(0.0) == 1.0
    trust.report(believed=4096.0, said=2048.0, now=1.0)
    trust.report(believed=4096.0, said=0.0, now=2.0)
    assert trust.share(2.0) < 0.7


@given(reports=st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e4)), max_size=20))
def test_trust_is_a_share(reports: list[tuple[float, float, float]]) -> None:
    """Whatever is reported, trust is above zero and at most one."""
    trust, now = Trust(tells=True), 0.0
    for believed, said, later in reports:
        now += later
        trust.report(believed=believed, said=said, now=now)
        assert MIN_TRUST <= trust.share(now) <= 1.0
