"""Random histories against a model: compare-and-set, tombstones, cascades and the stream, on a real Valkey."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.domain.audit import Author
from router.domain.fleet import Backend
from router.domain.pricing import Price, book_of
from router.errors import AlreadyExists, NotFound, RouterError, StaleVersion
from router.state.embedded import EmbeddedValkey
from router.state.fold import Held, fold, lost
from router.state.keys import REBUILD_JUMP
from router.state.store import SeedDocuments, ValkeyStore

BACKENDS = ("a", "ab", "b")


@dataclass(frozen=True)
class Step:
    """One call: which, on what, and how far the expected version is from the real one (None: expected 0)."""

    call: str
    backend: str
    off_by: int | None


@dataclass
class Model:
    """What the store should hold: version and presence of each document."""

    documents: dict[tuple[str, str], tuple[int, bool]] = field(default_factory=dict)
    fleet_version: int = 0

    def look(self, kind: str, name: str) -> tuple[int, bool]:
        return self.documents.get((kind, name), (0, False))

    def write(self, kind: str, name: str, *, present: bool) -> int:
        version = self.look(kind, name)[0] + 1
        self.documents[kind, name] = (version, present)
        self.fleet_version += 1
        return version

    def refusal(self, kind: str, name: str, expected: int) -> type[RouterError] | None:
        version, present = self.look(kind, name)
        if expected == 0 and present:
            return AlreadyExists if kind == "backend" else StaleVersion
        if expected not in {0, version}:
            return StaleVersion if present else NotFound
        if kind == "price" and not self.look("backend", name)[1]:
            return NotFound
        return None


STEPS = st.builds(
    Step,
    call=st.sampled_from(["put", "price", "remove", "drain", "seed"]),
    backend=st.sampled_from(BACKENDS),
    off_by=st.none() | st.sampled_from([0, 0, 0, 0, -1, 1]),
)


def backend(name: str, region: str = "") -> Backend:
    return Backend(id=name, wire="w", address="http://x", models=(), region=region)


async def take(step: Step, store: ValkeyStore, model: Model) -> None:
    """Makes one call and holds its answer against the model."""
    kind = "price" if step.call == "price" else "backend"
    name = step.backend
    version, present = model.look(kind, name)
    expected = 0 if step.off_by is None else max(0, version + step.off_by)
    if step.call == "seed":
        seed = SeedDocuments(backends=(backend(name),), prices=(book_of(Price(backend=name, usd_per_hour=1.0)),))
        for document_kind in ("backend", "price"):
            if model.look(document_kind, name)[0] == 0 and (
                document_kind == "backend" or model.look("backend", name)[1]
            ):
                model.write(document_kind, name, present=True)
        await store.seed(seed, actor="seed")
        return
    if step.call in {"put", "price"}:
        refusal = model.refusal(kind, name, expected)
    else:
        refusal = NotFound if not present else StaleVersion if expected != version else None
    answer: type[RouterError] | None = None
    try:
        if step.call == "put":
            await store.put_backend(backend(name, f"{version}"), expected_version=expected, author=Author(actor="m"))
        elif step.call == "price":
            await store.put_price(
                book_of(Price(backend=name, usd_per_hour=2.0)), expected_version=expected, author=Author(actor="m")
            )
        elif step.call == "drain":
            await store.set_drained(name, drained=True, expected_version=expected, author=Author(actor="m"))
        else:
            await store.remove_backend(name, expected_version=expected, author=Author(actor="m"))
    except (AlreadyExists, NotFound, StaleVersion) as error:
        answer = type(error)
    assert answer is refusal, (step, expected, model)
    if answer is not None:
        return
    if step.call == "remove" and model.look("price", name)[1]:
        model.write("price", name, present=False)
    model.write(kind, name, present=step.call != "remove")


async def follow(store: ValkeyStore, held: Held) -> Held:
    newest = held.history.newest
    after_revision = 0 if newest is None else newest.version
    news = await store.news(after=held.snapshot.version, after_revision=after_revision, limit=1000)
    return fold(held, news.entries, news.revisions)


def test_random_histories_keep_to_the_model() -> None:
    """Whatever is called in whatever order, answers, documents, versions and stream are those of the model."""
    namespaces = itertools.count()
    with asyncio.Runner() as runner:
        valkey = runner.run(EmbeddedValkey().__aenter__())

        async def play(steps: list[Step]) -> None:
            store = ValkeyStore.connect(valkey.url, namespace=f"n{next(namespaces)}")
            model, followed = Model(), Held()
            for step in steps:
                await take(step, store, model)
                followed = await follow(store, followed)
            held = await store.load()
            assert held == followed
            assert held.snapshot.version == model.fleet_version
            present = {key for key, (_, there) in model.documents.items() if there}
            versions = {("backend", b.id): b.version for b in held.snapshot.backends.values()}
            versions |= {("price", p.backend): p.version for p in held.snapshot.prices.values()}
            assert versions == {key: model.documents[key][0] for key in present}
            # And all of it can be put back after a loss: into an empty namespace, with the same result.
            empty = ValkeyStore.connect(valkey.url, namespace=f"n{next(namespaces)}")
            missing = lost(held, await empty.load())
            await empty.restore(missing, fleet_version=held.snapshot.version, actor="r")
            assert lost(held, await empty.load()) == ()
            beyond = held.snapshot.version + REBUILD_JUMP + len(missing) if model.fleet_version else 0
            assert (await empty.load()).snapshot.version == beyond
            await store.aclose()
            await empty.aclose()

        @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
        @given(st.lists(STEPS, min_size=1, max_size=25))
        def examples(steps: list[Step]) -> None:
            runner.run(play(steps))

        try:
            examples()
        finally:
            runner.run(valkey.__aexit__(None, None, None))
