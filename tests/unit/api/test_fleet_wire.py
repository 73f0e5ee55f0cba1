"""What people watch, as messages: what is not known stays unset, and prices read well."""

from __future__ import annotations

import re

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from router.api.wire.fleet import encode_feed, encode_recorded, encode_replica, encode_view, price_in_words
from router.dispatch.overview import BackendView
from router.dispatch.recent import Recorded
from router.dispatch.traffic import IDLE, Rates
from router.domain.decision import Decision, HardwareLabel
from router.domain.fleet import Backend, Health, HealthState, LiveLoad, ServedModel
from router.domain.outcome import AttemptOutcome, Outcome, TokenUsage
from router.domain.price_feed import FeedKind, FeedSettings, FeedStatus, report
from router.domain.pricing import Price, Source
from router.domain.replica import Beat, Replica
from router.domain.request import RequestProfile
from router.v1 import common_pb2
from router.v1 import fleet_pb2 as pb

BACKEND = Backend(
    id="h100",
    wire="openai_chat",
    address="http://h",
    models=(ServedModel(model="m"), ServedModel(model="n")),
    region="eu-north1",
    max_concurrency=8,
)
LABEL = HardwareLabel(id="h100-sxm-80", name="NVIDIA H100", count=4, emulated=True)
OPTIONAL = (
    *("running", "waiting", "kv_cache_usage", "usd_per_mtok_blended"),
    *("ttft_predicted_s", "ttft_actual_s", "tpot_predicted_s", "tpot_actual_s"),
)


def view(
    *,
    health: Health | None = None,
    load: LiveLoad | None = None,
    rates: Rates = IDLE,
    price: Price | None = None,
    usd_per_mtok: float | None = None,
) -> BackendView:
    return BackendView(
        backend=BACKEND,
        hardware=LABEL,
        health=health or Health(),
        load=load or LiveLoad(),
        in_flight=2.5,
        rates=rates,
        share=0.25,
        price=price,
        usd_per_mtok=usd_per_mtok,
    )


def test_what_is_known_of_a_backend_is_said() -> None:
    """Every figure of the view arrives under its own name."""
    encoded = encode_view(
        view(
            health=Health(state=HealthState.SUSPECT, reason="slow", since=1_800_000_000.5, evidence="p99 8x"),
            load=LiveLoad(running=3, waiting=1, kv_cache_usage=0.5),
            rates=Rates(
                requests_per_s=2.0,
                tokens_per_s=60.0,
                usd_per_hour=0.7,
                failure_rate=0.1,
                ttft_predicted_s=0.1,
                ttft_actual_s=0.2,
                tpot_predicted_s=0.003,
                tpot_actual_s=0.004,
            ),
            price=Price(backend="h100", usd_per_hour=11.8, source_kind=Source.FEED),
            usd_per_mtok=0.56,
        )
    )

    assert encoded == pb.BackendOverview(
        id="h100",
        hardware=common_pb2.Hardware(id="h100-sxm-80", name="NVIDIA H100", count=4, emulated=True),
        region="eu-north1",
        health=common_pb2.HEALTH_STATE_SUSPECT,
        health_reason="slow",
        health_since=Timestamp(seconds=1_800_000_000, nanos=500_000_000),
        health_evidence="p99 8x",
        in_flight=2.5,
        max_concurrency=8,
        running=3,
        waiting=1,
        kv_cache_usage=0.5,
        ttft_predicted_s=0.1,
        ttft_actual_s=0.2,
        tpot_predicted_s=0.003,
        tpot_actual_s=0.004,
        usd_per_mtok_blended=0.56,
        price="$11.80 per hour",
        price_source="feed",
        share=0.25,
        requests_per_s=2.0,
        tokens_per_s=60.0,
        usd_per_hour=0.7,
        failure_rate=0.1,
        models=["m", "n"],
    )


def test_what_is_not_known_is_unset_and_not_zero() -> None:
    """No load, no traffic, no price, no time of health: the fields are absent."""
    encoded = encode_view(view())

    assert [name for name in (*OPTIONAL, "health_since") if encoded.HasField(name)] == []
    assert (encoded.price, encoded.price_source) == ("", "")


@pytest.mark.parametrize("state", list(HealthState))
def test_every_state_of_health_has_its_number(state: HealthState) -> None:
    """A state that is added is added to the contract as well."""
    number = encode_view(view(health=Health(state=state))).health

    assert common_pb2.HealthState.Name(number) == f"HEALTH_STATE_{state.name}"


