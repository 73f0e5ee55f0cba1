"""Which beginnings of prompts each backend is believed to hold: an index from blocks to holders, bounded.

A block is named by a hash of everything up to its end (`domain.prefix_cache`). Each holder forgets as its cache would:
least recently used first, and of one prompt its end before its beginning. Beyond the bound of the whole index the
holder that was used least recently forgets. Looking up goes along the blocks of the prompt, not over the fleet.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from math import inf
from typing import Final

# Pairs of a block and a holder, at about 250 bytes each.
MAX_ENTRIES: Final = 131_072
# What so many hold is no reason to choose one of them, and naming all would be a walk over the fleet.
MAX_NAMED: Final = 256

# How far a report that differs moves the trust in the beliefs, and how fast trust comes back.
TRUST_RATE: Final = 0.3
MIN_TRUST: Final = 0.05
TRUST_HALF_LIFE_S: Final = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a holder has room for: `blocks`, each until `ttl_s` seconds after its last use.

    `prompts`: as many whole prompts, where a server keeps only the last of each of its slots; 0: it keeps blocks.
    """

    blocks: int
    ttl_s: float
    prompts: int = 0


class Holder:
    """One backend with one model: its blocks, least recently used first, with the time of their last use."""

    __slots__ = ("backend", "blocks", "index", "prompts", "room", "slot")

    def __init__(self, backend: str, index: Index, slot: int, room: Room) -> None:
        self.backend = backend
        self.index = index
        self.slot = slot
        self.room = room
        self.blocks: OrderedDict[int, float] = OrderedDict()
        self.prompts: list[tuple[int, ...]] = []


class Index:
    """Of one model. An entry is a bit for each holder's slot, or below zero ~slot of the only one, which is smaller."""

    __slots__ = ("entries", "free", "holders", "slots")

    def __init__(self) -> None:
        self.entries: dict[int, int] = {}
        self.holders: dict[str, Holder] = {}
        self.slots: list[Holder | None] = []
        self.free: list[int] = []

    def join(self, backend: str, room: Room) -> Holder:
        if self.free:
            slot = self.free.pop()
        else:
            slot = len(self.slots)
            self.slots.append(None)
        holder = self.slots[slot] = self.holders[backend] = Holder(backend, self, slot, room)
        return holder

    def leave(self, holder: Holder) -> None:
        del self.holders[holder.backend]
        self.slots[holder.slot] = None
        self.free.append(holder.slot)

    def add(self, block: int, slot: int) -> None:
        entry = self.entries.get(block)
        self.entries[block] = ~slot if entry is None else _mask(entry) | 1 << slot

    def remove(self, block: int, slot: int) -> None:
        mask = _mask(self.entries[block]) & ~(1 << slot)
        if not mask:
            del self.entries[block]
        elif mask & (mask - 1):
            self.entries[block] = mask
        else:
            self.entries[block] = ~(mask.bit_length() - 1)


