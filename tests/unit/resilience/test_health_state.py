"""The health of a backend as a state machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.fleet import Health, HealthState
from router.resilience.health_state import DRAINED, WELL, Evidence, HealthMachine, HealthRules

RULES = HealthRules()
HEALTHY, SUSPECT, EJECTED = HealthState.HEALTHY, HealthState.SUSPECT, HealthState.EJECTED
WARMING, DRAINING, UNKNOWN = HealthState.WARMING, HealthState.DRAINING, HealthState.UNKNOWN
MOST = Evidence(attempts=20, failed=18, replicas=3, live=3, last_error="UPSTREAM_FAULT")
SOME = Evidence(attempts=20, failed=9, replicas=3, live=3, last_error="UPSTREAM_FAULT")
NONE = Evidence(attempts=20, live=3)


def healthy(now: float = 0.0) -> HealthMachine:
    machine = HealthMachine(RULES)
    machine.probe_succeeded(now, "r1")
    assert machine.state is HEALTHY
    return machine


def fail(machine: HealthMachine, now: float, *, times: int = 3) -> None:
    for _ in range(times):
        machine.probe_failed(now, "r1", "connection refused")


def succeed(machine: HealthMachine, now: float, *, times: int = 2) -> None:
    for _ in range(times):
        machine.probe_succeeded(now, "r1")


def test_one_good_probe_makes_a_new_backend_healthy() -> None:
    """Nobody waits for a backend that has never failed."""
    assert healthy(5.0).health == Health(state=HEALTHY, reason=WELL, since=5.0, evidence="1 probe of r1 succeeded")


def test_failed_probes_in_a_row_eject_it_and_say_so() -> None:
    """Two are not enough, nor three with a good one between; the third in a row is."""
    machine = healthy()
    fail(machine, 1.0, times=2)
    succeed(machine, 2.0, times=1)
    fail(machine, 3.0, times=2)
    assert machine.state is HEALTHY
    fail(machine, 4.0, times=1)
    assert machine.health == Health(
        state=EJECTED,
        reason="connection refused",
        since=4.0,
        evidence="3 probes of r1 failed: connection refused",
    )


def test_it_comes_back_by_two_good_probes() -> None:
    """After an outage longer than its hold-down it is healthy with the second good probe in a row."""
    machine = healthy()
    fail(machine, 1.0)
    succeed(machine, 60.0, times=1)
    assert machine.state is EJECTED
    succeed(machine, 62.0, times=1)
    assert (machine.state, machine.health.since) == (HEALTHY, 62.0)


def test_after_a_short_outage_it_is_suspect_until_its_hold_down_is_over() -> None:
    """Five seconds after the first fall, whatever its probes say, and then with the next good one."""
    machine = healthy()
    fail(machine, 10.0)
    succeed(machine, 11.0)
    assert (machine.state, machine.health.reason) == (SUSPECT, "fell lately, held back for 4 s")
    succeed(machine, 14.9)
    assert machine.state is SUSPECT
    succeed(machine, 15.0, times=1)
    assert machine.state is HEALTHY


def test_each_fall_doubles_the_hold_down_up_to_five_minutes() -> None:
    """5 s, 10 s, 20 s and so on, nearly: the penalty fades a little between the falls."""
    machine = healthy()
    now, holds = 0.0, []
    for _ in range(9):
        fail(machine, now)
        holds.append(machine.held_until - now)
        now += 0.1
        succeed(machine, now)
        now += 0.1
    assert holds == pytest.approx([5, 10, 20, 40, 80, 160, 300, 300, 300], rel=0.02)


def test_falls_are_forgotten() -> None:
    """Half an hour of good service later a fall costs as little as the first."""
    machine = healthy()
    for now in (0.0, 1.0, 2.0, 3.0):
        fail(machine, now)
        succeed(machine, now + 0.5)
    assert machine.held_until > 35.0
    succeed(machine, 1_000.0)
    assert machine.state is HEALTHY
    fail(machine, 2_800.0)
    assert machine.held_until - 2_800.0 == pytest.approx(5.0, abs=0.2)


def test_some_failing_attempts_make_it_suspect_most_eject_it() -> None:
    """The evidence is in words: how many of how many, where, and the last error."""
    machine = healthy()
    machine.attempts(1.0, SOME)
    assert (machine.state, machine.health.reason) == (SUSPECT, "attempts fail")
    assert machine.health.evidence == ("9 of 20 attempts of the last 10 s failed on 3 replicas, last: UPSTREAM_FAULT")
    machine.attempts(2.0, MOST)
    assert (machine.state, machine.health.reason) == (EJECTED, "most attempts fail")


@pytest.mark.parametrize(
    ("evidence", "state"),
    [
        (Evidence(attempts=4, failed=4, replicas=2, live=2), HEALTHY),
        (Evidence(attempts=5, failed=5, replicas=2, live=2), SUSPECT),
        (Evidence(attempts=9, failed=9, replicas=1), SUSPECT),
        (Evidence(attempts=10, failed=10, replicas=1), EJECTED),
        (Evidence(attempts=100, failed=25, replicas=3, live=3), HEALTHY),
        (Evidence(attempts=100, failed=30, replicas=3, live=3), SUSPECT),
        (Evidence(attempts=100, failed=55, replicas=3, live=3), SUSPECT),
        (Evidence(attempts=100, failed=60, replicas=3, live=3), EJECTED),
        (Evidence(attempts=100, failed=100, replicas=1, live=3), SUSPECT),
    ],
)
def test_a_share_counts_when_it_is_surely_reached(evidence: Evidence, state: HealthState) -> None:
    """Few attempts prove little, and what one of several replicas sees alone ejects nothing: its circuit is open."""
    machine = healthy()
    machine.attempts(1.0, evidence)
    assert machine.state is state


def test_it_stays_suspect_while_attempts_fail() -> None:
    """Good probes end it only when no more than a tenth of the attempts fail, and five seconds have passed."""
    machine = healthy()
    machine.attempts(1.0, SOME)
    for now in (3.0, 5.0, 7.0):
        machine.attempts(now, SOME)
        succeed(machine, now)
        assert machine.state is SUSPECT
    machine.attempts(9.0, NONE)
    succeed(machine, 9.0, times=1)
    assert machine.state is HEALTHY


def test_ejected_for_its_answers_it_is_tried_with_a_little_traffic_first() -> None:
    """Good probes prove nothing then: out until the bad attempts have left the window, then suspect, then healthy."""
    machine = healthy()
    machine.attempts(1.0, MOST)
    succeed(machine, 9.0, times=5)
    assert machine.state is EJECTED
    machine.attempts(12.0, MOST)
    succeed(machine, 12.5, times=1)
    assert machine.state is SUSPECT
    machine.attempts(13.0, Evidence())
    succeed(machine, 17.0, times=1)
    assert machine.state is SUSPECT
    succeed(machine, 17.5, times=1)
    assert machine.state is HEALTHY


def test_attempts_from_before_it_was_taken_out_are_not_held_against_it_again() -> None:
    """A backend that is back at once still has its bad attempts in the window: no second fall for the same failures."""
    machine = healthy()
    fail(machine, 1.0)
    succeed(machine, 3.0)
    machine.attempts(4.0, MOST)
    assert machine.state is SUSPECT
    machine.attempts(12.6, MOST)
    assert machine.state is EJECTED


def test_a_loading_backend_is_warming_and_then_healthy() -> None:
    """From the start, and after an outage, then with the proof that any other comeback takes."""
    machine = HealthMachine(RULES)
    machine.probe_warming(0.0, "r1", "")
    assert (machine.state, machine.health.reason) == (WARMING, "it is loading")
    succeed(machine, 20.0, times=1)
    assert machine.state is HEALTHY
    fail(machine, 30.0)
    machine.probe_warming(40.0, "r1", "loading weights")
    assert machine.state is WARMING
    succeed(machine, 50.0, times=1)
    assert machine.state is WARMING
    succeed(machine, 52.0, times=1)
    assert machine.state is HEALTHY


def test_a_drained_backend_says_so_and_is_afterwards_what_it_was() -> None:
    """Draining hides the state and does not stop it: one that died while it was drained comes back ejected."""
    machine = healthy(1.0)
    machine.drained(2.0, drained=True)
    machine.drained(3.0, drained=True)
    assert machine.health == Health(state=DRAINING, reason=DRAINED, since=2.0)
    fail(machine, 4.0)
    assert (machine.state, machine.taken_out) == (DRAINING, True)
    machine.drained(5.0, drained=False)
    assert (machine.state, machine.health.since) == (EJECTED, 5.0)


def test_who_takes_over_goes_on_from_what_was_agreed() -> None:
    """The word of the judge before is taken with its time and reason, and coming back takes the same proof."""
    machine = healthy()
    agreed = Health(state=EJECTED, reason="refused", since=10.0, evidence="3 probes of r2 failed", version=4)
    machine.adopt(11.0, agreed)
    assert machine.health == Health(state=EJECTED, reason="refused", since=10.0, evidence="3 probes of r2 failed")
    succeed(machine, 12.0, times=1)
    assert machine.state is EJECTED
    succeed(machine, 13.0, times=1)
    assert (machine.state, machine.held_until) == (SUSPECT, 15.0)
    machine.adopt(14.0, Health(state=DRAINING, since=14.0))
    assert machine.state is SUSPECT


evidences = st.builds(
    lambda attempts, share, replicas, live: Evidence(
        attempts=attempts, failed=round(attempts * share), replicas=min(replicas, live), live=live
    ),
    st.integers(0, 60),
    st.floats(0.0, 1.0),
    st.integers(0, 4),
    st.integers(1, 4),
)
events = st.one_of(
    st.just(("ok", None)),
    st.just(("ok", None)),
    st.just(("fail", None)),
    st.just(("fail", None)),
    st.just(("warm", None)),
    st.tuples(st.just("attempts"), evidences),
    st.tuples(st.just("drain"), st.booleans()),
)
steps = st.lists(st.tuples(st.sampled_from((0.0, 0.2, 1.0, 2.0, 7.0, 30.0)), events), max_size=120)


def play(machine: HealthMachine, now: float, name: str, value: object) -> None:
    if name == "ok":
        machine.probe_succeeded(now, "r1")
    elif name == "fail":
        machine.probe_failed(now, "r1", "refused")
    elif name == "warm":
        machine.probe_warming(now, "r1", "loading")
    elif isinstance(value, Evidence):
        machine.attempts(now, value)
    else:
        machine.drained(now, drained=bool(value))


@given(script=steps)
def test_whatever_happens_the_rules_hold(script: list[tuple[float, tuple[str, object]]]) -> None:
    """Service after an ejection has successes behind it, no return to healthy beats the hold-down, since is exact."""
    machine = HealthMachine(RULES)
    now = 1_000.0
    successes = 0
    out = False
    fell_at: float | None = None
    for pause, (name, value) in script:
        now += pause
        before, core_before = machine.health, machine._core.state
        play(machine, now, name, value)
        after, core = machine.health, machine._core.state
        successes = successes + 1 if name == "ok" else 0 if name in {"fail", "warm"} else successes

        if core is EJECTED and core_before is not EJECTED:
            out, successes = True, 0
        if out and core in {HEALTHY, SUSPECT, UNKNOWN}:
            assert successes >= RULES.recover_after_probes
            out = False
        if core_before is HEALTHY and core is not HEALTHY:
            fell_at = now
        if core is HEALTHY and core_before is not HEALTHY and fell_at is not None:
            assert now - fell_at >= RULES.hold_first_s
        if after.state is before.state:
            assert after == before
        else:
            assert after.since == now
            assert after.reason
        assert machine._penalty <= 8.0
        assert machine.held_until <= now + RULES.hold_max_s


@given(gaps=st.lists(st.floats(0.5, 400.0), min_size=1, max_size=25), extra=st.floats(0.1, 0.4))
def test_more_falls_hold_longer(gaps: list[float], extra: float) -> None:
    """A backend that fell once more than another, all else equal, is never held for less."""

    def hold(falls: list[float]) -> float:
        machine = healthy()
        for at in falls:
            machine._held_until = 0.0  # each fall from full service
            succeed(machine, at)
            assert machine.state is HEALTHY
            fail(machine, at)
        return machine.held_until - falls[-1]

    falls = [sum(gaps[: n + 1]) for n in range(len(gaps))]
    more = sorted([*falls, falls[len(falls) // 2] - extra])
    assert hold(more) >= hold(falls) - 1e-9


@given(seen=evidences, more=st.integers(1, 30))
def test_evidence_only_grows_surer(seen: Evidence, more: int) -> None:
    """Further failures never make a share less sure, and a share is never surely above one."""
    worse = Evidence(attempts=seen.attempts + more, failed=seen.failed + more)
    assert worse.surely_above(0.2, 5) >= seen.surely_above(0.2, 5)
    assert not seen.surely_above(1.0, 0)
    assert 0.0 <= seen.share <= 1.0
