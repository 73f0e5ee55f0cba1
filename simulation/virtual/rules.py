"""Rules of other routers, each with its published constants and the best information that it could have.

Nothing of ours is in them but the predictor where it says so; nothing of theirs was tuned. Each formula names where it
is from; [mem] marks what was written from memory.
"""

from __future__ import annotations

import math
import random
from collections import deque

from simulation.virtual.policy import Rule, SeenBackend, Served
from simulation.virtual.traces import BLOCK_TOKENS, Ask

# Finagle's default decay of the peak EWMA [mem].
EWMA_S = 10.0
# LiteLLM, router_strategy/lowest_latency.py: routing_args.max_latency_list_size.
LATENCIES = 10
# The weights of the scorers in the chart of the gateway API inference extension [mem].
LLMD_QUEUE, LLMD_KV, LLMD_PREFIX = 2.0, 2.0, 3.0
# Dynamo's documentation: kv-overlap-score-weight 1, temperature 0; its example of a block.
DYNAMO_OVERLAP, DYNAMO_BLOCK = 1.0, 64.0
# Tokens per hour of a replica at full load: what a price per hour is compared with a price per token by.
FULL_LOAD_TOKENS_PER_S = 4_000.0


class Random(Rule):
    """Any."""

    name = "random"

    def choose(self, ask: Ask, usable: list[SeenBackend], now: float) -> str:  # noqa: ARG002 - the protocol's signature
        return self.rng.choice(usable).id


class RoundRobin(Rule):
    """Each in turn."""

    name = "round-robin"

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._turn = rng.randrange(1_000)

    def choose(self, ask: Ask, usable: list[SeenBackend], now: float) -> str:  # noqa: ARG002 - the protocol's signature
        self._turn += 1
        return usable[self._turn % len(usable)].id


class PowerOfTwo(Rule):
    """Of two drawn the one with less in flight for its size (DECISION 1.5)."""

    name = "power-of-two"

    def choose(self, ask: Ask, usable: list[SeenBackend], now: float) -> str:  # noqa: ARG002 - the protocol's signature
        if len(usable) == 1:
            return usable[0].id
        return min(self.rng.sample(usable, 2), key=lambda s: s.in_flight / s.max_concurrency).id


class PeakEwma(Rule):
    """Finagle's peak EWMA, of two drawn [mem]: cost = ewma * (pending + 1).

    The EWMA of the answer's time jumps up at once and decays with 10 s. A backend that has not answered yet
    costs nothing while nothing is pending, and all if something is.
    """

    name = "peak-ewma"

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._ewma: dict[str, tuple[float, float]] = {}

    def choose(self, ask: Ask, usable: list[SeenBackend], now: float) -> str:  # noqa: ARG002 - the protocol's signature
        if len(usable) == 1:
            return usable[0].id
        return min(self.rng.sample(usable, 2), key=lambda s: self._cost(s, now)).id

    def _cost(self, seen: SeenBackend, now: float) -> float:
        if seen.id not in self._ewma:
            return math.inf if seen.in_flight else 0.0
        value, at = self._ewma[seen.id]
        # It decays towards nothing while nothing is heard, so that a slow one is tried again.
        return value * math.exp(-(now - at) / EWMA_S) * (seen.in_flight + 1.0)

    def finished(self, ask: Ask, backend: SeenBackend, now: float, served: Served) -> None:  # noqa: ARG002 - the protocol's signature
        value, at = self._ewma.get(backend.id, (0.0, now))
        keep = math.exp(-(now - at) / EWMA_S)
        seen = served.e2e_s
        self._ewma[backend.id] = (seen if seen > value else value * keep + seen * (1.0 - keep), now)


class LiteLlmLatency(Rule):
    """LiteLLM's latency-based routing for streams: the least mean of the last ten times to the first token.

    router_strategy/lowest_latency.py at 015b945: one that has not been used counts as 0, ties are drawn, buffer 0.
    """

    name = "litellm-latency"

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._ttft: dict[str, deque[float]] = {}

    def choose(self, ask: Ask, usable: list[SeenBackend], now: float) -> str:  # noqa: ARG002 - the protocol's signature
        means = {s.id: self._mean(s.id) for s in usable}
        least = min(means.values())
        return self.rng.choice([name for name, mean in means.items() if mean <= least])

    def _mean(self, name: str) -> float:
        seen = self._ttft.get(name)
        return sum(seen) / len(seen) if seen else 0.0

    def finished(self, ask: Ask, backend: SeenBackend, now: float, served: Served) -> None:  # noqa: ARG002 - the protocol's signature
        self._ttft.setdefault(backend.id, deque(maxlen=LATENCIES)).append(served.ttft_s)


