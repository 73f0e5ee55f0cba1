"""Backends in virtual time: what becomes of a request that is sent to one."""

from __future__ import annotations

from collections import OrderedDict, deque
from heapq import heappop, heappush
from typing import Protocol

from simulation.virtual.loop import Loop
from simulation.virtual.traces import BLOCK_TOKENS, Ask
from simulation.virtual.truth import HOST_AND_BUILDING, EngineTruth, HostedTruth

REFUSED_S = 0.02
# How long a caller is asked to wait who was over a limit of requests at once.
BUSY_S = 0.25
# What a limit per minute lets through at once after a pause: a whole minute's worth, as vendors count minutes.
START_BURST_MINUTES = 1.0


class Job:
    """One request at one backend. Times are of the loop; `share_s` are replica-seconds, `joules` at the wall.

    `joined` is what its backend counts its tokens from.
    """

    def __init__(self, ask: Ask, owner: Owner, *, prefill_noise: float, decode_noise: float, draw: float) -> None:
        self.ask = ask
        self.owner = owner
        self.prefill_noise = prefill_noise
        self.decode_noise = decode_noise
        self.draw = draw
        self.cached_tokens = 0
        self.first_at = -1.0
        self.joined = 0.0
        self.share_s = 0.0
        self.joules = 0.0


class Owner(Protocol):
    """Who is told of a job."""

    def first_token(self, job: Job) -> None: ...
    def finished(self, job: Job) -> None: ...
    def failed(self, job: Job, code: str, retry_after_s: float | None) -> None: ...


class Faults:
    """What is wrong with a backend now. `slow` multiplies its times; `errors` is the share of requests that fail."""

    def __init__(self) -> None:
        self.slow = 1.0
        self.errors = 0.0
        self.dead = False
        self.limited = False


class Server(Protocol):
    """A backend. `waiting`, `running` and `kv_usage` are what its own metrics would say now."""

    id: str
    faults: Faults
    running: int

    @property
    def waiting(self) -> int: ...
    @property
    def kv_usage(self) -> float: ...
    def submit(self, job: Job) -> None: ...
    def cached_tokens(self, ask: Ask) -> int: ...
    def emitted(self, job: Job) -> int:
        """Tokens that a job whose first token has come has made until now."""
        ...

    def slower(self, factor: float) -> None: ...


def refusal(faults: Faults, job: Job) -> tuple[str, float | None] | None:
    """The error with which a sick backend answers at once, and how long it asks to be left alone."""
    if faults.dead:
        return "CONNECT_FAILED", None
    if faults.limited:
        return "RATE_LIMITED", 1.0
    # The same requests fail whoever routes them.
    if faults.errors > 0.0 and (job.draw * 7919.0) % 1.0 < faults.errors:
        return "UPSTREAM_FAULT", None
    return None


class Engine:
    """One prompt at a time in the order of arrival, then decoding together: all at the pace of the present batch.

    Progress is counted in tokens that a sequence would have made since the start; every sequence of the batch makes the
    same, so the next to finish is the one with the least at which it will be done.
    """

    def __init__(self, truth: EngineTruth, loop: Loop, *, model_error: tuple[float, float], prefix_cache: bool) -> None:
        self.id = truth.id
        self.truth = truth
        self.faults = Faults()
        self.running = 0
        self._prefill_error, self._decode_error = model_error
        self._loop = loop
        self._queue: deque[Job] = deque()
        self._prefilling: Job | None = None
        self._decoding: list[tuple[float, int, Job]] = []
        self._sequence = 0
        self._tokens = 0.0
        self._share_s = 0.0
        self._joules = 0.0
        self._since = 0.0
        self._generation = 0
        self._kv_used = 0.0
        self._cache: OrderedDict[int, None] = OrderedDict()
        self._cache_blocks = int(truth.kv_tokens / BLOCK_TOKENS) if prefix_cache else 0

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def kv_usage(self) -> float:
        return min(1.0, self._kv_used / self.truth.kv_tokens)

    def submit(self, job: Job) -> None:
        sick = refusal(self.faults, job)
        if sick is not None:
            code, retry = sick
            self._loop.at(self._loop.now + REFUSED_S, lambda: job.owner.failed(job, code, retry))
            return
        self._queue.append(job)
        self._admit()

    def cached_tokens(self, ask: Ask) -> int:
        """Tokens of the prompt's beginning that the prefix cache holds."""
        hits = 0
        for block in ask.blocks:
            if block not in self._cache:
                break
            hits += 1
        return min(hits * BLOCK_TOKENS, ask.input_tokens - 1)

    def emitted(self, job: Job) -> int:
        self._advance()
        made = 1 + int((self._tokens - job.joined) / job.decode_noise)
        return min(made, job.ask.output_tokens)

    def slower(self, factor: float) -> None:
        """From now on all that it does takes `factor` times as long as when it was well."""
        self._advance()
        self.faults.slow = factor
        self._reschedule()

    def _admit(self) -> None:
        if self._prefilling is not None or not self._queue or self.running >= self.truth.max_batch:
            return
        job = self._queue[0]
        needs = job.ask.input_tokens + job.ask.output_tokens
        if self.running and self._kv_used + needs > self.truth.kv_tokens:
            return
        self._queue.popleft()
        self._kv_used += needs
        self.running += 1
        self._prefilling = job
        job.cached_tokens = self.cached_tokens(job.ask)
        self._remember(job.ask)
        fresh = job.ask.input_tokens - job.cached_tokens
        seconds = self.truth.prefill_s(fresh) * job.prefill_noise * self._prefill_error * self.faults.slow
        job.share_s += seconds
        job.joules += HOST_AND_BUILDING * self.truth.prefill_watts * seconds
        self._loop.at(self._loop.now + seconds, self._prefilled)

    def _prefilled(self) -> None:
        job = self._prefilling
        assert job is not None  # noqa: S101 - set by _admit, which scheduled this
        self._prefilling = None
        self._advance()
        left = (job.ask.output_tokens - 1) * job.decode_noise
        job.joined = self._tokens
        job.share_s -= self._share_s
        job.joules -= self._joules
        self._sequence += 1
        heappush(self._decoding, (self._tokens + left, self._sequence, job))
        self._reschedule()
        # The network is on the way of the first token; later ones follow it at their own pace.
        self._loop.at(self._loop.now + self.truth.rtt_s, lambda: job.owner.first_token(job))
        self._admit()

    def _advance(self) -> None:
        """Brings the counters up to now; the batch has not changed since they were."""
        elapsed = self._loop.now - self._since
        self._since = self._loop.now
        batch = len(self._decoding)
        if batch and elapsed > 0.0:
            self._tokens += elapsed / self._step_s(batch)
            self._share_s += elapsed / batch
            self._joules += HOST_AND_BUILDING * self.truth.watts[batch] * elapsed / batch

    def _step_s(self, batch: int) -> float:
        return self.truth.tpot_s[batch] * self._decode_error * self.faults.slow

    def _reschedule(self) -> None:
        self._generation += 1
        if not self._decoding:
            return
        generation = self._generation
        left = max(0.0, self._decoding[0][0] - self._tokens)
        self._loop.at(self._loop.now + left * self._step_s(len(self._decoding)), lambda: self._finish(generation))

    def _finish(self, generation: int) -> None:
        if generation != self._generation:
            return
        self._advance()
        _, _, job = heappop(self._decoding)
        job.share_s += self._share_s
        job.joules += self._joules
        self.running -= 1
        self._kv_used -= job.ask.input_tokens + job.ask.output_tokens
        self._reschedule()
        self._loop.at(self._loop.now + self.truth.rtt_s, lambda: job.owner.finished(job))
        self._admit()

    def _remember(self, ask: Ask) -> None:
        """Least recently used goes first."""
        if not self._cache_blocks:
            return
        cache = self._cache
        for block in ask.blocks:
            cache[block] = None
            cache.move_to_end(block)
        while len(cache) > self._cache_blocks:
            cache.popitem(last=False)


