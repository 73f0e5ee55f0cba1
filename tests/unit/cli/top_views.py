"""Views of a fleet, as a router answers `top` with them."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from router.v1 import common_pb2
from router.v1 import fleet_pb2 as pb


def backend(name: str = "h100-vllm", **fields: object) -> pb.BackendOverview:
    shown = pb.BackendOverview(
        id=name,
        hardware=common_pb2.Hardware(id="h100-sxm-80", name="NVIDIA H100 SXM 80GB", count=4, emulated=True),
        health=common_pb2.HEALTH_STATE_HEALTHY,
        in_flight=12,
        max_concurrency=256,
        ttft_predicted_s=0.1234,
        ttft_actual_s=0.0567,
        tpot_predicted_s=0.00789,
        tpot_actual_s=0.01234,
        usd_per_mtok_blended=0.5678,
        price="$11.80 per hour",
        price_source="config",
        share=0.42,
        requests_per_s=3.7,
        tokens_per_s=811.0,
        usd_per_hour=1.25,
    )
    shown.MergeFrom(pb.BackendOverview(**fields))  # type: ignore[arg-type]  # a test's own keywords
    return shown


def decision(number: int = 1, **fields: object) -> pb.RecentDecision:
    made = pb.RecentDecision(
        at=Timestamp(seconds=1_800_000_000 + number),
        request_id=f"r{number}",
        tenant="team-a",
        model="fast-chat",
        workload_class="interactive",
        backend="h100-vllm",
        result="OK",
        ttft_predicted_s=0.129,
        ttft_actual_s=0.124,
        cost_usd=0.0000068,
        attempts=1,
        candidates=7,
    )
    made.MergeFrom(pb.RecentDecision(**fields))  # type: ignore[arg-type]  # a test's own keywords
    return made


def overview(**fields: object) -> pb.GetOverviewResponse:
    shown = pb.GetOverviewResponse(
        replica="r1",
        fleet_version=28,
        store="connected",
        in_flight=17,
        requests_per_s=45.6,
        usd_per_hour=7.89,
        backend_count=1,
        replicas=[pb.Replica(id="r1", fleet_version=28, in_flight=17, self=True)],
    )
    shown.MergeFrom(pb.GetOverviewResponse(**fields))  # type: ignore[arg-type]  # a test's own keywords
    return shown


FULL = overview(
    backends=[
        backend(),
        backend("groq-lpu", hardware=common_pb2.Hardware(id="g", name="Groq LPU v1", count=576)),
        pb.BackendOverview(
            id="device",
            hardware=common_pb2.Hardware(id="cpu", name="2-core CPU"),
            health=common_pb2.HEALTH_STATE_EJECTED,
            health_reason="CONNECT_FAILED",
        ),
    ],
    decisions=[decision(2), decision(1)],
    backend_count=3,
)
