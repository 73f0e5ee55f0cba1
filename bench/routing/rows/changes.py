"""How fast traffic moves when a backend turns slow or dear, and how the router stands other trouble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.routing.line import Bench, Line, Verdict
from bench.routing.runs import site, trace
from simulation.virtual.events import Event, Kind
from simulation.virtual.figures import figures
from simulation.virtual.ours import RouterGroup
from simulation.virtual.policies import ROUTER
from simulation.virtual.scenario import Scenario, Site, half_bandwidth
from simulation.virtual.sweep import jobs
from simulation.virtual.world import Record, run

# The change comes when so many requests have been served.
BEFORE = 1_500
AFTER = 1_000
# Traffic has moved when of the next so many requests the backend gets no more than what it keeps in the end, and this
# part of what it loses: where a slow backend is still worth its price some of its traffic stays.
NEXT = 30
LEFT = 0.25
# What it keeps in the end is its share of the last so many. Less than this to lose is no move that could be timed.
LAST = 300
LEAST = 0.2
TWIN = "h100-twin"
HOSTED = ("groq", "together", "bedrock")


@dataclass(frozen=True, slots=True)
class Moved:
    """How many requests a backend was still sent, in how many seconds, until its traffic had moved."""

    requests: float
    seconds: float


def changes(bench: Bench) -> list[Line]:
    """The backend with the most traffic is the one that changes."""
    whole = site(bench)
    hosted = _only(whole, HOSTED)
    lines = [
        _line(bench, f"{name} turns 3x slower, {load:g}x", whole, name, Kind.SLOW, 3.0, load)
        for name, load in (("b200", 1.0), ("b200", 2.0), ("h100", 3.0))
    ]
    twins = _twins(whole)
    lines.append(_line(bench, "one of two equal backends turns 3x slower, 1.5x", twins, "h100", Kind.SLOW, 3.0, 1.5))
    lines.append(_line(bench, "one of two equal backends turns 3x slower, 2x", twins, "h100", Kind.SLOW, 3.0, 2.0))
    lines.append(_line(bench, "groq's price doubles, hosted only", hosted, "groq", Kind.PRICE, 2.0, 1.0))
    return lines


def _only(whole: Site, names: Sequence[str]) -> Site:
    return replace(whole, backends=tuple(b for b in whole.backends if b.id in names))


def _twins(whole: Site) -> Site:
    """Two H100 that differ in nothing but their names."""
    one = next(b for b in whole.backends if b.id == "h100")
    return replace(
        whole,
        backends=(one, replace(one, id=TWIN)),
        prices={"h100": whole.prices["h100"], TWIN: replace(whole.prices["h100"], backend=TWIN)},
        truths={"h100": whole.truths["h100"], TWIN: replace(whole.truths["h100"], id=TWIN)},
    )


def _line(bench: Bench, what: str, there: Site, name: str, kind: Kind, amount: float, load: float) -> Line:
    bench.say(what)
    found: list[Moved] = []
    asks = trace(bench)
    for job in jobs(
        Scenario(site=there, asks=(), model_error_sd=0.0 if there.truths.keys() == {"h100", TWIN} else 0.2),
        asks,
        policies=(ROUTER,),
        loads=(load,),
        seeds=3,
        requests=BEFORE + AFTER,
    ):
        at = job.scenario.asks[BEFORE].at_s
        records = run(
            replace(job.scenario, events=(Event(kind=kind, backend=name, amount=amount, at_s=at),)), RouterGroup
        )
        moved = moving(records, name, at)
        if moved is not None:
            found.append(moved)
    if not found:
        return Line(
            what, "it keeps its traffic, and is worth its price", "5 requests or 1 s", "3 requests", Verdict.NOTED
        )
    worst = max(found, key=lambda m: min(m.requests / 5.0, m.seconds))
    reached = worst.requests <= 5.0 or worst.seconds <= 1.0
    verdict = Verdict.MISSED if not reached else Verdict.STRETCH if worst.requests <= 3.0 else Verdict.REACHED
    return Line(
        what,
        f"{worst.requests:g} requests, {worst.seconds:.2f} s (worst of {len(found)})",
        "5 requests or 1 s",
        "3 requests",
        verdict,
    )


def moving(records: Sequence[Record], name: str, at_s: float) -> Moved | None:
    """How the traffic of a backend moved after a change; None where it had next to none to lose. Never: infinite."""
    ordered = [r for r in records if r.backend]
    before = [r for r in ordered if r.ask.at_s < at_s][-300:]
    after = [r for r in ordered if r.ask.at_s >= at_s]
    share = _share(before, name)
    kept = _share(after[-LAST:], name)
    if share - kept < LEAST:
        return None
    limit = kept + LEFT * (share - kept)
    times = [r.ask.at_s - at_s for r in after if r.backend == name]
    sent = 0
    for place, record in enumerate(after):
        following = after[place : place + NEXT]
        if len(following) < NEXT:
            break
        if _share(following, name) <= limit:
            # What it is sent among these beyond what it keeps is still of the old traffic.
            late = sent + max(0, round(NEXT * (_share(following, name) - kept)))
            return Moved(late, times[late - 1] if late else 0.0)
        sent += record.backend == name
    return Moved(float("inf"), float("inf"))


def _share(records: Sequence[Record], name: str) -> float:
    return sum(r.backend == name for r in records) / max(1, len(records))


def robustness(bench: Bench) -> list[Line]:
    """Attainment at three times the load while something is wrong (DECISION 3.2 C, which has no bounds)."""
    whole = site(bench)
    base = Scenario(site=whole, asks=())
    cases: list[tuple[str, Scenario]] = [
        ("nothing wrong", base),
        ("30 % of b200's answers fail", _with(base, Kind.ERRORS, "b200", 0.3)),
        ("b200 dies", _with(base, Kind.DEAD, "b200")),
        ("groq answers 429 to all", _with(base, Kind.LIMITED, "groq")),
        ("h100 joins a minute in", _with(base, Kind.JOIN, "h100")),
        ("the catalogue says half of every speed", replace(base, site=half_bandwidth(whole))),
    ]
    lines: list[Line] = []
    for what, scenario in cases:
        bench.say(what)
        job = jobs(scenario, trace(bench), policies=(ROUTER,), loads=(3.0,), seeds=1, requests=bench.requests)[0]
        found = figures(whole, run(job.scenario, RouterGroup))
        lines.append(
            Line(
                f"3x, {what}: objectives met",
                f"{100.0 * found.attainment:.2f} %, {found.retries:.3f} retries a request",
                "",
                "",
                Verdict.NOTED,
            )
        )
    return lines


def _with(base: Scenario, kind: Kind, backend: str, amount: float = 0.0) -> Scenario:
    return replace(base, events=(Event(kind=kind, backend=backend, amount=amount, at_s=60.0),))
