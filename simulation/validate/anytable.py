"""Reads anybody's table of TPOT measurements. A row that cannot be used is named with its reason, never dropped."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from router.domain.catalogue import Catalogue
from router.domain.hardware import Model
from router.prediction.physics import speed
from simulation.measured.accelerators import accelerator
from simulation.measured.models import Names, weight_bytes
from simulation.measured.row import Measured, NoTable, Unusable
from simulation.validate.columns import SECONDS_UP_TO, Columns, find, infer_unit
from simulation.validate.streams import Point

# Of a sequence where the table says nothing of lengths.
CONTEXT_TOKENS: Final = 1000.0
# Estimated, of a table that says "mtp" or "eagle" and no more: three drafts, of which 2.5 tokens a step come.
DRAFTING: Final = ("mtp", "eagle", "medusa", "draft")
DRAFT_TOKENS: Final = 3
DRAFT_ACCEPTANCE: Final = 0.7
ENGINES: Final = (("sglang", "sglang"), ("sgl", "sglang"), ("trt", "trtllm"), ("tensorrt", "trtllm"), ("vllm", "vllm"))


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
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            header = [name for name in reader.fieldnames or [] if name]
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise NoTable(f"{path}: {error}") from error
    if not header:
        raise NoTable(f"{path}: is empty")
    try:
        columns = find(header, given or {})
    except NoTable as error:
        raise NoTable(f"{path}: {error}") from error
    units, said = _units(columns, [row for _, row in rows])
    if not {"context", "input", "output"} & columns.at.keys():
        said.append(f"no column for context or lengths: {CONTEXT_TOKENS:.0f} tokens are assumed")
    reading = _Reading(str(path), columns, units, catalogue, given or {})
    table = Table([], [], said)
    for line, row in rows:
        try:
            table.points.append(reading.point(line, row))
        except Unusable as error:
            table.unusable.append((line, str(error)))
    if columns.whole_answers and {"input", "output"} <= columns.at.keys():
        said.append(
            f"'{columns.at.get('tpot', columns.at.get('rate'))}' is over whole answers: prefills of others count"
        )
    guessed = sorted({point.row.name for point in table.points if point.model.guessed})
    if guessed:
        said.append(f"not in the catalogue, so guessed from their names: {', '.join(guessed)}")
    return table


def _units(columns: Columns, rows: list[dict[str, str]]) -> tuple[dict[str, float], list[str]]:
    units, said = dict(columns.unit_s), []
    for quantity in SECONDS_UP_TO:
        if quantity in columns.at and quantity not in units:
            name = columns.at[quantity]
            values = [value for row in rows if (value := _number(row.get(name))) is not None]
            units[quantity] = infer_unit(quantity, values)
            said.append(f"column '{name}' says no unit: read as {'ms' if units[quantity] < 1.0 else 's'}")
    return units, said


@dataclass(frozen=True)
class _Reading:
    source: str
    columns: Columns
    units: dict[str, float]
    catalogue: Catalogue
    given: Mapping[str, str]

    def point(self, line: int, row: dict[str, str]) -> Point:
        name = self._text(row, "model")
        said = self._text(row, "accelerator")
        if not name or not said:
            raise Unusable("no model" if not name else "no accelerator")
        known = accelerator(said)
        if known is None or known[0] not in self.catalogue.hardware:
            raise Unusable(f"unknown accelerator '{said}'")
        model = Names(self.catalogue).find(name)
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
        count = self._count(row, known[1])
        expert_parallel = (self._value(row, "expert_parallel") or 1.0) > 1.0
        replicas = 1
        data_parallel = int(self._value(row, "data_parallel") or 1)
        if data_parallel > 1 and not expert_parallel and count % data_parallel == 0:
            replicas = data_parallel  # copies side by side, that share the load
        batch = self._positive(row, "batch") / replicas
        precision = self._text(row, "precision")
        weight = weight_bytes(name, model, self.catalogue.hardware[known[0]], count, precision)
        engine = self._text(row, "engine").lower()
        prompt, context = self._lengths(row)
        first = self._value(row, "ttft")
        drafts, acceptance = self._drafts(row)
        return Measured(
            source=self.source,
            line=line,
            accelerator=known[0],
            count=count // replicas,
            model=model.id,
            bytes_per_weight=weight,
            batch=max(1.0, batch),
            context_tokens=context,
            tpot_s=self._tpot(row),
            ttft_s=None if first is None else first * self.units["ttft"],
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
        if not drafts and any(word in self._text(row, "drafting").lower() for word in DRAFTING):
            drafts = DRAFT_TOKENS
        return drafts, (self._value(row, "acceptance") or DRAFT_ACCEPTANCE) if drafts else 0.0

    def _count(self, row: dict[str, str], by_name: int | None) -> int:
        count = self._value(row, "count")
        tensor = self._value(row, "tensor_parallel")
        if count is None:
            count = tensor if tensor is not None else float(by_name or 1)
        if count < 1 or count != int(count):
            raise Unusable(f"column '{self.columns.at.get('count', 'count')}' is {count:g}: not a number of devices")
        return int(count)

    def _lengths(self, row: dict[str, str]) -> tuple[float | None, float]:
        """(Prompt, what a sequence holds on average) in tokens."""
        prompt, output, context = (self._value(row, name) for name in ("input", "output", "context"))
        if context is not None:
            return prompt, max(1.0, context)
        if prompt is None and output is None:
            return None, CONTEXT_TOKENS
        return prompt, max(1.0, (prompt if prompt is not None else 0.25 * CONTEXT_TOKENS) + 0.5 * (output or 0.0))

    def _tpot(self, row: dict[str, str]) -> float:
        if "tpot" in self.columns.at:
            return self._positive(row, "tpot") * self.units["tpot"]
        return 1.0 / self._positive(row, "rate")

    def _text(self, row: dict[str, str], quantity: str) -> str:
        return (row.get(self.columns.at.get(quantity, "")) or self.given.get(quantity, "")).strip()

    def _value(self, row: dict[str, str], quantity: str) -> float | None:
        text = self._text(row, quantity)
        if not text:
            return None
        value = _number(text)
        if value is None:
            if text.lower() in {"true", "yes", "on"}:
                return 2.0
            if text.lower() in {"false", "no", "off", "none", "n/a", "nan", "null", "-"}:
                return None
            raise Unusable(f"column '{self.columns.at.get(quantity, quantity)}' is '{text[:40]}': not a number")
        return value

    def _positive(self, row: dict[str, str], quantity: str) -> float:
        value = self._value(row, quantity)
        if value is None:
            raise Unusable(f"column '{self.columns.at.get(quantity, quantity)}' is empty")
        if not value > 0.0:
            raise Unusable(f"column '{self.columns.at.get(quantity, quantity)}' is {value:g}: not above 0")
        return value


def _number(text: object) -> float | None:
    try:
        value = float(str(text).replace(",", ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
