"""Opens the log of decisions over a fleet."""

from __future__ import annotations

import random
from pathlib import Path

from router.clock import Clock
from router.decisions.capture import Capture
from router.decisions.draws import Draws
from router.decisions.lines import Lines, hidden
from router.decisions.log import DecisionLog
from router.decisions.sampling import Sampler
from router.decisions.segments import Segments
from router.dispatch.fleet import Fleet
from router.settings.router_yaml import DecisionSettings, RouterSettings
from router.state.connection import store_identity
from router.telemetry.decision_metrics import DecisionMetrics


def decisions_dir(router: RouterSettings) -> Path | None:
    """Where the log of a router is: where it is told to be, else below its state directory; None: nowhere."""
    if router.decisions.path is not None:
        return Path(router.decisions.path)
    if router.state_dir is None:
        return None
    return Path(router.state_dir) / store_identity(router.redis_url, router.namespace) / "decisions"


def open_log(
    settings: DecisionSettings,
    *,
    directory: Path | None,
    replica: str,
    fleet: Fleet,
    draws: Draws,
    metrics: DecisionMetrics,
    clock: Clock,
) -> DecisionLog | None:
    """The log; None where there is to be none."""
    if directory is None or settings.share == 0.0:
        return None
    return DecisionLog(
        segments=Segments(directory, replica, max_bytes=settings.max_bytes),
        lines=Lines(replica, hide=hidden) if settings.hide_names else Lines(replica),
        capture=Capture(snapshot=lambda: fleet.snapshot, rows_for=fleet.rows_for),
        draws=draws,
        sampler=Sampler(
            max_bytes=settings.max_bytes,
            uniform=random.Random().random,
            now=clock.monotonic(),
            fixed=settings.share,
        ),
        metrics=metrics,
        clock=clock,
    )
