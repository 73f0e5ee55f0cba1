"""The lines of the decision log: one JSON object a line, `k` says which kind.

    {"k":"log", ...}        the first of a segment: format, replica, when it began
    {"k":"doc", ...}        a document of the configuration; it holds from here on
    {"k":"state", "n":...}  what had been learnt about a backend with a model; candidates refer to it by `n`
    {"k":"decision", ...}   one request: asked, decided, predicted, and how it went. Never the prompt

A segment needs no other one to be read. Values that are as at the start are left out.
"""

from __future__ import annotations

from typing import Any

import msgspec

from router.domain.request import RequestProfile

FORMAT = 1
SUFFIX = ".decisions"


class LogLine(msgspec.Struct, tag_field="k", tag="log", frozen=True, omit_defaults=True):
    """Begins a segment."""

    format: int
    replica: str
    began: float


class DocLine(msgspec.Struct, tag_field="k", tag="doc", frozen=True, omit_defaults=True):
    """A document of the configuration; `doc` null: there is none any more."""

    kind: str
    id: str
    doc: msgspec.Raw
    version: int = 0


class StateLine(msgspec.Struct, tag_field="k", tag="state", frozen=True, omit_defaults=True):
    """What had been learnt about a backend with a model."""

    n: int
    learned: dict[str, Any]


class Considered(msgspec.Struct, frozen=True, omit_defaults=True):
    """A candidate: its state and what was predicted. Times are means in seconds, `*_sd` of the logarithm.

    `quality` is mean and weight of the belief on the request's task, where answers have been graded.
    """

    backend: str
    model: str
    state: int
    live: dict[str, Any] = {}
    ttft_s: float = 0.0
    ttft_sd: float = 0.0
    tpot_s: float = 0.0
    tpot_sd: float = 0.0
    e2e_s: float = 0.0
    output_tokens: float = 0.0
    cost_usd: float = 0.0
    energy_j: float = 0.0
    carbon_g: float = 0.0
    p_ttft: float = 1.0
    p_tpot: float = 1.0
    p_e2e: float = 1.0
    objective_usd: float = 0.0
    quality: tuple[float, float] | None = None


class Dropped(msgspec.Struct, frozen=True, omit_defaults=True):
    """A backend that was not considered, and its state."""

    backend: str
    model: str
    reason: str
    state: int = -1
    live: dict[str, Any] = {}


class Actual(msgspec.Struct, frozen=True, omit_defaults=True):
    """How it went; `backend` is who answered, or was tried last."""

    backend: str = ""
    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    energy_j: float = 0.0
    attempts: list[tuple[str, str, float]] = []


class DecisionLine(msgspec.Struct, tag_field="k", tag="decision", frozen=True, omit_defaults=True):
    """One decided request.

    Attributes:
        at: Unix seconds; `clock_s` the same moment on the clock of the process, which `live` and deadlines go by.
        snapshot: the fleet version, `age_s` old.
        weight: for how many requests it stands; those that failed or missed an objective are all kept.
        draws: the random numbers that were drawn.
        candidates: the chosen one first, then the best; `order` is how the fleet has them, `more` how many are left
            out.
        drops: some of those dropped, with their state; `drop_counts` all of them by reason.
        prefixed: the prompt's beginning was looked up: `cached` are its tokens that each backend was believed to hold,
            `seed` what keeps equal beginnings together.
        lengths: of each model's answer: mean, variance, 90 % quantile, mean and deviation of the logarithm, in tokens.
        money: what a dollar counted for the tenant.
        missed: an objective was missed.
    """

    id: str
    at: float
    clock_s: float
    profile: dict[str, Any]
    workload: str
    result: str
    snapshot: int = 0
    age_s: float = 0.0
    weight: float = 1.0
    draws: list[float] = []
    candidates: list[Considered] = []
    order: list[int] = []
    more: int = 0
    drops: list[Dropped] = []
    drop_counts: dict[str, int] = {}
    prefixed: bool = False
    cached: dict[str, float] = {}
    seed: str = ""
    lengths: dict[str, tuple[float, float, float, float, float]] = {}
    money: float = 1.0
    slo: dict[str, float] = {}
    missed: bool = False
    actual: Actual = Actual()

    @property
    def chosen(self) -> str:
        """The backend that was chosen; "" for none."""
        return self.candidates[0].backend if self.candidates else ""


Line = LogLine | DocLine | StateLine | DecisionLine
encode = msgspec.json.Encoder(order="deterministic").encode
decode = msgspec.json.Decoder(Line).decode

_PLAIN: dict[str, Any] = msgspec.to_builtins(RequestProfile(request_id="", model=""), order="deterministic")
# Of no use to a decision, or somebody else's secret.
_LEFT_OUT = frozenset({"request_id", "idempotency_key", "explain", "blocks"})


def tell_profile(profile: RequestProfile) -> dict[str, Any]:
    """A profile without what is as in any other."""
    told: dict[str, Any] = msgspec.to_builtins(profile, order="deterministic")
    return {
        name: value for name, value in told.items() if name not in _LEFT_OUT and value != _PLAIN.get(name, object())
    }


def read_profile(line: DecisionLine) -> RequestProfile:
    """The profile as it was asked.

    Raises:
        msgspec.ValidationError: it is not one.
    """
    # What a newer version knows of a request and this one does not is passed over.
    known = {name: value for name, value in line.profile.items() if name in _PLAIN}
    # Of the blocks nothing is kept but that there were some, and what was found by them.
    blocks = [0] if line.prefixed else []
    return msgspec.convert({**_PLAIN, **known, "request_id": line.id, "blocks": blocks}, RequestProfile)
