"""One measurement, whoever made it."""

from __future__ import annotations

from dataclasses import dataclass


class Unusable(ValueError):
    """A row of a table that says too little, or nonsense; the message is the reason."""


class NoTable(ValueError):
    """A table or a folder of them that cannot be read; the message says what is missing and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One point: so many sequences decoding at once on one replica, and the time of a token as each of them sees it.

    `accelerator` is an id of hardware.yaml, `model` of models.yaml or the name as it stood when that has none.
    `count` are the devices of one replica and `batch` the sequences on it, never those of all replicas. What a sequence
    holds in its cache on average is `context_tokens`: prompt and half of the answer. `whole_answers` says that TPOT is
    the mean over an answer, prefills of others in between included, and not the median time of a step.
    """

    source: str
    line: int
    accelerator: str
    count: int
    model: str
    bytes_per_weight: float
    batch: float
    context_tokens: float
    tpot_s: float
    ttft_s: float | None = None
    prompt_tokens: float | None = None
    output_tokens: float | None = None
    whole_answers: bool = False
    bytes_per_kv: float = 2.0
    expert_parallel: bool = False
    data_parallel: int = 1
    draft_tokens: int = 0
    draft_acceptance: float = 0.0
    engine: str = ""
    task: str = ""
    name: str = ""

    @property
    def stream(self) -> tuple[str, str, int]:
        """What one backend would be: its observations are told to one belief."""
        return (self.name or self.model, self.accelerator, self.count)