class Prefixes:
    """The beliefs about all backends. Times are on one clock that only goes forward."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._entries = 0
        self._indexes: dict[str, Index] = {}
        # By their last use.
        self._holders: OrderedDict[Holder, None] = OrderedDict()

    def __len__(self) -> int:
        """Pairs of a block and a holder."""
        return self._entries

    def match(self, model: str, blocks: tuple[int, ...], now: float) -> dict[str, int]:
        """How many of the first blocks each backend holds, without those that hold none.

        Where more than `MAX_NAMED` do, those are named that hold the most.
        """
        index = self._indexes.get(model)
        if index is None or not blocks:
            return {}
        alive = -1
        left: list[tuple[int, int]] = []
        depth = 0
        for block in blocks:
            entry = index.entries.get(block, 0)
            still = alive & (entry if entry >= 0 else 1 << ~entry)
            if still != alive:
                if depth:
                    left.append((alive ^ still, depth))
                alive = still
                if not alive:
                    break
            depth += 1
        if alive > 0:
            left.append((alive, depth))
        return _named(index, left, blocks, now)

    def depth(self, model: str, backend: str, blocks: tuple[int, ...]) -> int:
        """How many of the first blocks one backend holds, however long ago it used them."""
        index = self._indexes.get(model)
        holder = index.holders.get(backend) if index is not None else None
        if holder is None:
            return 0
        held, depth = holder.blocks, 0
        for block in blocks:
            if block not in held:
                break
            depth += 1
        return depth

    def store(self, model: str, backend: str, blocks: tuple[int, ...], *, now: float, room: Room) -> None:
        """The backend has read a prompt that begins with `blocks`."""
        blocks = blocks[: room.blocks]
        if not blocks:
            return
        index = self._indexes.get(model)
        if index is None:
            index = self._indexes[model] = Index()
        holder = index.holders.get(backend)
        if holder is None:
            holder = index.join(backend, room)
        holder.room = room
        self._holders[holder] = None
        self._holders.move_to_end(holder)
        if room.prompts:
            self._replace_prompt(holder, blocks)
        held = holder.blocks
        # From the end, so that the end is the first to be forgotten.
        for block in reversed(blocks):
            if block not in held:
                index.add(block, holder.slot)
                self._entries += 1
            held[block] = now
            held.move_to_end(block)
        while len(held) > room.blocks or now - next(iter(held.values())) > room.ttl_s:
            self._forget_oldest(holder)
        while self._entries > self._max_entries:
            self._forget_oldest(next(iter(self._holders)))

    def drop(self, model: str, backend: str, blocks: tuple[int, ...]) -> None:
        """The backend may not hold these any more."""
        index = self._indexes.get(model)
        holder = index.holders.get(backend) if index is not None else None
        if holder is None:
            return
        for block in blocks:
            self._forget_block(holder, block)
        self._leave_if_empty(holder)

    def forget(self, backend: str, model: str | None = None) -> None:
        """The backend holds nothing any more: of one model, or of any."""
        for name in [model] if model is not None else list(self._indexes):
            index = self._indexes.get(name)
            holder = index.holders.get(backend) if index is not None else None
            if holder is not None:
                for block in list(holder.blocks):
                    self._forget_block(holder, block)
                self._leave_if_empty(holder)

    def _forget_oldest(self, holder: Holder) -> None:
        self._forget_block(holder, next(iter(holder.blocks)))
        self._leave_if_empty(holder)

    def _forget_block(self, holder: Holder, block: int) -> None:
        if holder.blocks.pop(block, None) is not None:
            holder.index.remove(block, holder.slot)
            self._entries -= 1

    def _leave_if_empty(self, holder: Holder) -> None:
        if holder.blocks:
            return
        self._holders.pop(holder, None)
        index = holder.index
        if index.holders.get(holder.backend) is holder:
            index.leave(holder)
        if not index.holders:
            self._indexes = {name: other for name, other in self._indexes.items() if other is not index}

    def _replace_prompt(self, holder: Holder, blocks: tuple[int, ...]) -> None:
        """The slot with the most in common takes the prompt; without any in common, a free one or the oldest."""
        prompts = holder.prompts
        alike, common = -1, 0
        for n, prompt in enumerate(prompts):
            shared = _common(prompt, blocks)
            if shared > common:
                alike, common = n, shared
        gone: tuple[int, ...] = ()
        if alike >= 0:
            gone = prompts.pop(alike)
        elif len(prompts) >= holder.room.prompts:
            gone = prompts.pop(0)
        prompts.append(blocks)
        if gone:
            kept = {block for prompt in prompts for block in prompt}
            for block in gone:
                if block not in kept:
                    self._forget_block(holder, block)


class Trust:
    """How much of what a backend is believed to hold it really used, by its own reports; it fades back to 1."""

    __slots__ = ("_at", "_share", "tells")

    def __init__(self, *, tells: bool) -> None:
        self.tells = tells
        self._share = 1.0
        self._at = 0.0

    def share(self, now: float) -> float:
        """Within (0, 1]."""
        if self._share == 1.0:
            return 1.0
        faded: float = 2.0 ** (-max(0.0, now - self._at) / TRUST_HALF_LIFE_S)
        return 1.0 - (1.0 - self._share) * faded

    def report(self, *, believed: float, said: float, now: float) -> None:
        """Of a prompt of which `believed` tokens were taken to be held, it said that it had `said`.

        None counts only from who is known to say: many servers never do.
        """
        self.tells = self.tells or said > 0.0
        if believed <= 0.0 or not self.tells:
            return
        share = self.share(now)
        seen = min(1.0, said / believed)
        self._share = max(MIN_TRUST, share + TRUST_RATE * (seen - share))
        self._at = now


def _named(index: Index, left: list[tuple[int, int]], blocks: tuple[int, ...], now: float) -> dict[str, int]:
    found: dict[str, int] = {}
    for mask, deepest in reversed(left):
        rest = mask
        while rest and len(found) < MAX_NAMED:
            lowest = rest & -rest
            rest ^= lowest
            holder = index.slots[lowest.bit_length() - 1]
            if holder is None:
                continue
            depth = deepest
            ttl_s = holder.room.ttl_s
            # Beginnings are used at least as lately as what follows them.
            while ttl_s < inf and depth and now - holder.blocks[blocks[depth - 1]] > ttl_s:
                depth -= 1
            if depth:
                found[holder.backend] = depth
    return found


def _mask(entry: int) -> int:
    return entry if entry >= 0 else 1 << ~entry


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    n = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        n += 1
    return n
