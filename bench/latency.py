"""What a gateway adds to the time to the first token at low load, against asking the upstream itself."""

from __future__ import annotations

from bench.figures import ROUTER, Figure, Section, quantile
from bench.gateways import Gateway
from bench.lab import Lab, LoadFailed
from bench.load_job import Job

PER_S = 50.0
LANES = 64
TOKENS = 4
PAUSE_MS = 5
DIRECT = "direct"
OVER_GRPC = f"{ROUTER}, gRPC"
P50_MS = 1.0
P99_MS = 3.0


async def measure(lab: Lab, gateways: dict[str, Gateway]) -> Section:
    """TTFT of the upstream itself, then what each gateway adds to it in the same round."""
    itself = Gateway(name=DIRECT, http=lab.upstream, grpc="", pids=())
    jobs = {DIRECT: (itself, "http")} | {subject: (gateway, "http") for subject, gateway in gateways.items()}
    jobs[OVER_GRPC] = (gateways[ROUTER], "generate")
    figures = [
        Figure("ttft_added_p50", "added to TTFT over HTTP, p50", "ms", P50_MS),
        Figure("ttft_added_p99", "added to TTFT over HTTP, p99", "ms", P99_MS),
        Figure("grpc_ttft_added_p50", "added to TTFT over gRPC, p50", "ms", P50_MS),
        Figure("grpc_ttft_added_p99", "added to TTFT over gRPC, p99", "ms", P99_MS),
    ]
    direct = [
        Figure("ttft_direct_p50", "TTFT without a gateway, p50", "ms"),
        Figure("ttft_direct_p99", "TTFT without a gateway, p99", "ms"),
    ]
    section = Section("latency", f"Latency at {PER_S:.0f} streams a second", (*gateways, DIRECT), [*figures, *direct])
    given_up: set[str] = set()
    for turn in range(lab.rounds + 1):
        lab.progress.step(f"latency, round {turn} of {lab.rounds}" if turn else "latency, warming up")
        base: dict[float, float] = {}
        for subject, (gateway, face) in jobs.items():
            if subject in given_up:
                continue
            try:
                ttft_ms = await _ttft_ms(lab, gateway, face, warm_up=not turn)
            except LoadFailed as failure:
                if subject == DIRECT:
                    raise
                given_up.add(subject)
                section.fail(subject, "", failure)
                continue
            if not turn:
                continue
            for n, share in enumerate((0.5, 0.99)):
                found = quantile(ttft_ms, share)
                if subject == DIRECT:
                    base[share] = found
                    direct[n].add(DIRECT, found)
                elif subject == OVER_GRPC:
                    figures[2 + n].add(ROUTER, found - base[share])
                else:
                    figures[n].add(subject, found - base[share])
    section.notes.append("A p99 on a shared machine is an upper bound: a pause of the machine is in it.")
    return section


async def _ttft_ms(lab: Lab, gateway: Gateway, face: str, *, warm_up: bool) -> list[float]:
    requests = 25 if warm_up else 75 if lab.quick else 200
    done = await lab.job(
        Job(
            face="generate" if face == "generate" else "http",
            address=gateway.grpc if face == "generate" else gateway.http,
            streams=LANES,
            requests=requests,
            warm=1,
            tokens=TOKENS,
            pause_ms=PAUSE_MS,
            rate=PER_S,
        )
    )
    return [1000.0 * seconds for seconds in done.ttft_s]
