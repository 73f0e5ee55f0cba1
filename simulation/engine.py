"""A continuous-batching engine on a given accelerator, as a pure function of time.

Requests wait in one queue for a slot, are prefilled in arrival order, then decode together: each step gives every
sequence of a model one token and lasts as long as the batch makes it. Prefill and decode run side by side, the usual
simplification (DECISION 3.2): a FIFO server for prompts, processor sharing for tokens.

Nothing here reads a clock. `advance(now)` catches up with all that happened until `now`, in one pass however many
tokens that were, so a chip of 2,000 tokens/s per stream needs no timer per token. What happens does not depend on how
often it is asked.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from router.domain.speed import Speed

PREFILL_BATCH_TOKENS = 8192
BLOCK_STEPS = 32  # the step time is worked out anew at least this often
EPSILON = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOnChip:
    """How one model runs on the engine. The errors are what the catalogue's equations are wrong by, as factors."""

    speed: Speed
    kv_bytes_per_token: float = 0.0
    ttft_error: float = 1.0
    tpot_error: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """One replica.

    Attributes:
        models: by the name that requests use.
        slots: sequences that are prefilled or decoded at the same time.
        latency_s: added once to every request and no load on the chip: network and gateway.
        kv_bytes: memory for the KV cache; None: no bound.
        prefill_noise, decode_noise: standard deviation of the logarithm of each prefill and decode time.
    """

    models: Mapping[str, ModelOnChip]
    slots: int
    latency_s: float = 0.0
    kv_bytes: float | None = None
    prefill_noise: float = 0.1
    decode_noise: float = 0.03


def _ignore(_sequence: Sequence) -> None:
    """The default of `Sequence.deliver`."""


@dataclass(slots=True, kw_only=True, eq=False)
class Sequence:
    """One request. The engine sets the times (None: not yet) and counts `generated` up to `output_tokens`."""

    model: str
    prompt_tokens: int
    output_tokens: int
    deliver: Callable[[Sequence], None] = _ignore
    generated: int = 0
    submitted_at: float = 0.0
    admitted_at: float | None = None
    first_token_at: float | None = None
    finished_at: float | None = None
    cancelled: bool = False

    @property
    def finished(self) -> bool:
        return self.finished_at is not None


@dataclass(slots=True)
class _Lane:
    """The timeline of one model: at most one prefill batch and one block of decode steps at a time."""

    model: ModelOnChip
    to_prefill: deque[Sequence] = field(default_factory=deque)
    prefilling: list[Sequence] = field(default_factory=list)
    prefill_ends: float = math.inf
    joining: list[Sequence] = field(default_factory=list)
    decoding: list[Sequence] = field(default_factory=list)
    block_began: float = 0.0
    step_s: float = 0.0
    steps: int = 0
    steps_done: int = 0

    @property
    def block_ends(self) -> float:
        return self.block_began + self.steps * self.step_s if self.decoding else math.inf

    @property
    def next_step_ends(self) -> float:
        return self.block_began + (self.steps_done + 1) * self.step_s if self.decoding else math.inf


