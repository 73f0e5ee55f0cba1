"""Files that are to become the configuration of a running fleet, held against the one it has.

The rules are those of a start: the same functions read the same files, `${NAME}` in addresses is taken from the
environment of the router that plans, and a backend whose credential is absent there is left as it is. A file says what
its documents are to be; what only a running fleet knows stays: whether a backend is drained where its file does not
say, the keys of tenants, the prices of feeds and those that were set by hand. What no file names stays as well, unless
`prune` asks for its removal.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from router.domain.catalogue import Catalogue
from router.domain.policies import Policies
from router.domain.pricing import Price, PriceBook, Source
from router.domain.snapshot import FleetSnapshot
from router.domain.wires import Wires
from router.settings.config_files import ConfigDocument, ConfigText, FileKind, recognise
from router.settings.differences import DocumentDifference
from router.settings.fleet import FleetFile, build_fleet
from router.settings.keeping import configured, with_keys, with_prices
from router.settings.policies import parse_policies
from router.settings.prices import PricesFile, build_prices
from router.settings.strict import ConfigError, Problem, check
from router.settings.tenants import TenantsFile, build_tenants
from router.settings.whole import lost_classes, models_of, price_name, remarks, shared_keys, stays
from router.settings.writes import applied, differences, needed
from router.state.codec import PoliciesDocument
from router.state.keys import POLICIES_ID, Kind, price_id
from router.state.writes import Write


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRules:
    """What files are checked against; None leaves unchecked what is a wire's own."""

    catalogue: Catalogue
    env: Mapping[str, str]
    wires: Wires | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A change that keeps every rule. `snapshot` is what it would make of `base`, `policies` what would hold."""

    base: FleetSnapshot
    snapshot: FleetSnapshot
    policies: Policies | None
    writes: tuple[Write, ...] = ()
    differences: tuple[DocumentDifference, ...] = ()
    notes: tuple[str, ...] = ()


def propose(
    files: Sequence[ConfigText], snapshot: FleetSnapshot, rules: ChangeRules, *, prune: bool, now: float
) -> Proposal:
    """The writes that make the configuration what the files say.

    Raises:
        ConfigError: with every problem of every file.
    """
    problems: list[Problem] = []
    found = recognise(files, problems)
    draft = _Draft(snapshot=snapshot, rules=rules, prune=prune, now=now, problems=problems)
    fleet_read = True
    if (file := found.get(FileKind.FLEET)) is not None:
        fleet_read = draft.fleet(file)
    if (file := found.get(FileKind.PRICES)) is not None:
        draft.prices(file, fleet_read=fleet_read)
    if (file := found.get(FileKind.POLICIES)) is not None:
        draft.policies(file)
    if (file := found.get(FileKind.TENANTS)) is not None:
        draft.tenants(file)
    if problems:
        raise ConfigError(problems)
    return draft.done()


@dataclass(slots=True, kw_only=True)
class _Draft:
    """The change as it grows, file by file."""

    snapshot: FleetSnapshot
    rules: ChangeRules
    prune: bool
    now: float
    problems: list[Problem]
    notes: list[str] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    removals: list[Write] = field(default_factory=list)
    # The models of each backend that there will be, or that a file names and this router cannot use.
    served: dict[str, frozenset[str]] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)
    fleet_given: bool = False
    parsed_policies: Policies | None = None
    policies_file: ConfigDocument | None = None
    tenants_file: ConfigDocument | None = None

    def __post_init__(self) -> None:
        self.served = {name: models_of(backend) for name, backend in self.snapshot.backends.items()}

    def fleet(self, file: ConfigDocument) -> bool:
        """False when the file's shape is wrong, so that nothing can be held against it."""
        self.fleet_given = True
        parsed = check(FleetFile, file.document, file.name, self.problems)
        if parsed is None:
            return False
        backends, notices = build_fleet(
            parsed,
            file.document,
            self.rules.catalogue,
            self.rules.env,
            self.problems,
            file=file.name,
            wires=self.rules.wires,
        )
        self.notes += notices
        self.skipped = set(parsed.backends) - {backend.id for backend in backends}
        for backend in backends:
            current = self.snapshot.backends.get(backend.id)
            if current is not None and "drained" not in parsed.backends[backend.id].model_fields_set:
                backend = replace(backend, drained=current.drained)  # noqa: PLW2901 - the same backend, completed
                if current.drained:
                    self.notes.append(f"backend '{backend.id}' is drained and stays so: {file.name} does not say")
            self.writes.append(Write(Kind.BACKEND, backend.id, backend))
            self.served[backend.id] = models_of(backend)
        self.served |= {name: frozenset(s.model for s in parsed.backends[name].models) for name in self.skipped}
        others = [name for name in self.snapshot.backends if name not in parsed.backends]
        if self.prune:
            if not parsed.backends:
                self.problems.append(Problem(file.name, "backends", "would leave no backend at all", 1))
            for name in others:
                del self.served[name]
                self._remove_backend(name)
        elif others:
            self.notes.append(stays(file.name, "backend", others))
        return True

    def _remove_backend(self, name: str) -> None:
        """A price of a backend goes with it, wherever it came from."""
        for key, book in self.snapshot.prices.items():
            if key[0] == name:
                self.removals.append(Write(Kind.PRICE, price_id(*key), None))
                others = sorted({p.source_kind.name.lower() for p in book.prices if p.source_kind is not Source.CONFIG})
                if others:
                    self.notes.append(f"backend '{name}' goes with its prices, those of {' and '.join(others)} too")
        self.removals.append(Write(Kind.BACKEND, name, None))

    def prices(self, file: ConfigDocument, *, fleet_read: bool) -> None:
        parsed = check(PricesFile, file.document, file.name, self.problems)
        if parsed is None or not fleet_read:
            return
        before = len(self.problems)
        listed = build_prices(parsed, file.document, self.served, self.problems, file=file.name)
        if not self.fleet_given:
            self.problems[before:] = [_with_hint(problem) for problem in self.problems[before:]]
        if parsed.feeds:
            self.notes.append(f"{file.name}: feeds belong to a start: they are checked here, and not changed")
        wanted: dict[tuple[str, str], list[Price]] = {}
        for price in listed:
            if price.backend not in self.skipped or price.backend in self.snapshot.backends:
                wanted.setdefault((price.backend, price.model), []).append(price)
        for key, prices in wanted.items():
            self._set_prices(key, prices)
        others = [
            key
            for key, book in self.snapshot.prices.items()
            if key not in wanted and configured(book) and key[0] in self.served
        ]
        if self.prune:
            for key in others:
                self._set_prices(key, [])
        elif others:
            self.notes.append(stays(file.name, "price", [price_name(key) for key in others]))

    def _set_prices(self, key: tuple[str, str], prices: list[Price]) -> None:
        """Replaces the prices of the configuration in a book, and no others."""
        book = self.snapshot.prices.get(key, PriceBook(backend=key[0], model=key[1]))
        made = with_prices(book, prices, self.now)
        if made is book:
            return
        if not made.prices:
            self.removals.append(Write(Kind.PRICE, price_id(*key), None))
            return
        self.writes.append(Write(Kind.PRICE, price_id(*key), made))
        holding = made.listed_at(self.now)
        if prices and holding is not None and holding.source_kind > Source.CONFIG:
            kind = holding.source_kind.name.lower()
            self.notes.append(
                f"price of {price_name(key)}: the price of source '{kind}' goes on holding while there is one"
            )

    def policies(self, file: ConfigDocument) -> None:
        try:
            self.parsed_policies = parse_policies(file.text, file.name)
        except ConfigError as error:
            # The document was parsed once to recognise it: what that said is among the problems already.
            self.problems += [problem for problem in error.problems if problem not in self.problems]
            return
        self.writes.append(Write(Kind.POLICIES, POLICIES_ID, PoliciesDocument(file.text)))
        self.policies_file = file

    def tenants(self, file: ConfigDocument) -> None:
        parsed = check(TenantsFile, file.document, file.name, self.problems)
        if parsed is None:
            return
        self.tenants_file = file
        tenants, notices = build_tenants(
            parsed,
            file.document,
            self.problems,
            env=self.rules.env,
            catalogue=self.rules.catalogue,
            classes=self._classes(),
            file=file.name,
        )
        self.notes += notices
        for tenant in tenants:
            known = self.snapshot.tenants.get(tenant.id)
            if known is not None:
                told = parsed.tenants[tenant.id].model_fields_set
                disabled = tenant.disabled if "disabled" in told else known.disabled
                tenant = replace(tenant, keys=with_keys(known, tenant), disabled=disabled)  # noqa: PLW2901 - completed
            self.writes.append(Write(Kind.TENANT, tenant.id, tenant))
        others = [name for name in self.snapshot.tenants if name not in parsed.tenants]
        if self.prune:
            self.removals += [Write(Kind.TENANT, name, None) for name in others]
        elif others:
            self.notes.append(stays(file.name, "tenant", others))

    def _classes(self) -> Collection[str] | None:
        """The workload classes that there will be; None when nobody knows."""
        if self.parsed_policies is not None:
            return self.parsed_policies.classes
        try:
            return parse_policies(self.snapshot.policies_yaml).classes if self.snapshot.policies_yaml else None
        except ConfigError:
            return None

    def done(self) -> Proposal:
        writes = needed(self.snapshot, [*self.writes, *self.removals])
        result = applied(self.snapshot, writes)
        if self.policies_file is not None and self.parsed_policies is not None:
            self.problems += lost_classes(result, self.parsed_policies, self.policies_file.name)
        if self.tenants_file is not None:
            self.problems += shared_keys(result, self.tenants_file.name)
        if self.problems:
            raise ConfigError(self.problems)
        self.notes += remarks(self.snapshot, result, writes)
        return Proposal(
            base=self.snapshot,
            snapshot=result,
            policies=self.parsed_policies,
            writes=writes,
            differences=differences(self.snapshot, writes),
            notes=tuple(self.notes),
        )


def _with_hint(problem: Problem) -> Problem:
    """A start reads both files; here the file that has the backend may be missing."""
    if not problem.message.startswith("unknown backend"):
        return problem
    return replace(problem, message=f"{problem.message}: the fleet has none; give the fleet file with it as well")
