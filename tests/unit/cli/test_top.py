"""What `top` shows of a view, at any width and height: nothing that matters is cut."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from router.cli.top import fitting, render
from router.v1 import common_pb2
from router.v1 import fleet_pb2 as pb
from tests.unit.cli.top_views import FULL, backend, decision, overview

WIDTHS = (80, 110, 200)
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
NARROWEST = 80


def lines(view: pb.GetOverviewResponse, width: int, problem: str = "") -> list[str]:
    """The screen as text, as wide as it is."""
    console = Console(width=width)
    with console.capture() as captured:
        console.print(render(view, "127.0.0.1:50052", width=width, problem=problem))
    return ESCAPE.sub("", captured.get()).splitlines()


def row(shown: list[str], name: str) -> str:
    """What belongs to a backend: its line, and the one below where hardware has its own."""
    at = next(number for number, line in enumerate(shown) if line.startswith(name))
    return "\n".join(shown[at : at + 2])


@pytest.mark.parametrize("width", WIDTHS)
def test_what_matters_can_be_read_at_every_width(width: int) -> None:
    """Backend, hardware with its label, health, load, share, times and price of a token are there in full."""
    shown = row(lines(FULL, width), "h100-vllm")

    for expected in (
        "emulated 4x NVIDIA H100 SXM 80GB",
        *("healthy", "12/256", "42%", "123/56.7", "7.89/12.3", "$0.57"),
    ):
        assert expected in shown


@pytest.mark.parametrize(("width", "there"), [(80, False), (110, False), (200, True)])
def test_a_wide_screen_shows_more(width: int, *, there: bool) -> None:
    """Rates, dollars an hour and the price in words are what narrow screens do without."""
    screen = "\n".join(lines(FULL, width))

    for expected in ("req/s", "tok/s", "$/h", "$11.80 per hour (config)", "ejected: CONNECT_FAILED"):
        assert (expected in screen) is there


@pytest.mark.parametrize("width", WIDTHS)
def test_decisions_show_who_asked_who_answered_and_what_it_took(width: int) -> None:
    """Newest first, with predicted and actual time and money; a refusal by its reason."""
    running = decision(4)
    running.ClearField("result")
    view = overview(decisions=[decision(5, result="RATE_LIMITED"), running])
    shown = [line for line in lines(view, width) if "team-a" in line]

    assert len(shown) == 2
    for expected in ("08:00:05", "team-a", "fast-chat", "h100-vllm", "RATE_LIMITED", "129/124", "$0.0000068"):
        assert expected in shown[0]
    assert "running" in shown[1]


@pytest.mark.parametrize("width", WIDTHS)
def test_alarms_and_the_state_of_the_store_are_shown(width: int) -> None:
    """Every alarm has its line; a store that is not there is told with for how long and how old the snapshot is."""
    away = overview(store="away", store_for_s=12.0, snapshot_age_s=13.0, alarms=["a is ejected: refused", "disk full"])
    screen = " ".join(" ".join(lines(away, width)).split())

    assert "store away for 12 s, snapshot 13 s old" in screen
    assert "! a is ejected: refused" in screen
    assert "! disk full" in screen
    assert "store connected 17 in flight 45.6 requests/s $7.89/h" in " ".join(" ".join(lines(FULL, width)).split())


def test_a_snapshot_of_no_age_is_not_infinitely_old() -> None:
    """From disk, before the store has ever answered, there is no age to tell."""
    screen = "\n".join(lines(overview(store="from disk", store_for_s=2.0, snapshot_age_s=float("inf")), 200))

    assert "store from disk for 2 s " in screen
    assert "inf" not in screen.replace("in flight", "")


names = st.text("abcdefgh-0123456789", min_size=1, max_size=60)
numbers = st.floats(0.0, 1e5)
backends = st.builds(
    backend,
    name=names,
    hardware=st.builds(common_pb2.Hardware, name=names, count=st.integers(1, 9999), emulated=st.booleans()),
    health=st.sampled_from(common_pb2.HealthState.values()),
    health_reason=st.text(max_size=80),
    in_flight=st.floats(0.0, 9999.0),
    max_concurrency=st.integers(1, 9999),
    ttft_predicted_s=st.floats(0.0, 600.0),
    ttft_actual_s=st.floats(0.0, 600.0),
    tpot_actual_s=st.floats(0.0, 60.0),
    usd_per_mtok_blended=st.floats(1e-6, 1e4),
    usd_per_hour=numbers,
    tokens_per_s=numbers,
    share=st.floats(0.0, 1.0),
)


@settings(max_examples=60)
@given(shown=st.lists(backends, min_size=1, max_size=4), width=st.integers(NARROWEST, 260))
def test_no_width_cuts_a_number_or_hides_emulation(shown: list[pb.BackendOverview], width: int) -> None:
    """Whatever the names and figures, no line is too long, no number is cut, no emulated backend goes unlabelled."""
    screen = lines(overview(backends=shown), width)
    text = "\n".join(screen)

    assert max(cell_len(line) for line in screen) <= width
    assert text.count("emulated ") == sum(one.hardware.emulated for one in shown)
    for one in shown:
        for figure in (f"{one.in_flight:.0f}/{one.max_concurrency}", f"{one.share:.0%}"):
            assert figure in text
        if one.HasField("ttft_actual_s"):
            assert figures(one.ttft_predicted_s, one.ttft_actual_s) in text
            assert figures(one.tpot_predicted_s, one.tpot_actual_s) in text


def figures(*times_s: float) -> str:
    """As the columns have them: three digits, in milliseconds."""
    return "/".join(f"{s * 1e3:.{0 if s >= 0.09995 else 1 if s >= 0.009995 else 2}f}" for s in times_s)


@pytest.mark.parametrize("width", [30, 45, 60, 79])
def test_a_screen_too_narrow_for_the_table_still_has_every_figure(width: int) -> None:
    """Below eighty columns figures go on in further lines instead of being cut."""
    shown = lines(overview(backends=[backend()]), width)
    at = next(number for number, line in enumerate(shown) if line.startswith("───"))
    digits = "".join(c for line in shown[at + 1 :] for c in line if c.isdigit())

    assert "…" not in "".join(shown) or width >= 60
    for figure in ("12256", "42"):
        assert sorted(figure) == sorted(c for c in figure if c in digits)


def test_what_comes_from_elsewhere_cannot_steer_the_terminal() -> None:
    """Escape sequences and line ends in a backend's own words are not passed on."""
    evil = backend("a", health=common_pb2.HEALTH_STATE_SUSPECT, health_reason="\x1b[2Jgone\nnext\x07")
    console = Console(width=200, force_terminal=True)
    with console.capture() as captured:
        console.print(render(overview(backends=[evil], alarms=["\x1b[2J!"]), "x", width=200))

    assert "\x1b[2J" not in captured.get()
    assert "\x07" not in captured.get()
    assert "suspect:  [2Jgone next" in captured.get()


