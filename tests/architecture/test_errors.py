"""Every error has a status, and docs/errors.md says the same as the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import backends.errors
from router.api.rescue import NO_ENDPOINT_EVER, RESCUE, TRANSIENT_DROPS, UPSTREAM
from router.domain.decision import DropReason
from router.errors import NoEndpoint, RouterError

T = TypeVar("T")
Row = tuple[str, str, int]


def test_every_router_error_has_a_status() -> None:
    """The table of router.api.rescue has a row for RouterError and each class below it, and for no other."""
    assert set(RESCUE) == set(_family(RouterError))


def test_every_backend_error_has_a_status() -> None:
    """The table of router.api.rescue has a row for the code of BackendError and each class below it, and no other."""
    assert set(UPSTREAM) == {kind.code for kind in _family(backends.errors.BackendError)}


def test_codes_are_stable_names_and_each_is_used_once() -> None:
    """A reason is upper snake case, and no two classes of a tree share one."""
    for codes in (
        [kind.reason for kind in _family(RouterError)],
        [kind.code for kind in _family(backends.errors.BackendError)],
    ):
        assert len(set(codes)) == len(codes)
        assert all(re.fullmatch(r"[A-Z][A-Z_]*[A-Z]", code) for code in codes)


def test_the_reasons_are_documented_with_their_statuses(root: Path) -> None:
    """The first table of docs/errors.md has exactly the reasons, gRPC statuses and HTTP statuses of the code."""
    promised: set[Row] = {(kind.reason, row.grpc.name, row.http) for kind, row in RESCUE.items()}
    promised.add((NoEndpoint.reason, NO_ENDPOINT_EVER.grpc.name, NO_ENDPOINT_EVER.http))

    assert _statuses(root, "Reasons") == promised


def test_the_upstream_codes_are_documented_with_their_statuses(root: Path) -> None:
    """The second table of docs/errors.md has exactly the codes of backends.errors with their statuses."""
    assert _statuses(root, "Last failure of an upstream") == {
        (code, row.grpc.name, row.http) for code, row in UPSTREAM.items()
    }


def test_the_drop_reasons_are_documented(root: Path) -> None:
    """The third table of docs/errors.md has every drop reason and says rightly which of them pass by themselves."""
    documented = {cells[0]: cells[-1] for cells in _table(root, "Why a backend was dropped")}

    assert documented == {reason.value: "yes" if reason in TRANSIENT_DROPS else "no" for reason in DropReason}


def test_every_row_says_what_to_do(root: Path) -> None:
    """No cell of docs/errors.md is empty."""
    for heading in ("Reasons", "Last failure of an upstream", "Why a backend was dropped"):
        assert all(cell for cells in _table(root, heading) for cell in cells)


def _family(base: type[T]) -> Iterator[type[T]]:
    yield base
    for kind in base.__subclasses__():
        yield from _family(kind)


def _statuses(root: Path, heading: str) -> set[Row]:
    return {(cells[0], cells[1], int(cells[2])) for cells in _table(root, heading)}


def _table(root: Path, heading: str) -> list[list[str]]:
    """Cells of the table below a heading of docs/errors.md, without its head and without code marks."""
    text = (root / "docs" / "errors.md").read_text("utf-8")
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in rows[2:]]