class Engine:
    """See the module. Times are any monotonic seconds, the same for every call.

    Attributes:
        slow: factor on every duration that begins from now on.
    """

    def __init__(self, spec: EngineSpec, rng: Random) -> None:
        self.spec = spec
        self.slow = 1.0
        self._rng = rng
        self._lanes = {name: _Lane(model) for name, model in spec.models.items()}
        self._arriving: deque[tuple[float, Sequence]] = deque()
        self._waiting: deque[Sequence] = deque()
        self._running: set[Sequence] = set()
        self._kv_reserved = 0.0
        self._lost = 0.0
        self._stalled_at: float | None = None
        self._progressed: dict[Sequence, None] = {}

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def backlog(self) -> int:
        """Requests that no slot is free for, those on their way included."""
        return max(0, len(self._running) + len(self._waiting) + len(self._arriving) - self.spec.slots)

    @property
    def running(self) -> int:
        return len(self._running)

    def load(self, model: str) -> tuple[int, int]:
        """Running and waiting sequences of one model."""
        return sum(s.model == model for s in self._running), sum(s.model == model for s in self._waiting)

    @property
    def kv_usage(self) -> float:
        """Share of the KV memory that is filled, 0 to 1."""
        if not self.spec.kv_bytes:
            return 0.0
        filled = sum(
            (s.prompt_tokens + s.generated) * self.spec.models[s.model].kv_bytes_per_token for s in self._running
        )
        return min(1.0, filled / self.spec.kv_bytes)

    def submit(self, sequence: Sequence, now: float) -> None:
        """Takes a request in; it reaches the queue after the fixed latency."""
        at = self._inner(now)
        sequence.submitted_at = now
        self._arriving.append((at + self.spec.latency_s, sequence))

    def cancel(self, sequence: Sequence, now: float) -> None:
        """Drops a request wherever it is; its slot is free at once."""
        if sequence.finished or sequence.cancelled:
            return
        self._catch_up(self._inner(now))
        if sequence.finished:
            return
        sequence.cancelled = True
        at = self._inner(now)
        lane = self._lanes[sequence.model]
        if sequence in self._running:
            self._release(sequence)
            if sequence in lane.decoding:
                lane.decoding.remove(sequence)
                lane.steps = min(lane.steps, lane.steps_done + 1)
            elif sequence in lane.joining:
                lane.joining.remove(sequence)
            elif sequence in lane.to_prefill:
                lane.to_prefill.remove(sequence)
            self._begin_block(lane, at)
            self._admit(at)
        elif sequence in self._waiting:
            self._waiting.remove(sequence)
        else:
            self._arriving = deque(entry for entry in self._arriving if entry[1] is not sequence)

    def stall(self, stalled: bool, now: float) -> None:  # noqa: FBT001 - a state, not an option
        """While stalled nothing moves; afterwards everything goes on where it stood."""
        if stalled and self._stalled_at is None:
            self._catch_up(self._inner(now))
            self._stalled_at = now
        elif not stalled and self._stalled_at is not None:
            self._lost += now - self._stalled_at
            self._stalled_at = None

    def advance(self, now: float) -> list[Sequence]:
        """Catches up until `now`; the sequences that got tokens since the last call, each once."""
        self._catch_up(self._inner(now))
        progressed = [s for s in self._progressed if not s.cancelled]
        self._progressed.clear()
        return progressed

    def next_due(self) -> float | None:
        """When something happens next; None when nothing will without a new call."""
        if self._progressed:
            return -math.inf
        if self._stalled_at is not None:
            return None
        due = self._arriving[0][0] if self._arriving else math.inf
        for lane in self._lanes.values():
            due = min(due, lane.prefill_ends, lane.next_step_ends)
        return None if due == math.inf else due + self._lost

    def _inner(self, now: float) -> float:
        return (now if self._stalled_at is None else self._stalled_at) - self._lost

    def _catch_up(self, until: float) -> None:
        until += EPSILON
        while True:
            arrival = self._arriving[0][0] if self._arriving else math.inf
            lane, at, is_prefill = None, arrival, False
            for candidate in self._lanes.values():
                if candidate.prefill_ends < at:
                    lane, at, is_prefill = candidate, candidate.prefill_ends, True
                if candidate.block_ends < at:
                    lane, at, is_prefill = candidate, candidate.block_ends, False
            if at > until:
                break
            if lane is None:
                self._waiting.append(self._arriving.popleft()[1])
            elif is_prefill:
                self._end_prefill(lane, at)
            else:
                self._end_block(lane, at)
            self._admit(at)
        for lane in self._lanes.values():
            self._apply_steps(lane, until)

    def _admit(self, at: float) -> None:
        while self._waiting and len(self._running) < self.spec.slots:
            sequence = self._waiting[0]
            need = self._kv_need(sequence)
            if self.spec.kv_bytes and self._running and self._kv_reserved + need > self.spec.kv_bytes:
                break  # the head of the queue waits for room, and nobody overtakes it
            self._waiting.popleft()
            self._running.add(sequence)
            self._kv_reserved += need
            sequence.admitted_at = at + self._lost
            self._lanes[sequence.model].to_prefill.append(sequence)
        for lane in self._lanes.values():
            self._begin_prefill(lane, at)

    def _begin_prefill(self, lane: _Lane, at: float) -> None:
        if lane.prefilling or not lane.to_prefill:
            return
        tokens = 0
        while lane.to_prefill and (not tokens or tokens + lane.to_prefill[0].prompt_tokens <= PREFILL_BATCH_TOKENS):
            sequence = lane.to_prefill.popleft()
            tokens += sequence.prompt_tokens
            lane.prefilling.append(sequence)
        noise = self._rng.lognormvariate(0.0, self.spec.prefill_noise)
        lane.prefill_ends = at + lane.model.speed.prefill_s(tokens) * lane.model.ttft_error * self.slow * noise

    def _end_prefill(self, lane: _Lane, at: float) -> None:
        for sequence in lane.prefilling:
            if sequence.cancelled:
                continue
            sequence.generated = 1
            sequence.first_token_at = at + self._lost
            self._progressed[sequence] = None
            if sequence.output_tokens <= 1:
                self._finish(sequence, at)
            else:
                lane.joining.append(sequence)
        lane.prefilling = []
        lane.prefill_ends = math.inf
        if lane.decoding and lane.joining:  # they join after the step that is under way
            self._apply_steps(lane, at)
            lane.steps = min(lane.steps, lane.steps_done + 1)
        self._begin_block(lane, at)

    def _begin_block(self, lane: _Lane, at: float) -> None:
        if lane.decoding or not lane.joining:
            return
        lane.decoding, lane.joining = lane.joining, []
        batch = len(lane.decoding)
        context = sum(s.prompt_tokens + s.generated for s in lane.decoding) / batch
        noise = self._rng.lognormvariate(0.0, self.spec.decode_noise)
        lane.block_began = at
        lane.step_s = lane.model.speed.tpot_s(batch, context) * lane.model.tpot_error * self.slow * noise
        lane.steps = min(BLOCK_STEPS, *(s.output_tokens - s.generated for s in lane.decoding))
        lane.steps_done = 0

    def _end_block(self, lane: _Lane, at: float) -> None:
        self._apply_steps(lane, at + EPSILON)
        done, lane.decoding = lane.decoding, []
        remaining = []
        for sequence in done:
            if sequence.generated >= sequence.output_tokens:
                self._finish(sequence, at)
            else:
                remaining.append(sequence)
        lane.joining = remaining + lane.joining
        self._begin_block(lane, at)

    def _apply_steps(self, lane: _Lane, until: float) -> None:
        if not lane.decoding:
            return
        done = min(lane.steps, int((until - lane.block_began) / lane.step_s + EPSILON))
        more = done - lane.steps_done
        if more <= 0:
            return
        lane.steps_done = done
        for sequence in lane.decoding:
            sequence.generated += more
            self._progressed[sequence] = None

    def _finish(self, sequence: Sequence, at: float) -> None:
        sequence.finished_at = at + self._lost
        self._release(sequence)

    def _release(self, sequence: Sequence) -> None:
        self._running.discard(sequence)
        self._kv_reserved -= self._kv_need(sequence)

    def _kv_need(self, sequence: Sequence) -> float:
        per_token = self.spec.models[sequence.model].kv_bytes_per_token
        return per_token * (sequence.prompt_tokens + sequence.output_tokens)