class LiteLlmCost(Rule):
    """LiteLLM's cost-based routing: the least sum of the prices of a token in and a token out.

    router_strategy/lowest_cost.py at 03a79b6. It knows prices per token only, so a price per hour is turned into one
    by the throughput of a full replica.
    """

    name = "litellm-cost"

    def choose(self, ask: Ask, usable: list[SeenBackend], now: float) -> str:  # noqa: ARG002 - the protocol's signature
        return min(usable, key=_per_token).id


def _per_token(seen: SeenBackend) -> float:
    price = seen.price
    if price is None:
        return 10.0
    if price.usd_per_hour is not None:
        return price.elastic_fraction * price.usd_per_hour / 3600.0 / FULL_LOAD_TOKENS_PER_S * 2.0
    return ((price.input_usd_per_mtok or 0.0) + (price.output_usd_per_mtok or 0.0)) * 1e-6


class LlmD(Rule):
    """llm-d and the inference extension: a weighted sum of scores in 0 to 1, the greatest wins, ties are drawn.

    queue-scorer (max - waiting) / (max - min), 1 for all when equal (scorer/queue.go at 02308be); kv-cache-utilization
    1 - usage; prefix-cache the share of the prompt's blocks that the replica holds.
    """

    name = "llm-d"

    def choose(self, ask: Ask, usable: list[SeenBackend], now: float) -> str:  # noqa: ARG002 - the protocol's signature
        most = max(s.waiting for s in usable)
        least = min(s.waiting for s in usable)
        blocks = max(1.0, ask.input_tokens / BLOCK_TOKENS)
        scores: dict[str, float] = {}
        for seen in usable:
            queue = 1.0 if most == least else (most - seen.waiting) / (most - least)
            prefix = min(1.0, seen.cached_tokens(ask) / BLOCK_TOKENS / blocks) if ask.blocks else 0.0
            scores[seen.id] = LLMD_QUEUE * queue + LLMD_KV * (1.0 - seen.kv_usage) + LLMD_PREFIX * prefix
        best = max(scores.values())
        return self.rng.choice([name for name, score in scores.items() if score >= best - 1e-12])


class Dynamo(Rule):
    """Dynamo's KV router: overlap weight * blocks still to prefill + blocks in decode, the least wins (DECISION 1.1).

    It follows its own requests: their prompts' blocks until the first token, all of their blocks until the end.
    """

    name = "dynamo"

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._prefill: dict[str, float] = {}
        self._decode: dict[str, float] = {}
        self._new: dict[int, float] = {}

    def choose(self, ask: Ask, usable: list[SeenBackend], now: float) -> str:  # noqa: ARG002 - the protocol's signature
        costs = {s.id: self._cost(s, ask) for s in usable}
        least = min(costs.values())
        return self.rng.choice([name for name, cost in costs.items() if cost <= least])

    def _cost(self, seen: SeenBackend, ask: Ask) -> float:
        prompt = math.ceil(ask.input_tokens / DYNAMO_BLOCK)
        overlap = seen.cached_tokens(ask) // DYNAMO_BLOCK
        prefill = self._prefill.get(seen.id, 0.0) + prompt - overlap
        return DYNAMO_OVERLAP * prefill + self._decode.get(seen.id, 0.0) + prompt

    def begun(self, ask: Ask, backend: SeenBackend, now: float) -> None:  # noqa: ARG002 - the protocol's signature
        prompt = math.ceil(ask.input_tokens / DYNAMO_BLOCK)
        new = prompt - backend.cached_tokens(ask) // DYNAMO_BLOCK
        self._new[ask.number] = new
        self._prefill[backend.id] = self._prefill.get(backend.id, 0.0) + new
        self._decode[backend.id] = self._decode.get(backend.id, 0.0) + prompt

    def first_token(self, ask: Ask, backend: SeenBackend, now: float, ttft_s: float) -> None:  # noqa: ARG002 - the protocol's signature
        self._prefill[backend.id] -= self._new.pop(ask.number, 0.0)

    def finished(self, ask: Ask, backend: SeenBackend, now: float, served: Served) -> None:  # noqa: ARG002 - the protocol's signature
        self._decode[backend.id] -= math.ceil(ask.input_tokens / DYNAMO_BLOCK)

    def failed(self, ask: Ask, backend: SeenBackend, now: float) -> None:  # noqa: ARG002 - the protocol's signature
        self._prefill[backend.id] -= self._new.pop(ask.number, 0.0)
        self._decode[backend.id] -= math.ceil(ask.input_tokens / DYNAMO_BLOCK)


RULES = (Random, RoundRobin, PowerOfTwo, PeakEwma, LiteLlmLatency, LiteLlmCost, LlmD, Dynamo)