@settings(max_examples=20)
@given(
    width=st.integers(NARROWEST, 200),
    height=st.integers(20, 60),
    count=st.integers(1, 60),
    decisions=st.integers(0, 30),
    alarms=st.integers(0, 30),
)
def test_a_screen_is_filled_and_never_overflows(
    width: int, height: int, count: int, decisions: int, alarms: int
) -> None:
    """The busiest backends, some alarms and the replicas are on every screen, whatever there is to show."""
    view = overview(
        backends=[backend(f"b{number:02}") for number in range(count)],
        decisions=[decision(number) for number in range(decisions)],
        alarms=[f"alarm {number}" for number in range(alarms)],
        replicas=[pb.Replica(id=f"replica-{number}") for number in range(20)],
        backend_count=500,
    )
    console = Console(width=width, height=height)
    with console.capture() as captured:
        console.print(fitting(view, "127.0.0.1:50052", console))
    shown = captured.get().splitlines()

    assert len(shown) <= height
    assert any(line.startswith("b00") for line in shown)
    assert "and 15 more" in " ".join(" ".join(shown).split())
    assert sum(line.startswith("! ") for line in shown) == min(alarms, 4)
    if alarms > 4:
        assert f"! ... and {alarms - 3} more (see top --once)" in [line.rstrip() for line in shown]
