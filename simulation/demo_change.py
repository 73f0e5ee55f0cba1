"""The demonstration changes the fleet while it runs: planned, applied, seen to decide, undone."""

from __future__ import annotations

import grpc

from router.v1 import config_pb2 as pb
from router.v1.config_pb2_grpc import ConfigServiceStub
from simulation.demo_calls import Result, over_grpc
from simulation.demo_needs import Need
from simulation.demo_show import Screen

# Ten times the list price of the backend that cheap work goes to.
DEARER = """
prices:
  - backend: {backend}
    model: llama-3.1-8b
    input_usd_per_mtok: 0.5
    output_usd_per_mtok: 0.8
    source: "demonstration: ten times the list price"
"""
ME = (("x-actor", "make demo"),)
LIMIT_S = 20.0


async def change(screen: Screen, admin: str, inference: grpc.aio.Channel, need: Need, backend: str) -> bool:
    """Makes `backend` dearer as a transaction, asks `need` again, takes the change back; whether all of that worked."""
    files = [pb.ConfigFile(name="prices.yaml", text=DEARER.format(backend=backend))]
    async with grpc.aio.insecure_channel(admin, options=(("grpc.enable_http_proxy", 0),)) as channel:
        stub = ConfigServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        plan = await stub.Plan(pb.PlanRequest(files=files), timeout=LIMIT_S)
        screen.line("  planned:", "bold")
        for difference in plan.differences:
            for field in difference.fields:
                ratio = f" (x{field.ratio:.2f})" if field.HasField("ratio") else ""
                screen.line(f"    {difference.id}: {field.path} {field.before} -> {field.after}{ratio}")
        effect = plan.effect
        screen.line(
            f"    of the last {effect.requests} requests {effect.moved} would go elsewhere; "
            f"cost ${effect.cost_usd_before:.6f} -> ${effect.cost_usd_after:.6f}"
        )
        applied = await stub.Apply(
            pb.ApplyRequest(files=files, expected_config_version=plan.config_version, note="a demonstration"),
            timeout=LIMIT_S,
            metadata=ME,
        )
        screen.line(f"  applied: version {applied.config_version}, on every replica after {applied.waited_s:.3f} s")
        result: Result = await over_grpc(inference, need, lambda _: None)
        screen.line(f"  {need.title}, asked again -> {result.backend} on {result.hardware}", "cyan")
        undone = await stub.Rollback(
            pb.RollbackRequest(version=plan.config_version, note="shown"), timeout=LIMIT_S, metadata=ME
        )
        screen.line(f"  rolled back: version {undone.config_version}; inference-router admin history tells of both")
    return bool(applied.acknowledged and undone.differences and result.backend) and not applied.missing
