"""Who has read the beginning of a prompt before: what each cache is believed to hold, and how far that is trusted.

Looked up for every decision over a prompt of at least one block; told by every attempt. Only hashes get here.
"""

from __future__ import annotations

import math

from backends.contract import Usage
from backends.errors import BackendError, ConnectFailed, StreamBroken, TimedOut, UpstreamFault, Warming
from router.dispatch.fleet import Fleet
from router.dispatch.readings import Readings
from router.domain.fleet import Backend, ServedModel
from router.domain.prefix_cache import BILLED, BLOCK_TOKENS, MAX_BLOCKS, OPTION, PrefixCache, configured
from router.domain.replica import Reading, Replica
from router.domain.request import RequestProfile
from router.domain.rows import Row
from router.prediction.prefixes import MAX_ENTRIES, Prefixes, Room, Trust

# Of an accelerator's memory, what an engine leaves to weights and cache together.
USABLE_MEMORY = 0.9
# Where nothing says how much fits.
UNKNOWN_TOKENS = 131_072.0
UNLIMITED_BLOCKS = 1 << 20
# A process that answers like this is not the one that read the prompts.
_RESTARTED = frozenset({ConnectFailed.code, Warming.code})
# Nobody knows what became of this prompt.
_UNSURE = frozenset({UpstreamFault.code, StreamBroken.code, TimedOut.code})
NOWHERE: dict[str, float] = {}
_NOTHING: dict[str, _Known] = {}


class _Known:
    """What is known of one row's cache; made anew when anything about its backend has changed, but for the trust."""

    __slots__ = ("least", "room", "row", "trust")

    def __init__(self, row: Row, rule: PrefixCache, trust: Trust | None) -> None:
        self.row = row
        self.room = room_of(row, rule)
        self.least = rule.minimum_tokens
        self.trust = trust if trust is not None else Trust(tells=rule.told)


class Affinity:
    """Beliefs about the prefix caches of a fleet; bounded by `max_entries` pairs of a block and a backend."""

    def __init__(self, fleet: Fleet, *, max_entries: int = MAX_ENTRIES) -> None:
        self._fleet = fleet
        self._prefixes = Prefixes(max_entries)
        # By model, then by backend.
        self._known: dict[str, dict[str, _Known]] = {}
        self._readings = Readings()
        fleet.on_forgotten(self._forgotten)

    def __len__(self) -> int:
        """Pairs of a block and a backend that are believed now."""
        return len(self._prefixes)

    def cached_on(self, profile: RequestProfile, now: float) -> dict[str, float]:
        """Tokens of the prompt's beginning that each backend is expected not to read again; nothing for the others.

        Of a backend that serves several of the models that were asked for, the most.
        """
        if not profile.blocks or not len(self._prefixes):
            return NOWHERE
        found: dict[str, float] = {}
        most = profile.input_tokens
        for model in self._fleet.catalogue.resolve(profile.model):
            known = self._known.get(model, _NOTHING)
            for backend, depth in self._prefixes.match(model, profile.blocks, now).items():
                there = known.get(backend)
                tokens = min(float(depth * BLOCK_TOKENS), most)
                if there is not None and tokens >= there.least:
                    tokens *= there.trust.share(now)
                    found[backend] = max(tokens, found[backend]) if backend in found else tokens
        return found

    def seed(self, profile: RequestProfile, cached_on: dict[str, float]) -> str:
        """What keeps equal prompts together where nobody holds them: the first block that not most backends hold.

        A system prompt that everybody has read says nothing; all its conversations would go to one place. Routers that
        share nothing find the same block, so turns of one conversation meet wherever they come in.
        """
        blocks, common = profile.blocks, 0
        half = len(self._fleet.rows_for(profile.model)) // 2
        if 0 < half < len(cached_on):
            tokens = sorted(cached_on.values(), reverse=True)[half]
            common = min(int(tokens / BLOCK_TOKENS), len(blocks) - 1)
        return f"{blocks[common]:x}"

    def read(self, row: Row, blocks: tuple[int, ...], now: float) -> None:
        """The backend has read a prompt that begins with these blocks: its first token has come."""
        room = self._of(row).room
        if room is not None and blocks:
            new = blocks[self._prefixes.depth(row.model, row.id, blocks) :]
            self._prefixes.store(row.model, row.id, blocks, now=now, room=room)
            if new:
                # Who keeps whole prompts has to be told of whole prompts.
                self._readings.add(row.model, row.id, blocks if room.prompts else new, now)

    def news(self, now: float) -> tuple[Reading, ...]:
        """What this replica tells the others."""
        return self._readings.lately(now)

    def heard(self, others: tuple[Replica, ...], now: float) -> None:
        """What other replicas told: their backends are ours."""
        for reading in self._readings.new_of(others):
            row = self._fleet.row(reading.backend, reading.model)
            room = self._of(row).room if row is not None else None
            if room is not None:
                self._prefixes.store(reading.model, reading.backend, reading.blocks, now=now, room=room)

    def told(self, row: Row, expected_tokens: float, usage: Usage, now: float) -> None:
        """What the backend says it had of a prompt of which `expected_tokens` were expected to be cached."""
        if usage.input > 0:
            trust = self._of(row).trust
            believed = expected_tokens / trust.share(now)
            trust.report(believed=believed, said=float(usage.cached_input), now=now)

    def failed(self, row: Row, blocks: tuple[int, ...], error: BackendError) -> None:
        """An attempt ended in this error."""
        if error.code in _RESTARTED:
            self._prefixes.forget(row.id)
        elif blocks and error.code in _UNSURE:
            self._prefixes.drop(row.model, row.id, blocks)

    def _forgotten(self, backend: str, model: str | None) -> None:
        """The fleet lost it, or has it at another address (`model` None: all its models), or it has restarted."""
        self._prefixes.forget(backend, model)
        if model is not None:
            self._known.get(model, {}).pop(backend, None)

    def _of(self, row: Row) -> _Known:
        known = self._known.setdefault(row.model, {})
        there = known.get(row.id)
        if there is None or there.row is not row:
            rule = rule_of(row, self._fleet)
            there = known[row.id] = _Known(row, rule, there.trust if there is not None else None)
            if there.room is None:
                self._prefixes.forget(row.id, row.model)
        return there


