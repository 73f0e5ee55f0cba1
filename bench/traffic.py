"""CPU of a gateway per request and per token, and how many requests a second one core carries.

Rounds are interleaved: in each, every case is run against every gateway in turn, so that a busy spell of the machine
hits all of them. Per token means the CPU of whole answers divided by their tokens, so the request itself is in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.figures import Figure, Section
from bench.gateways import Gateway
from bench.lab import Lab, LoadFailed
from bench.load_job import Face, Job

LITELLM = "LiteLLM"
RELAY = "bare relay"
# LiteLLM needs some twenty to forty times the CPU: fewer requests give its figures the same weight in less time.
FEWER = 20
LEAST_REQUESTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One kind of load. `requests` are those of each stream in a full run."""

    id: str
    title: str
    face: Face
    streams: int
    requests: int
    target: float | None = None
    tokens: int = 1
    pause_ms: int = 0
    stream: bool = True

    def job(self, gateway: Gateway, *, quick: bool, warm_up: bool = False) -> Job:
        """The load for one gateway; to warm one up it is a few requests in each stream."""
        requests = self.requests
        if gateway.name == LITELLM:
            requests = max(LEAST_REQUESTS if self.tokens == 1 else 1, requests // FEWER)
        if self.pause_ms == 0:
            if quick:
                requests = max(1, requests // 3)
            if warm_up:
                requests = max(1, requests // 5)
        elif quick or warm_up:
            requests = 1
        return Job(
            face=self.face,
            address=gateway.http if self.face == "http" else gateway.grpc,
            streams=self.streams,
            requests=requests,
            tokens=self.tokens,
            pause_ms=self.pause_ms,
            stream=self.stream,
            pids=list(gateway.pids),
        )


REQUEST = "us of CPU a request"
TOKEN = "us of CPU a token"  # noqa: S105 - a unit, not a password
PACED = "64 streams x 64 tokens, 20 ms"
BURST = "128 tokens in one write"
CASES = (
    Case(id="generate", title="Generate, 1 token", face="generate", streams=32, requests=45, target=450.0),
    Case(
        id="generate_paced", title=f"Generate, {PACED}", face="generate", streams=64, requests=2, target=100.0,
        tokens=64, pause_ms=20,
    ),
    Case(
        id="generate_burst", title=f"Generate, {BURST}", face="generate", streams=16, requests=20, target=10.0,
        tokens=128,
    ),
    Case(id="pick", title="Pick", face="pick", streams=32, requests=45, target=300.0),
    Case(
        id="http_request", title="HTTP, not streamed", face="http", streams=32, requests=120, target=100.0,
        stream=False,
    ),
    Case(id="http_stream", title="HTTP, streamed, 1 token", face="http", streams=32, requests=90),
    Case(
        id="http_paced", title=f"HTTP, {PACED}", face="http", streams=64, requests=2, target=34.0, tokens=64,
        pause_ms=20,
    ),
    Case(id="http_burst", title=f"HTTP, {BURST}", face="http", streams=16, requests=30, target=5.0, tokens=128),
)  # fmt: skip
RATE_OF = "http_request"


async def measure(lab: Lab, gateways: dict[str, Gateway]) -> Section:
    """All cases, all rounds, over the gateways by subject; a gateway is asked over the faces that it has."""
    figures = {
        case.id: Figure(case.id, case.title, REQUEST if case.tokens == 1 else TOKEN, case.target) for case in CASES
    }
    report = Figure("report", "Report of a Pick", REQUEST)
    rate = Figure("http_rate", "HTTP requests a second on one core, not streamed", "/s", better="more")
    section = Section("traffic", "CPU of the gateway", tuple(gateways), [*figures.values(), report, rate])
    given_up: set[tuple[str, str]] = set()
    for turn in range(lab.rounds + 1):
        lab.progress.step(f"traffic, round {turn} of {lab.rounds}" if turn else "traffic, warming up")
        for case in CASES:
            for subject, gateway in gateways.items():
                job = case.job(gateway, quick=lab.quick, warm_up=not turn)
                if not job.address or (subject, case.id) in given_up:
                    continue
                try:
                    done = await lab.job(job)
                except LoadFailed as failure:
                    given_up.add((subject, case.id))
                    section.fail(subject, f", {case.title}", failure)
                    continue
                if not turn:
                    continue
                figures[case.id].add(subject, done.cpu_us / done.requests / case.tokens)
                if case.face == "pick":
                    report.add(subject, done.after_us / done.requests)
                if case.id == RATE_OF:
                    rate.add(subject, done.requests / done.wall_s)
    section.notes.append("Per token: CPU of whole answers over their tokens, the share of the request included.")
    if RELAY in gateways:
        section.notes.append(
            "The bare relay is Python on the same HTTP client; it parses requests, passes bytes on and decides nothing."
        )
    return section
