"""Traces of real services: when requests came, how long prompts and answers were, which prompts shared a beginning.

Azure's CSV (TIMESTAMP, ContextTokens, GeneratedTokens), Mooncake's JSONL (timestamp in ms, input_length, output_length,
hash_ids of 512-token blocks), and any file with the columns of either.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

# Tokens of one block of Mooncake's prefix hashes.
BLOCK_TOKENS = 512
ARRIVAL = ("timestamp", "TIMESTAMP", "arrived_at", "at_s")
PROMPT = ("input_length", "ContextTokens", "num_prefill_tokens", "input_tokens")
ANSWER = ("output_length", "GeneratedTokens", "num_decode_tokens", "output_tokens")
BLOCKS = "hash_ids"
# Columns that count milliseconds; other numbers are seconds.
MILLISECONDS = "timestamp"


class TraceError(ValueError):
    """A trace that cannot be read; names the file, the line and the column."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of a trace. `at_s` counts from the first one; `blocks` are the hashes of its prompt's blocks."""

    number: int
    at_s: float
    input_tokens: int
    output_tokens: int
    interactive: bool = True
    blocks: tuple[int, ...] = ()


def read(path: Path, *, limit: int | None = None) -> list[Ask]:
    """The first `limit` requests of a trace in the order of their arrival.

    Raises:
        TraceError: it cannot be read, or holds no request.
    """
    asks: list[Ask] = []
    first: float | None = None
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for line, row in enumerate(_rows(path, file), start=2 if path.suffix == ".csv" else 1):
                at = _arrival(row, path, line)
                first = at if first is None else first
                asks.append(
                    Ask(
                        number=len(asks),
                        at_s=max(0.0, at - first),
                        input_tokens=max(1, _whole(row, PROMPT, path, line)),
                        output_tokens=max(1, _whole(row, ANSWER, path, line)),
                        blocks=_blocks(row, path, line),
                    )
                )
                if limit is not None and len(asks) >= limit:
                    break
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise TraceError(f"{path}: {error}") from None
    if not asks:
        raise TraceError(f"{path}: holds no request")
    asks.sort(key=lambda ask: ask.at_s)
    return [replace(ask, number=n) for n, ask in enumerate(asks)]


def scaled(asks: Iterable[Ask], *, load: float, interactive_share: float, seed: int) -> list[Ask]:
    """The same requests, `load` times as fast; who of them waits for the answer is drawn."""
    rng = random.Random(seed)
    return [replace(ask, at_s=ask.at_s / load, interactive=rng.random() < interactive_share) for ask in asks]


def section(asks: Sequence[Ask], number: int, count: int) -> list[Ask]:
    """The `number`th `count` requests, from 0, numbered and timed from their own first one."""
    count = min(count, len(asks))
    first = number * count % (len(asks) - count + 1) if len(asks) > count else 0
    start = asks[first].at_s
    return [replace(ask, number=n, at_s=ask.at_s - start) for n, ask in enumerate(asks[first : first + count])]


def _rows(path: Path, file: Iterable[str]) -> Iterator[Mapping[str, object]]:
    if path.suffix == ".csv":
        yield from csv.DictReader(file)
        return
    for line, text in enumerate(file, start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except ValueError as error:
            raise TraceError(f"{path}:{line}: no JSON: {error}") from None
        if not isinstance(row, dict):
            raise TraceError(f"{path}:{line}: expected an object")
        yield row


def _blocks(row: Mapping[str, object], path: Path, line: int) -> tuple[int, ...]:
    value = row.get(BLOCKS) or []
    if not isinstance(value, list) or not all(isinstance(block, int) for block in value):
        raise TraceError(f"{path}:{line}: {BLOCKS}: expected a list of whole numbers")
    return tuple(value)


def _find(row: Mapping[str, object], names: tuple[str, ...], path: Path, line: int) -> tuple[str, object]:
    for name in names:
        value = row.get(name)
        if value is not None and value != "":
            return name, value
    raise TraceError(f"{path}:{line}: none of the columns {', '.join(names)}; there are: {', '.join(map(str, row))}")


def _whole(row: Mapping[str, object], names: tuple[str, ...], path: Path, line: int) -> int:
    name, value = _find(row, names, path, line)
    try:
        return round(float(str(value)))
    except (ValueError, OverflowError):
        raise TraceError(f"{path}:{line}: {name}: expected a number, got '{value}'") from None


def _arrival(row: Mapping[str, object], path: Path, line: int) -> float:
    """Seconds."""
    name, value = _find(row, ARRIVAL, path, line)
    try:
        number = float(str(value))
    except ValueError:
        try:
            # Azure writes ten millionths of a second, one digit more than Python reads.
            return datetime.fromisoformat(str(value)[:26]).timestamp()
        except ValueError:
            raise TraceError(f"{path}:{line}: {name}: expected a time, got '{value}'") from None
    return number / 1000.0 if name == MILLISECONDS else number
