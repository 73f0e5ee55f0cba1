"""Where each workload class goes on the mission's fleet (config/), and what the router says about it."""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import cast

from backends.contract import Backend as Adapter
from bench.routing.line import CONFIG, Bench, Line, Verdict
from router.clock import FakeClock
from router.dispatch.decider import Decider
from router.dispatch.fleet import Fleet
from router.domain.fleet import PrivacyLevel
from router.domain.pricing import books
from router.domain.request import Placement, RequestProfile
from router.domain.snapshot import FleetSnapshot
from router.prediction.output_length import OutputLength
from router.settings import load

# Class, what is asked for, how private, and the kinds of hardware that it should go to.
WANTED = (
    ("realtime", "llama-3.1-8b", PrivacyLevel.ANY, ("lpu", "wafer")),
    ("batch", "llama-3.1-8b", PrivacyLevel.ANY, ("asic",)),
    ("interactive", "llama-3.1-8b", PrivacyLevel.ANY, ("gpu",)),
    ("private", "auto", PrivacyLevel.ON_DEVICE, ("device", "cpu")),
)
DRAWS = 200


def classes(bench: Bench) -> list[Line]:
    """On an idle fleet; the sentence is the router's own."""
    bench.say("workload classes on config/")
    settings = load(CONFIG, dict(os.environ))
    clock = FakeClock()
    fleet = Fleet(
        catalogue=settings.catalogue,
        build_adapter=lambda spec: cast(Adapter, spec),
        clock=clock,
        policies=settings.policies,
    )
    fleet.apply(
        FleetSnapshot(
            version=1,
            backends={b.id: b for b in settings.seed.backends if b.emulated or b.privacy is PrivacyLevel.ON_DEVICE},
            prices={(book.backend, book.model): book for book in books(settings.seed.prices)},
        )
    )
    rng = random.Random(1)
    decider = Decider(fleet=fleet, lengths=OutputLength(), clock=clock, uniform=rng.random, age=lambda: 0.0)
    lines: list[Line] = []
    for name, model, privacy, kinds in WANTED:
        chosen: Counter[str] = Counter()
        why = ""
        for n in range(DRAWS):
            plan = decider.plan(
                RequestProfile(
                    request_id=f"{name}{n}",
                    model=model,
                    input_tokens=400.0,
                    max_output_tokens=300,
                    workload_class=name,
                    placement=Placement(privacy=privacy),
                    explain=n == 0,
                )
            )
            if plan.ranking.ordered:
                chosen[plan.ranking.ordered[0].row.id] += 1
            why = why or plan.decision.why
        backend, times = chosen.most_common(1)[0] if chosen else ("nothing", 0)
        hardware = settings.catalogue.hardware[fleet.members[backend].backend.hardware] if times else None
        right = hardware is not None and hardware.kind in kinds
        lines.append(
            Line(
                f"{name} goes to",
                f"{backend}, {hardware.name if hardware else '-'}, {times} of {DRAWS}: {why}",
                " or ".join(kinds),
                "",
                Verdict.REACHED if right else Verdict.MISSED,
            )
        )
    return lines
