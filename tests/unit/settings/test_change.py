"""Files against a running fleet: what is to be written, what stays, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.pricing import Price, PriceBook, Source
from router.domain.snapshot import FleetSnapshot
from router.domain.wires import Features, WireFacts
from router.settings import load
from router.settings.change import ChangeRules, Proposal, propose
from router.settings.config_files import ConfigText
from router.settings.differences import headline
from router.settings.strict import ConfigError
from router.settings.writes import applied
from router.state.keys import Kind

CONFIG = Path(__file__).parents[3] / "config"
SHIPPED = load(CONFIG, {})
WIRES = {"openai_chat": WireFacts(profiles={"generic": Features(), "vllm": Features()})}
RULES = ChangeRules(catalogue=SHIPPED.catalogue, env={}, wires=WIRES)
NOW = 1.8e9

ENTRY = "{{wire: openai_chat, address: 'http://{0}:8000', hardware: h100-sxm-80, models: [{{model: llama-3.1-8b}}]{1}}}"
POLICIES = "default_class: interactive\nclasses: {interactive: {usd_per_s: 1e-5}, batch: {}}\n"


def fleet(*names: str, more: str = "") -> ConfigText:
    return ConfigText("fleet.yaml", "backends:\n" + "".join(f"  {n}: {ENTRY.format(n, more)}\n" for n in names))


def prices(**per_hour: float) -> ConfigText:
    listed = ", ".join(f"{{backend: {name}, usd_per_hour: {amount}}}" for name, amount in per_hour.items())
    return ConfigText("prices.yaml", f"prices: [{listed}]\n")


def policies(text: str = POLICIES) -> ConfigText:
    return ConfigText("policies.yaml", text)


def plan(*files: ConfigText, on: FleetSnapshot | None = None, prune: bool = False, now: float = NOW) -> Proposal:
    return propose(files, on or FleetSnapshot(), RULES, prune=prune, now=now)


def problems(*files: ConfigText, on: FleetSnapshot | None = None, prune: bool = False) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        plan(*files, on=on, prune=prune)
    return [f"{p.file}:{p.line}: {p.path}: {p.message}" for p in caught.value.problems]


@pytest.fixture
def running() -> FleetSnapshot:
    """Two backends at a price, and policies."""
    return plan(fleet("a", "b"), prices(a=2.0, b=3.0), policies()).snapshot


def lines(proposal: Proposal) -> list[str]:
    return [headline(difference) for difference in proposal.differences]


def test_the_shipped_files_make_the_shipped_seed() -> None:
    """Applied to nothing, the files that a start reads make the backends, prices and policies that it would seed."""
    files = [ConfigText(name, (CONFIG / name).read_text("utf-8")) for name in ("fleet.yaml", "prices.yaml")]
    files.append(ConfigText("p.yml", SHIPPED.seed.policies_yaml))
    shipped = replace(RULES, wires=None)

    made = propose(files, FleetSnapshot(), shipped, prune=False, now=NOW)

    assert tuple(made.snapshot.backends.values()) == SHIPPED.seed.backends
    assert [p for book in made.snapshot.prices.values() for p in book.prices] == list(SHIPPED.seed.prices)
    assert made.snapshot.policies_yaml == SHIPPED.seed.policies_yaml
    assert made.policies == SHIPPED.policies
    assert any("openai-cloud" in note and "OPENAI_API_KEY" in note for note in made.notes)


def test_what_is_so_already_is_not_written(running: FleetSnapshot) -> None:
    """Only the document that differs is written; a plan of what is there writes nothing."""
    assert plan(fleet("a", "b"), prices(a=2.0, b=3.0), policies(), on=running).writes == ()

    changed = plan(fleet("a", "b"), prices(a=1.0, b=3.0), policies(), on=running)

    assert lines(changed) == ["~ price a: usd_per_hour 2.00 -> 1.00 (x0.50)"]
    assert [write.id for write in changed.writes] == ["a/"]


def test_what_no_file_names_stays(running: FleetSnapshot) -> None:
    """Without prune, backends and prices that the files do not name stay, and a note says so."""
    proposal = plan(fleet("a"), prices(a=2.0), on=running)

    assert proposal.writes == ()
    assert any("backend" in note and note.endswith(": b") for note in proposal.notes)
    assert any("price" in note and note.endswith(": b") for note in proposal.notes)


def test_prune_removes_what_a_file_of_its_kind_does_not_name(running: FleetSnapshot) -> None:
    """A backend goes with its prices; a kind of which no file is given is left alone."""
    proposal = plan(fleet("a"), on=running, prune=True)

    assert lines(proposal) == ["- price b", "- backend b"]
    assert set(proposal.snapshot.backends) == {"a"}
    assert set(proposal.snapshot.prices) == {("a", "")}
    assert proposal.snapshot.policies_yaml == running.policies_yaml


def test_prune_leaves_at_least_one_backend(running: FleetSnapshot) -> None:
    """A fleet file without backends would make an empty fleet: refused."""
    assert problems(ConfigText("f", "backends: {}\n"), on=running, prune=True) == [
        "f:1: backends: would leave no backend at all"
    ]


def test_a_file_that_does_not_speak_of_draining_keeps_it(running: FleetSnapshot) -> None:
    """A drained backend stays drained unless its file says otherwise."""
    drained = replace(running, backends=running.backends | {"a": replace(running.backends["a"], drained=True)})

    silent, explicit = plan(fleet("a", "b"), on=drained), plan(fleet("a", "b", more=", drained: false"), on=drained)

    assert silent.writes == ()
    assert any("'a' is drained and stays so" in note for note in silent.notes)
    assert lines(explicit) == ["~ backend a: drained true -> false"]


def test_only_prices_of_the_configuration_are_replaced(running: FleetSnapshot) -> None:
    """Prices of feeds and those set by hand survive a file and a prune, and a note says when they outrank it."""
    admin = Price(backend="a", usd_per_hour=9.0, source_kind=Source.ADMIN)
    spot = Price(backend="b", usd_per_hour=1.0, source_kind=Source.FEED, feed="vast")
    books = {key: replace(book, prices=(*book.prices, {"a": admin, "b": spot}[key[0]])) for key, book in
             running.prices.items()}  # fmt: skip
    mixed = replace(running, prices=books)

    changed = plan(prices(a=1.0), on=mixed, prune=True)

    assert lines(changed)[0] == "~ price a: usd_per_hour 2.00 -> 1.00 (x0.50)"
    assert lines(changed)[1].startswith("~ price b: usd_per_hour 3.00 -> (none)")
    assert admin in changed.snapshot.prices["a", ""].prices
    assert changed.snapshot.prices["b", ""].prices == (spot,)
    assert any("price of a" in note and "'admin'" in note for note in changed.notes)


def test_time_alone_changes_nothing(running: FleetSnapshot) -> None:
    """A price that has ended or was replaced by a later one of its file is no difference, whether it is kept or not."""
    text = (
        "prices:\n- {backend: a, usd_per_hour: 2}\n"
        "- {backend: a, usd_per_hour: 1, effective_at: 2026-01-01}\n"
        "- {backend: a, usd_per_hour: 4, effective_at: 2026-02-01, expires_at: 2026-03-01}\n"
        "- {backend: b, usd_per_hour: 3}\n"
    )
    file = ConfigText("prices.yaml", text)
    made = plan(file, on=running, now=1.75e9).snapshot
    kept = made.prices["a", ""]
    forgotten = replace(kept, prices=tuple(p for p in kept.prices if p.usd_per_hour == 1.0))

    for book in (kept, forgotten):
        later = replace(made, prices=made.prices | {("a", ""): book})
        assert plan(file, on=later, now=1.9e9).writes == ()


def test_every_problem_of_every_file_is_reported_with_its_line(running: FleetSnapshot) -> None:
    """One answer names the file, the key and the line of all that is wrong, and what does not fit together."""
    bad_fleet = ConfigText("f.yaml", fleet("a").text + "  c: {wire: openai_caht, address: 'ftp://x', models: []}\n")
    bad_prices = ConfigText("p.yaml", "prices:\n- {backend: a, usd_per_hour: 1}\n- {backend: zz, usd_per_hour: 1}\n")
    bad_policies = ConfigText("q.yaml", "default_class: slow\nclasses:\n  fast: {usd_per_sec: 1}\n")

    found = problems(bad_fleet, bad_prices, bad_policies, on=running)

    assert {line.partition(": ")[0] for line in found} == {"f.yaml:3", "p.yaml:3", "q.yaml:3"}
    assert any("backends.c.wire: unknown wire 'openai_caht' (did you mean 'openai_chat'?)" in line for line in found)
    assert any("prices[1].backend: unknown backend 'zz'" in line for line in found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hardware: {h100: {}}\n", "like hardware.yaml, which belongs to a start"),
        ("models: {m: {}}\nclasses: {c: [m]}\n", "like models.yaml, which belongs to a start"),
        ("grpc_port: 5000\n", "like router.yaml, which belongs to a start"),
        ("backend: {}\n", "backend: unknown key (did you mean 'backends'?)"),
        ("backends: {}\nprices: []\n", "is about fleet and prices: write one file for each"),
        ("[1, 2]\n", "expected keys and values at the top"),
        ("", "expected keys and values at the top"),
        ("a: [", "not valid YAML"),
        (fleet("a").text, "is about fleet, and fleet.yaml is already"),
    ],
)
def test_what_is_no_such_file_is_refused(running: FleetSnapshot, text: str, said: str) -> None:
    """A file is known by its keys; one that belongs to a start, or comes twice, or is none, is said to be."""
    (found,) = problems(fleet("a"), ConfigText("x", text), on=running)

    assert said in found


def test_removing_a_backend_that_a_price_names_is_refused(running: FleetSnapshot) -> None:
    """The files have to agree: a price of what the same change removes is a problem of the price."""
    (found,) = problems(fleet("a"), prices(a=2.0, b=3.0), on=running, prune=True)

    assert found.startswith("prices.yaml:1: prices[1].backend: unknown backend 'b'")


def test_a_price_without_its_backend_asks_for_the_fleet_file(running: FleetSnapshot) -> None:
    """A price of a backend that neither the files nor the fleet have is refused, with what to do."""
    (found,) = problems(prices(zz=1.0), on=running)

    assert "unknown backend 'zz': the fleet has none; give the fleet file with it as well" in found


def test_a_model_that_nobody_serves_any_more_is_noted(running: FleetSnapshot) -> None:
    """Taking away the last backend of a model is allowed, and said."""
    other = ConfigText("f", fleet("c").text.replace("llama-3.1-8b", "llama-3.3-70b").replace("h100-sxm-80", "mi300x"))

    proposal = plan(other, on=running, prune=True)

    assert "nobody serves any more: llama-3.1-8b" in proposal.notes
    assert any(note.startswith("without a price") and note.endswith(": c") for note in proposal.notes)


def test_addresses_are_filled_in_as_at_a_start(running: FleetSnapshot) -> None:
    """Variables in addresses are those of the router that plans; one without a value is a problem."""
    text = fleet("a").text.replace("http://a:8000", "http://${NAME_OF_A}:8000")
    rules = replace(RULES, env={"NAME_OF_A": "elsewhere"})

    made = propose([ConfigText("f", text)], running, rules, prune=False, now=NOW)

    assert made.snapshot.backends["a"].address == "http://elsewhere:8000"
    assert "NAME_OF_A is not set" in problems(ConfigText("f", text), on=running)[0]


_AMOUNTS = st.sampled_from([0.5, 1.0, 2.5])
_NAMES = st.sampled_from(["a", "b", "c", "d"])
_FLEETS = st.lists(_NAMES, min_size=1, max_size=4, unique=True)


@st.composite
def _files(draw: st.DrawFn) -> tuple[ConfigText, ...]:
    names = draw(_FLEETS)
    drained = draw(st.sampled_from(["", ", drained: true", ", region: eu"]))
    amounts = {name: draw(_AMOUNTS) for name in names if draw(st.booleans())}
    slow = draw(st.sampled_from(["1e-5", "2e-5"]))
    every = (fleet(*names, more=drained), prices(**amounts), policies(POLICIES.replace("1e-5", slow)))
    return every if draw(st.booleans()) else every[:2]


def _with_others(snapshot: FleetSnapshot, prices_of: list[str]) -> FleetSnapshot:
    """The same fleet with prices of a feed."""
    books = dict(snapshot.prices)
    for name in prices_of:
        if name in snapshot.backends:
            book = books.get((name, ""), PriceBook(backend=name))
            spot = Price(backend=name, usd_per_hour=1.0, source_kind=Source.FEED, feed="f")
            books[name, ""] = replace(book, prices=(*(p for p in book.prices if not p.feed), spot))
    return replace(snapshot, prices=books)


@given(first=_files(), second=_files(), fed=st.lists(_NAMES, max_size=3), prune=st.booleans())
def test_an_applied_plan_has_nothing_left_to_do(
    first: tuple[ConfigText, ...], second: tuple[ConfigText, ...], fed: list[str], *, prune: bool
) -> None:
    """From any fleet, after the writes of a plan the same files have no difference, and prices of feeds are there."""
    before = _with_others(plan(*first).snapshot, fed)

    proposal = plan(*second, on=before, prune=prune)
    after = applied(before, proposal.writes)

    assert after == proposal.snapshot
    again = plan(*second, on=after, prune=prune)
    assert again.writes == ()
    assert again.differences == ()
    assert len(proposal.writes) == len(proposal.differences)
    feeds = {key for key, book in after.prices.items() if any(p.feed for p in book.prices)}
    assert feeds == {(name, "") for name in fed if name in after.backends and name in before.backends}
    assert all(write.document is not None or write.kind is not Kind.POLICIES for write in proposal.writes)