def rule_of(row: Row, fleet: Fleet) -> PrefixCache:
    """What is known of how this backend keeps prompts: of its family, and by its operator's word over that."""
    backend = row.backend
    rule = BILLED
    if fleet.wires is None:
        rule = PrefixCache() if row.hardware.memory_bytes > 0.0 else BILLED
    elif (wire := fleet.wires.get(backend.wire)) is not None and backend.profile in wire.profiles:
        rule = wire.profiles[backend.profile].prefix_cache
    text = dict(backend.options).get(OPTION) if backend.options else None
    return rule if text is None else configured(rule, text)


def room_of(row: Row, rule: PrefixCache) -> Room | None:
    """What the backend has room for; None where nothing is kept."""
    if rule.billed and not any(rate.cached_usd < rate.input_usd for rate in row.rates[""]):
        return None
    prompts = int(row.max_concurrency) if rule.slots else 0
    if rule.slots:
        blocks = float(prompts * MAX_BLOCKS)
    elif rule.tokens is not None:
        blocks = rule.tokens / BLOCK_TOKENS
    else:
        blocks = memory_tokens(row) / BLOCK_TOKENS
    whole = UNLIMITED_BLOCKS if math.isinf(blocks) else int(blocks)
    return Room(blocks=whole, ttl_s=rule.ttl_s, prompts=prompts) if whole > 0 else None


def memory_tokens(row: Row) -> float:
    """Tokens whose keys and values fit beside the weights."""
    model, backend = row.catalogue_model, row.backend
    memory = row.hardware.memory_bytes * backend.hardware_count
    if model is None or model.kv_bytes_per_token <= 0.0 or memory <= 0.0:
        return UNKNOWN_TOKENS
    weights = model.parameters * (_served(backend, row.model).bytes_per_weight or 2.0)
    return max(0.0, USABLE_MEMORY * memory - weights) / model.kv_bytes_per_token


def _served(backend: Backend, model: str) -> ServedModel:
    return next(served for served in backend.models if served.model == model)
