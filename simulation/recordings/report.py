"""What came of a folder of recordings: a table by provider, why some are not applicable, and what differed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from simulation.recordings.judge import Verdict
from simulation.recordings.load import Library

_COUNTS = ("recordings", "interactions", "replayed", "equal", "different", "not applicable", "unreadable")
_DETAILS = (
    *(f"requests {outcome}" for outcome in ("equal", "differs", "n/a")),
    *(f"framing {framing}" for framing in ("recorded", "rewritten", "ours")),
)


@dataclass(slots=True)
class Report:
    """The verdicts of one run. `is_clean` is what the exit status says."""

    library: Library
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not self.library.unreadable and all(verdict.outcome != "different" for verdict in self.verdicts)

    def rows(self) -> dict[str, Counter[str]]:
        """Counts by provider, and of all."""
        rows: dict[str, Counter[str]] = {name: Counter(recordings=n) for name, n in sorted(self.library.files.items())}
        for trouble in self.library.unreadable:
            rows[trouble.provider]["unreadable"] += 1
        for verdict in self.verdicts:
            row = rows[verdict.interaction.provider]
            row["interactions"] += verdict.interaction.parts
            outcome = "not applicable" if verdict.outcome == "n/a" else verdict.outcome
            # A prediction and its stream are two exchanges and one answer; the other rows count exchanges.
            row[outcome] += verdict.interaction.parts
            if verdict.outcome != "n/a":
                row["replayed"] += verdict.interaction.parts
                row[f"requests {verdict.asked}"] += 1
                row[f"framing {verdict.interaction.framing}"] += 1
        total: Counter[str] = Counter()
        for row in rows.values():
            total.update(row)
        return {**rows, "all": total}

    def reasons(self) -> Counter[str]:
        """Why exchanges are not applicable."""
        found: Counter[str] = Counter()
        for verdict in self.verdicts:
            if verdict.outcome == "n/a":
                found[verdict.reason] += verdict.interaction.parts
        return found

    def broken(self) -> list[Verdict]:
        """Recordings that hold no whole answer: equal where the adapter says so, too."""
        return [verdict for verdict in self.verdicts if verdict.outcome != "n/a" and verdict.reason]

    def as_json(self) -> dict[str, Any]:
        return {
            "providers": {
                name or "(none)": {column: row[column] for column in (*_COUNTS, *_DETAILS)}
                for name, row in self.rows().items()
            },
            "not_applicable": dict(self.reasons().most_common()),
            "different": [
                {"recording": v.interaction.id, **_adapter(v), "differences": v.differences}
                for v in self.verdicts
                if v.outcome == "different"
            ],
            "no_whole_answer": [{"recording": v.interaction.id, "reason": v.reason} for v in self.broken()],
            "unreadable": [{"file": t.file, "reason": t.reason} for t in self.library.unreadable],
            "requests": [
                {"recording": v.interaction.id, **_adapter(v), "outcome": v.asked, "notes": v.asked_notes}
                for v in self.verdicts
                if v.route is not None and v.asked_notes
            ],
            "other_files": self.library.others,
        }

    def show(self, console: Console, *, verbose: bool = False) -> None:
        """Prints the table and what has to be said below it."""
        rows = self.rows()
        table = Table()
        table.add_column("provider")
        for name in (*_COUNTS, "requests equal/differ/n.a.", "framing ours"):
            table.add_column(name, justify="right", overflow="fold")
        for name, row in rows.items():
            asked = "/".join(str(row[f"requests {outcome}"]) for outcome in ("equal", "differs", "n/a"))
            counts = [str(row[column] or "") for column in _COUNTS]
            table.add_row(name or "(none)", *counts, asked, str(row["framing ours"] or ""), end_section=name != "all")
        table.rows[-2].end_section = True
        console.print(table)
        total = rows["all"]
        console.print(
            f"Bytes as recorded: {total['framing recorded']}; JSON written out again: {total['framing rewritten']}; "
            f"decoded content in frames of ours: {total['framing ours']}.",
            highlight=False,
        )
        self._list(console, "Not applicable", [f"{count:4d}  {why}" for why, count in self.reasons().most_common()])
        if verbose:
            notes = [
                f"{v.interaction.id}: {v.asked}: {note}" for v in self.verdicts if v.route for note in v.asked_notes
            ]
            self._list(console, "Requests", notes)
            self._list(console, "Files that are no recordings by their names", self.library.others)
        self._list(console, "No whole answer", [f"{v.interaction.id}: {v.reason}" for v in self.broken()])
        self._list(console, "Unreadable", [f"{t.file}: {t.reason}" for t in self.library.unreadable])
        different = [v for v in self.verdicts if v.outcome == "different"]
        lines = [
            f"{v.interaction.id} ({v.interaction.framing}, {_speaker(v)}): {d}"
            for v in different
            for d in v.differences
        ]
        self._list(console, "Different", lines)
        if self.is_clean:
            console.print(f"\nAll {total['replayed']} that are applicable replay equal.", highlight=False)

    @staticmethod
    def _list(console: Console, title: str, lines: list[str]) -> None:
        if lines:
            console.print(f"\n{title}:", highlight=False)
            for line in lines:
                console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)


def _adapter(verdict: Verdict) -> dict[str, str]:
    return {} if verdict.route is None else {"wire": verdict.route.wire, "profile": verdict.route.profile}


def _speaker(verdict: Verdict) -> str:
    return "" if verdict.route is None else f"{verdict.route.wire}, {verdict.route.profile}"