class Hosted:
    """Somebody else's service: as fast as measured calls were, within its limits of requests and tokens."""

    def __init__(self, truth: HostedTruth, loop: Loop, *, model_error: tuple[float, float]) -> None:
        self.id = truth.id
        self.truth = truth
        self.faults = Faults()
        self.running = 0
        self._ttft_error, self._tpot_error = model_error
        self._loop = loop
        self._requests = _Bucket(truth.requests_per_minute)
        self._tokens = _Bucket(truth.tokens_per_minute)

    @property
    def waiting(self) -> int:
        """It refuses, or begins at once."""
        return 0

    @property
    def kv_usage(self) -> float:
        return min(1.0, self.running / self.truth.max_concurrency)

    def cached_tokens(self, ask: Ask) -> int:  # noqa: ARG002 - nobody knows what a hosted service caches
        return 0

    def slower(self, factor: float) -> None:
        self.faults.slow = factor

    def emitted(self, job: Job) -> int:
        share = (self._loop.now - job.first_at) / job.joined if job.joined > 0.0 else 1.0
        return min(job.ask.output_tokens, 1 + int(share * (job.ask.output_tokens - 1)))

    def times(self, job: Job) -> tuple[float, float]:
        """(seconds to the first token, seconds of the rest)."""
        call = self.truth.calls[int(job.draw * len(self.truth.calls))]
        ttft = call.ttft_s * self._ttft_error * self.faults.slow
        return ttft, (job.ask.output_tokens - 1) * call.tpot_s * self._tpot_error * self.faults.slow

    def submit(self, job: Job) -> None:
        loop = self._loop
        sick = refusal(self.faults, job)
        if sick is None:
            wait = max(
                self._requests.wait_s(loop.now, 1.0),
                self._tokens.wait_s(loop.now, job.ask.input_tokens + job.ask.output_tokens),
                BUSY_S if self.running >= self.truth.max_concurrency else 0.0,
            )
            sick = ("RATE_LIMITED", wait) if wait > 0.0 else None
        if sick is not None:
            code, retry = sick
            loop.at(loop.now + REFUSED_S, lambda: job.owner.failed(job, code, retry))
            return
        self._requests.take(1.0)
        self._tokens.take(job.ask.input_tokens + job.ask.output_tokens)
        self.running += 1
        ttft, rest = self.times(job)
        job.joined = rest
        loop.at(loop.now + ttft, lambda: job.owner.first_token(job))
        loop.at(loop.now + ttft + rest, lambda: self._finish(job))

    def _finish(self, job: Job) -> None:
        self.running -= 1
        job.owner.finished(job)


class _Bucket:
    """A limit per minute that refills with time; full at the start."""

    def __init__(self, per_minute: float | None) -> None:
        self._rate = per_minute / 60.0 if per_minute else 0.0
        self._full = START_BURST_MINUTES * (per_minute or 0.0)
        self._left = self._full
        self._at = 0.0

    def wait_s(self, now: float, amount: float) -> float:
        """Seconds until so much may be taken; zero: now."""
        if not self._rate:
            return 0.0
        self._left = min(self._full, self._left + (now - self._at) * self._rate)
        self._at = now
        return max(0.0, (min(amount, self._full) - self._left) / self._rate)

    def take(self, amount: float) -> None:
        if self._rate:
            self._left -= amount