@pytest.mark.parametrize(
    ("price", "words"),
    [
        ({"input_usd_per_mtok": 2.5, "output_usd_per_mtok": 10.0}, "$2.50 / $10.00 per Mtok"),
        ({"input_usd_per_mtok": 0.05, "output_usd_per_mtok": 0.08}, "$0.05 / $0.08 per Mtok"),
        ({"output_usd_per_mtok": 0.0}, "$0.00 / $0.00 per Mtok"),
        ({"input_usd_per_mtok": 0.0375, "output_usd_per_mtok": 0.15}, "$0.0375 / $0.15 per Mtok"),
        ({"usd_per_hour": 11.8}, "$11.80 per hour"),
        ({"usd_per_hour": 1234.5}, "$1,234.50 per hour"),
        ({"usd_per_hour": 0.0042}, "$0.0042 per hour"),
        ({"request_usd": 0.0000004}, "$0.0000004 per request"),
        ({"usd_per_hour": 2.0, "request_usd": 0.01}, "$2.00 per hour, $0.01 per request"),
        ({"batch_discount": 0.5}, ""),
    ],
)
def test_prices_in_words(price: dict[str, float], words: str) -> None:
    """As price lists have them: cents, and digits where cents would say nothing."""
    assert price_in_words(Price(backend="a", **price)) == words  # type: ignore[arg-type]  # a test's own keywords


def test_no_price_has_no_words() -> None:
    """Nobody knows it: nothing is said, least of all zero."""
    assert price_in_words(None) == ""


@given(amount=st.floats(1e-12, 1e9))
def test_an_amount_keeps_its_value_and_has_no_exponent(amount: float) -> None:
    """Every positive price reads as digits, within half a cent or half a per cent of what it is."""
    words = price_in_words(Price(backend="a", usd_per_hour=amount))
    found = re.fullmatch(r"\$([\d,]+\.?\d*) per hour", words)

    assert found is not None
    assert float(found[1].replace(",", "")) == pytest.approx(amount, rel=0.005, abs=0.005001 if amount > 0.1 else 0.0)


def test_a_decision_that_was_answered_and_one_that_was_picked() -> None:
    """An answer has its times, money and attempts; a pick has nothing actual."""
    profile = RequestProfile(request_id="r1", model="fast", input_tokens=20.0, tenant="team-a")
    decision = Decision(id="r1", ranked=(), workload_class="batch", decided_at=1_800_000_000.0)
    outcome = Outcome(
        request_id="r1",
        finish_reason="stop",
        stop_sequence="",
        usage=TokenUsage(),
        cost_usd=0.25,
        energy_j=0.0,
        started_at=1.0,
        ttft_s=0.5,
        tpot_s=0.1,
        e2e_s=1.0,
        routing_s=0.0,
        attempts=(
            AttemptOutcome(backend="a", model="m", result="OVERLOADED"),
            AttemptOutcome(backend="b", model="m", result="OK"),
        ),
    )

    answered = encode_recorded(Recorded(profile, decision, 1.0, 7, outcome, "OK"))
    picked = encode_recorded(Recorded(profile, decision, 1.0, 7, None, "PICKED"))

    assert answered == pb.RecentDecision(
        at=Timestamp(seconds=1_800_000_000),
        request_id="r1",
        tenant="team-a",
        model="fast",
        workload_class="batch",
        backend="b",
        result="OK",
        ttft_actual_s=0.5,
        cost_usd=0.25,
        attempts=2,
        candidates=7,
    )
    assert (picked.result, picked.attempts, picked.HasField("ttft_actual_s")) == ("PICKED", 0, False)


def test_a_replica_and_a_feed() -> None:
    """Who runs what since when; a feed as it is configured and as it is doing."""
    beat = Beat(replica="r1", fleet_version=9, started_at=1_800_000_000.0, requests_in_flight=3, probes=4)
    settings = FeedSettings(name="spot", kind=FeedKind.HTTP_JSON, url="http://p", interval_s=60.0, max_age_s=600.0)
    status = FeedStatus(name="spot", last_good_at=5.0, prices=2, refused=1, last_error="503", owner="r2")

    assert encode_replica(Replica(beat=beat, age_s=0.25), own="r1") == pb.Replica(
        id="r1",
        fleet_version=9,
        in_flight=3,
        age_s=0.25,
        started_at=Timestamp(seconds=1_800_000_000),
        leases=4,
        self=True,
    )
    assert not encode_replica(Replica(beat=Beat(replica="r2")), own="r1").HasField("started_at")
    assert encode_feed(report(settings, status, 1_000.0)) == pb.Feed(
        name="spot",
        kind="http_json",
        state="stale",
        last_good_at=Timestamp(seconds=5),
        interval_s=60.0,
        max_age_s=600.0,
        prices=2,
        refused=1,
        last_error="503",
        owner="r2",
    )
    assert not encode_feed(report(settings, None, 1_000.0)).HasField("last_good_at")
