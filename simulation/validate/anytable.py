"""Reads anybody's table of TPOT measurements. A row that cannot be used is named with its reason, never dropped."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from router.domain.catalogue import Catalogue
from router.domain.hardware import Model
from router.prediction.physics import speed
from simulation.measured.accelerators import accelerator
from simulation.measured.models import Names, weight_bytes
from simulation.measured.row import Measured, NoTable, Unusable
from simulation.validate.cells import Cells, cells, number
from simulation.validate.columns import Columns, find
from simulation.validate.streams import Point

# Of a sequence where the table says nothing of lengths.
CONTEXT_TOKENS: Final = 1000.0
PROMPT_TOKENS: Final = 250.0
GGUF: Final = re.compile(r"(?<![a-z0-9])(i?q\d_[k\d]|gguf)")
# llama-bench calls them pp512 and tg128.
PREFILL: Final = ("prompt", "prefill", "pp")
YES: Final = frozenset({"true", "yes", "on"})
NO: Final = frozenset({"false", "no", "off", "none", "n/a", "na", "nan", "null", "-", "?"})
# What "yes" stands for where a number is expected; more of a number is one that somebody wrote.
SPREAD: Final = 2.0
# No forecast that is worth its name is so far off.
FAR: Final = 100.0
NAMED_MOST: Final = 20
UNITS: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
# Estimated, of a table that says "mtp" or "eagle" and no more: three drafts, of which 2.5 tokens a step come.
DRAFTING: Final = ("mtp", "eagle", "medusa", "draft")
DRAFT_TOKENS: Final = 3
DRAFT_ACCEPTANCE: Final = 0.7
ENGINES: Final = (
    ("sglang", "sglang"),
    ("sgl", "sglang"),
    ("trt", "trtllm"),
    ("tensorrt", "trtllm"),
    ("vllm", "vllm"),
    ("llama", "llama_cpp"),
    ("gguf", "llama_cpp"),
)


@dataclass(frozen=True)
class Table:
    """`said` is what had to be assumed, for the reader to know; `unusable` the lines left out, each with its reason."""

    points: list[Point]
    unusable: list[tuple[int, str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def read(path: Path, catalogue: Catalogue, given: Mapping[str, str] | None = None) -> Table:
    """The points of a CSV file, each with the router's prior for it; `given` is what holds for all of its rows.

    Raises:
        NoTable: it is no table, or lacks a column.
    """
    file = cells(path)
    try:
        columns = find(file.header, given or {})
    except NoTable as error:
        raise NoTable(f"{path}: {error}") from error
    reading = _Reading(str(path), columns, file, catalogue, Names(catalogue), given or {})
    table = Table([], [(line, _uneven(found, len(file.header))) for line, found in file.uneven], list(file.said))
    for line, row in file.rows:
        try:
            table.points.append(reading.point(line, row))
        except Unusable as error:
            table.unusable.append((line, str(error)))
    table.unusable.sort()
    table.said.extend(said for said in (_in_units(columns, table.points), *_assumed(columns, reading.assumed)) if said)
    guessed = sorted({point.row.name for point in table.points if point.model.guessed})
    if guessed:
        table.said.append(f"not in the catalogue, so guessed from their names: {', '.join(guessed)}")
    far = [str(point.row.line) for point in table.points if _far(point)]
    if far:
        table.said.append(f"more than {FAR:.0f} times off, of another unit perhaps: line {', '.join(far[:NAMED_MOST])}")
    if "ttft" in columns.at:
        table.said.append(f"'{columns.at['ttft']}' is not judged: most of it is waiting, which no column tells")
    if not file.rows and not file.uneven:
        table.said.append("the file has a header and no rows")
    return table


def _uneven(found: int, columns: int) -> str:
    return f"{found} cells for {columns} columns: a number with a separator in it has to be in quotes"


def _in_units(columns: Columns, points: list[Point]) -> str:
    """Settles what a column without a unit means: what is nearest to what was forecast, powers of ten apart.

    A rate that does not say of whom is of one user or of all of them. Returns what was assumed, or nothing.
    """
    name = columns.at.get("tpot")
    if not points or (name is not None and "tpot" in columns.unit_s) or (name is None and "rate" in columns.at):
        return ""
    off = sorted(math.log(point.row.tpot_s / point.prior_s) for point in points)
    if name is not None:
        middle = off[len(off) // 2]
        unit = min(UNITS, key=lambda unit: abs(middle + math.log(UNITS[unit])))
        points[:] = [_times(point, UNITS[unit]) for point in points]
        return f"column '{name}' says no unit: read as {unit}"
    each = sorted(math.log(point.row.tpot_s * point.row.batch / point.prior_s) for point in points)
    if abs(off[len(off) // 2]) <= abs(each[len(each) // 2]):
        return f"'{columns.at['throughput']}' is read as the tokens of one user"
    points[:] = [_times(point, point.row.batch) for point in points]
    return f"'{columns.at['throughput']}' is read as the tokens of all users"


def _far(point: Point) -> bool:
    return abs(math.log(point.row.tpot_s / point.prior_s)) > math.log(FAR)


def _times(point: Point, factor: float) -> Point:
    return replace(point, row=replace(point.row, tpot_s=point.row.tpot_s * factor))


def _assumed(columns: Columns, assumed: Counter[str]) -> list[str]:
    """What the reader of a table has to know of how it was read."""
    said = [f"{what} ({lines} lines)" for what, lines in assumed.items()]
    batch = columns.at.get("batch")
    if batch is not None:
        said.append(f"'{batch}' is of one replica on `count` accelerators; copies side by side (dp, no ep) share it")
    if "input" in columns.at and "context" not in columns.at:
        said.append("a sequence holds its prompt and half of its answer on average")
    if columns.whole_answers and {"input", "output"} <= columns.at.keys():
        name = next(columns.at[of] for of in ("tpot", "rate", "throughput") if of in columns.at)
        said.append(f"'{name}' is over whole answers: prefills of others count")
    return said


@dataclass(frozen=True)
class _Reading:
    source: str
    columns: Columns
    file: Cells
    catalogue: Catalogue
    names: Names
    given: Mapping[str, str]
    assumed: Counter[str] = field(default_factory=Counter)

    def point(self, line: int, row: dict[str, str]) -> Point:
        name = self._text(row, "model")
        said = self._text(row, "accelerator")
        if not name or not said:
            raise Unusable("no model" if not name else "no accelerator")
        phase = self._text(row, "phase")
        if phase.lower().startswith(PREFILL):
            raise Unusable(f"column '{self.columns.at['phase']}' is '{phase}': not of decoding")
        known = accelerator(said)
        if known is None or known[0] not in self.catalogue.hardware:
            raise Unusable(f"unknown accelerator '{said}': hardware.yaml has no figures for it")
        model = self.names.find(name)
        if model is None:
            raise Unusable(f"unknown model '{name}', and its name says no size")
        measured = self._measured(line, row, name, model, known)
        hardware = self.catalogue.hardware[measured.accelerator]
        pace = speed(
            model,
            hardware,
            count=measured.count,
            bytes_per_weight=measured.bytes_per_weight,
            bytes_per_kv=measured.bytes_per_kv,
            expert_parallel=measured.expert_parallel,
            draft_tokens=measured.draft_tokens,
            draft_acceptance=measured.draft_acceptance,
            engine=measured.engine,
        )
        prior = pace.tpot_s(measured.batch, measured.context_tokens)
        if measured.whole_answers and measured.prompt_tokens and measured.output_tokens:
            prior = pace.answer_tpot_s(
                measured.batch, measured.context_tokens, measured.prompt_tokens, measured.output_tokens
            )
        return Point(measured, prior, model, hardware)

    def _measured(
        self, line: int, row: dict[str, str], name: str, model: Model, known: tuple[str, int | None]
    ) -> Measured:
        expert_parallel = (self._value(row, "expert_parallel") or 1.0) > 1.0
        data_parallel = max(1, int(self._value(row, "data_parallel") or 1))
        count = self._count(row, known[1], data_parallel)
        replicas = 1
        if not expert_parallel and count % data_parallel == 0:
            replicas = data_parallel  # copies side by side, that share the load
            count //= replicas
        batch = self._positive(row, "batch") / replicas
        precision = self._text(row, "precision")
        if not precision:
            self.assumed["no precision: by the model's name, else as its maker serves it, where it fits"] += 1
        weight = weight_bytes(name, model, self.catalogue.hardware[known[0]], count, precision)
        engine = self._text(row, "engine").lower()
        if not engine and GGUF.search(f"{name} {precision}".lower()):
            engine = "llama_cpp"
            self.assumed["a quantisation of GGUF: llama.cpp, which works through several devices one by one"] += 1
        prompt, context = self._lengths(row)
        drafts, acceptance = self._drafts(row)
        return Measured(
            source=self.source,
            line=line,
            accelerator=known[0],
            count=count,
            model=model.id,
            bytes_per_weight=weight,
            batch=max(1.0, batch),
            context_tokens=context,
            tpot_s=self._tpot(row),
            ttft_s=self._seconds(row, "ttft"),
            prompt_tokens=prompt,
            output_tokens=self._value(row, "output"),
            whole_answers=self.columns.whole_answers,
            expert_parallel=expert_parallel,
            data_parallel=data_parallel,
            draft_tokens=drafts,
            draft_acceptance=acceptance,
            engine=next((known for word, known in ENGINES if word in engine), engine),
            task=self._text(row, "task"),
            # Two precisions or two ways to spread one model are two backends.
            name=" ".join(
                part
                for part in (name, precision, engine, "ep" if expert_parallel else "", "drafts" if drafts else "")
                if part
            ),
        )

    def _drafts(self, row: dict[str, str]) -> tuple[int, float]:
        """(Tokens drafted at each step, share of them that is right)."""
        drafts = int(self._value(row, "drafts") or 0)
        said = self._text(row, "drafting").lower()
        if not drafts and (said in YES or any(word in said for word in DRAFTING)):
            drafts = DRAFT_TOKENS
            self.assumed[f"drafts of {DRAFT_TOKENS} tokens a step, {DRAFT_ACCEPTANCE:.0%} of them right"] += 1
        return drafts, (self._value(row, "acceptance") or DRAFT_ACCEPTANCE) if drafts else 0.0

    def _count(self, row: dict[str, str], by_name: int | None, data_parallel: int) -> int:
        """Devices of all copies."""
        column, count = "count", self._value(row, "count")
        if count is None:
            column, count = "tensor_parallel", self._value(row, "tensor_parallel")
            experts = self._value(row, "expert_parallel") or 1.0
            if count is not None and experts > SPREAD:
                count = max(count, experts)  # attention may be in copies on the same devices
            elif count is not None:
                count *= data_parallel
        if count is None:
            count = float(by_name or 1)
            if by_name is None:
                self.assumed["no number of accelerators: one"] += 1
        if count < 1 or count != int(count):
            raise Unusable(f"column '{self.columns.at.get(column, column)}' is {count:g}: not a number of devices")
        return int(count)

    def _lengths(self, row: dict[str, str]) -> tuple[float | None, float]:
        """(Prompt, what a sequence holds on average) in tokens."""
        prompt, output, context = (self._not_negative(row, name) for name in ("input", "output", "context"))
        if context is not None:
            return prompt, max(1.0, context)
        if prompt is None and output is None:
            self.assumed[f"no context or lengths: {CONTEXT_TOKENS:.0f} tokens"] += 1
            return None, CONTEXT_TOKENS
        if prompt is None:
            self.assumed[f"no length of prompts: {PROMPT_TOKENS:.0f} tokens"] += 1
        return prompt, max(1.0, (PROMPT_TOKENS if prompt is None else prompt) + 0.5 * (output or 0.0))

    def _tpot(self, row: dict[str, str]) -> float:
        if "tpot" in self.columns.at:
            self._positive(row, "tpot")
            return self._seconds(row, "tpot") or 0.0
        return 1.0 / self._positive(row, "rate" if "rate" in self.columns.at else "throughput")

    def _seconds(self, row: dict[str, str], quantity: str) -> float | None:
        """In the unit behind the number, else that of the column, else as it stands."""
        value = self._value(row, quantity)
        said = number(self._text(row, quantity), decimal_comma=self.file.decimal_comma)
        unit = said[1] if said is not None else None
        return None if value is None else value * (unit or self.columns.unit_s.get(quantity, 1.0))

    def _text(self, row: dict[str, str], quantity: str) -> str:
        return (row.get(self.columns.at.get(quantity, "")) or self.given.get(quantity, "")).strip()

    def _value(self, row: dict[str, str], quantity: str) -> float | None:
        text = self._text(row, quantity)
        if not text:
            return None
        said = number(text, decimal_comma=self.file.decimal_comma)
        if said is not None:
            return said[0]
        if text.lower() in YES:
            return SPREAD
        if text.lower() in NO:
            return None
        raise Unusable(f"column '{self.columns.at.get(quantity, quantity)}' is '{text[:40]}': not a number")

    def _not_negative(self, row: dict[str, str], quantity: str) -> float | None:
        value = self._value(row, quantity)
        if value is not None and value < 0.0:
            raise Unusable(f"column '{self.columns.at[quantity]}' is {value:g}: below 0")
        return value

    def _positive(self, row: dict[str, str], quantity: str) -> float:
        value = self._value(row, quantity)
        if value is None:
            raise Unusable(f"column '{self.columns.at.get(quantity, quantity)}' is empty")
        if not value > 0.0:
            raise Unusable(f"column '{self.columns.at.get(quantity, quantity)}' is {value:g}: not above 0")
        return value
