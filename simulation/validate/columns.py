"""Which column of somebody's table holds what: by the names that people give them, with the units in those names."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from simulation.measured.row import NoTable

# Of each quantity, the names that stand for it when only letters and digits are compared; the first that fits wins.
NAMES: Final[dict[str, tuple[str, ...]]] = {
    quantity: tuple(names.split())
    for quantity, names in {
        "accelerator": "accelerator hardware gpumodel gpu gputype device acceleratortype hw chip provider",
        "count": "count numgpus ngpus gpus numgpu nacc naccelerators numaccelerators acceleratorcount hardwarecount "
        "gpucount numchips chips",
        "tensor_parallel": "tp tensorparallel tensorparallelsize tpsize decodetp",
        "model": "model modelid modelname llm",
        "batch": "batch avgbatchsize batchsize concurrency conc maxconcurrency concurrentrequests users numconcurrent "
        "running maxnumseqs bs",
        "context": "context contexttokens ctx contextlength avgcontext seqlen",
        "input": "inputlen isl inputtokens prompttokens inputlength promptsize avginputlen input",
        "output": "outputlen osl outputtokens avgoutputlen outputlength tokensize output",
        "tpot": "tpot mediantpot itl medianitl tokentime timeperoutputtoken intertokenlatency p50tpot p50itl meantpot "
        "avgtpot meanitl tpotp50 itlp50 tpotmedian",
        "rate": "tokensperseconduser tokspersecuser tokpersperuser interactivity medianintvty "
        "tokenspersecondperuser tokensperuser",
        "throughput": "tokenspersecond tokenspersec tokenspers tokspersecond tokspersec tokspers tokpersec tokpers "
        "toks tgtoks tgtokpers tps outputthroughput outputthroughputtokenspersec outputtokenspersecond "
        "outputtokenspersec throughput",
        "ttft": "ttft medianttft p50ttft meanttft prompttime timetofirsttoken avgttft",
        "precision": "precision weightprecision dtype weights weightsdtype quantization quant weightdtype",
        "expert_parallel": "ep expertparallel epsize expertparallelsize decodeep",
        "data_parallel": "dp dataparallel dpsize dataparallelsize replicas",
        "engine": "engine framework backend servingengine runtime software",
        "task": "task workload dataset",
        "drafts": "drafttokens speculativetokens numspeculativetokens",
        "drafting": "specdecoding speculative speculativedecoding specmethod spec mtp",
        "phase": "phase stage test",
        "acceptance": "draftacceptance acceptance acceptancerate",
    }.items()
}
REQUIRED: Final = ("accelerator", "model", "batch")
# Of a time, seconds per unit; a name or a header that says none leaves it to be inferred.
UNITS: Final = {
    "s": 1.0,
    "sec": 1.0,
    "secs": 1.0,
    "seconds": 1.0,
    "ms": 1e-3,
    "msec": 1e-3,
    "milliseconds": 1e-3,
    "us": 1e-6,
}
TIMES: Final = ("tpot", "ttft")


@dataclass(frozen=True)
class Columns:
    """`at` is the column of each quantity, `unit_s` the seconds of a unit of a time where its name says it."""

    at: dict[str, str]
    unit_s: dict[str, float] = field(default_factory=dict)

    @property
    def whole_answers(self) -> bool:
        """TPOT is over whole answers, unlike the latency between tokens (ITL), of which a median is of one step."""
        return "itl" not in _split(self.at.get("tpot", ""))[0] and "inter" not in self.at.get("tpot", "").lower()


def find(header: Sequence[str], given: Collection[str] = ()) -> Columns:
    """The columns of a header; those that are `given` otherwise may be missing.

    Raises:
        NoTable: one that is needed is not there; the message names it and what it may be called.
    """
    at: dict[str, str] = {}
    units: dict[str, float] = {}
    plain = [(_split(name), name) for name in header]
    for quantity, names in NAMES.items():
        for wanted in names:
            for (words, unit), name in plain:
                fits = words == wanted or (unit is not None and words + _last(name) == wanted)
                if fits and quantity not in at:
                    at[quantity] = name
                    if unit is not None and quantity in TIMES:
                        units[quantity] = unit
    for quantity in REQUIRED:
        if quantity not in at and quantity not in given:
            raise NoTable(_missing(quantity, header))
    if not {"tpot", "rate", "throughput"} & at.keys():
        raise NoTable(_missing("tpot", header))
    return Columns(at, units)


def _missing(quantity: str, header: Sequence[str]) -> str:
    return (
        f"no column for '{quantity}' (it may be called {', '.join(NAMES[quantity][:6])}, ...; what "
        f"holds for all rows may be given: --given {quantity}=...); "
        f"the columns are: {', '.join(header)}"
    )


def _last(name: str) -> str:
    return re.split(r"[^a-z0-9]+", name.lower().strip(" )]"))[-1]


def _split(name: str) -> tuple[str, float | None]:
    """A column's name without anything but letters and digits, and the unit at its end if there is one."""
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    if len(words) > 1 and words[-1] in UNITS:
        return "".join(words[:-1]), UNITS[words[-1]]
    return "".join(words), None
