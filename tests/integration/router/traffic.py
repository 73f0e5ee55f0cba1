"""Many requests over both faces, and what became of each."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
import httpx

from router.v1 import inference_pb2 as pb
from tests.integration.router.calls import Answer, Clients, ask, chat, take


@dataclass
class Result:
    """One request: who answered, or the error, and whether tokens had come before it."""

    face: str
    began: float
    took_s: float = 0.0
    backend: str = ""
    error: str = ""
    had_tokens: bool = False
    rerouted: bool = False


@dataclass
class Report:
    """What became of all of them."""

    results: list[Result] = field(default_factory=list)

    @property
    def failed(self) -> list[Result]:
        return [r for r in self.results if r.error]

    @property
    def backends(self) -> list[str]:
        return [r.backend for r in self.results]

    @property
    def median_s(self) -> float:
        return statistics.median(r.took_s for r in self.results)

    @property
    def max_s(self) -> float:
        return max(r.took_s for r in self.results)

    def __str__(self) -> str:
        return (
            f"{len(self.results)} requests, {len(self.failed)} failed, "
            f"median {1e3 * self.median_s:.0f} ms, max {1e3 * self.max_s:.0f} ms"
        )


class Traffic:
    """Sends requests, every other one over HTTP, so many at a time. `sent` counts those that were begun."""

    def __init__(self, clients: Clients, *, max_tokens: int = 4, **routing: Any) -> None:
        self._clients = clients
        self._request = ask(max_tokens=max_tokens, **routing)
        self._body = chat(max_tokens=max_tokens, stream=True)
        self._only_grpc = bool(routing)
        self.sent = 0

    async def run(self, count: int, *, at_once: int = 8, report: Report | None = None) -> Report:
        """All of them; failures are in the report."""
        report = report or Report()
        left = iter(range(count))

        async def worker() -> None:
            for _ in left:
                self.sent += 1
                over_http = self.sent % 2 == 0 and not self._only_grpc
                report.results.append(await (self._http() if over_http else self._grpc()))

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(worker())
        return report

    async def _grpc(self) -> Result:
        result, answer = Result("gRPC", time.monotonic()), Answer()
        try:
            async for message in self._clients.inference.Generate(self._request, timeout=20.0):
                take(answer, message)
        except grpc.aio.AioRpcError as error:
            result.error = f"{error.code().name}: {error.details()}"
        result.had_tokens = bool(answer.text)
        result.rerouted = bool(answer.rerouted)
        result.backend = answer.backend
        result.took_s = time.monotonic() - result.began
        return result

    async def _http(self) -> Result:
        result, text = Result("HTTP", time.monotonic()), ""
        try:
            async with self._clients.http.stream("POST", "/v1/chat/completions", json=self._body) as response:
                result.backend = response.headers.get("x-router-backend", "")
                async for part in response.aiter_text():
                    text += part
        except httpx.HTTPError as error:
            result.error = repr(error)
        if not result.error and not text.endswith("data: [DONE]\n\n"):
            result.error = text[-400:]
        result.had_tokens = '"content":"E' in text
        result.took_s = time.monotonic() - result.began
        return result


def children_of(pid: int) -> dict[int, str]:
    """The living processes that a process has started itself, with their names."""
    pids = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    seen = {child: _seen(child) for child in pids}
    return {child: facts[0] for child, facts in seen.items() if facts is not None and facts[1] == pid}


def is_alive(pid: int) -> bool:
    """One that has died and that nobody has reaped is not."""
    return _seen(pid) is not None


def _seen(pid: int) -> tuple[str, int] | None:
    """Name and parent of a living process."""
    try:
        text = Path("/proc", str(pid), "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, parent = text[text.rindex(")") + 2 :].split()[:2]
    return None if state == "Z" else (text[text.index("(") + 1 : text.rindex(")")], int(parent))


ON_BREAK = {
    "error": pb.STREAM_BREAK_ACTION_ERROR,
    "restart": pb.STREAM_BREAK_ACTION_RESTART,
    "continue": pb.STREAM_BREAK_ACTION_CONTINUE,
}
