"""The proposed change of a replay: files of config/, held against the configuration that the log was made under."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from router.domain.fleet import Backend
from router.domain.pricing import books
from router.domain.snapshot import FleetSnapshot
from router.settings import Settings
from router.settings.change import ChangeRules, propose
from router.settings.config_files import ConfigText
from router.settings.writes import applied
from router.state.keys import Kind, price_id, price_key
from router.state.writes import Write


@dataclass(frozen=True, slots=True)
class ReplayChange:
    """What a change writes, the backends that it is about, and what should be known of it."""

    writes: tuple[Write, ...] = ()
    touched: AbstractSet[str] = frozenset()
    notes: tuple[str, ...] = ()

    def of(self, snapshot: FleetSnapshot) -> FleetSnapshot:
        """What the change makes of a configuration."""
        return applied(snapshot, self.writes) if self.writes else snapshot


class Pretending(dict[str, str]):
    """An environment in which every credential is there: nothing is sent, so none is needed."""

    def __init__(self, env: Mapping[str, str], assumed: AbstractSet[str]) -> None:
        super().__init__(env)
        for name in assumed:
            self.setdefault(name, "assumed")


def change_of(
    files: Sequence[ConfigText],
    logged: FleetSnapshot,
    settings: Settings,
    rules: ChangeRules,
    *,
    now: float,
) -> ReplayChange:
    """Reads the files as a running router would.

    Args:
        files: fleet, prices or policies, at most one of each.
        logged: the last configuration of the log.
        settings: of the configuration directory, for backends that the log never saw.
        rules: what the files are held against.
        now: Unix seconds.

    Raises:
        ConfigError: with every problem of every file.
    """
    seed = settings.seed
    unseen = {backend.id: backend for backend in seed.backends if backend.id not in logged.backends}
    listed = {(book.backend, book.model): book for book in books(seed.prices) if book.backend in unseen}
    base = replace(
        logged,
        backends={**logged.backends, **unseen},
        prices={**logged.prices, **listed},
        policies_yaml=logged.policies_yaml or seed.policies_yaml,
    )
    proposal = propose(files, base, rules, prune=False, now=now)
    writes = [write for write in proposal.writes if not _only_moved(write, base)]
    touched = {
        price_key(write.id)[0] if write.kind is Kind.PRICE else write.id
        for write in writes
        if write.kind in {Kind.PRICE, Kind.BACKEND}
    }
    # A backend that only the directory knows, and that the change is about, comes with what the directory says of it.
    written = {(write.kind, write.id) for write in writes}
    extra = [Write(Kind.BACKEND, name, unseen[name]) for name in sorted(touched & set(unseen))]
    extra += [Write(Kind.PRICE, price_id(*key), book) for key, book in listed.items() if key[0] in touched]
    known = [write for write in extra if (write.kind, write.id) not in written]
    return ReplayChange((*known, *writes), frozenset(touched), proposal.notes)


def _only_moved(write: Write, base: FleetSnapshot) -> bool:
    """Whether nothing but an address changes, which no decision looks at."""
    document, held = write.document, base.backends.get(write.id)
    if not isinstance(document, Backend) or held is None:
        return False
    return replace(document, address=held.address, version=held.version) == held
