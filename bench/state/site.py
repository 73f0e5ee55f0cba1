"""Whole routers as processes: a configuration directory, the replicas on it, and the calls that rows make.

A replica is the product's own command, started from the lab's copy of the sources. Whatever it writes goes to a log;
a traceback there fails the row, so that no figure hides a fault.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import grpc.aio
import httpx

from bench.state.lab import Lab
from router.v1 import (
    admin_pb2_grpc,
    config_pb2_grpc,
    fleet_pb2_grpc,
    inference_pb2_grpc,
    tenants_pb2_grpc,
    usage_pb2_grpc,
)
from supervise.child import Child

MODEL = "llama-3.1-8b"
CATALOGUE = ("hardware.yaml", "models.yaml", "policies.yaml")
UNCLEAN = re.compile(r"Traceback|never retrieved|never awaited|Exception ignored|was destroyed|probe_fault")
SERVING = re.compile(r"serving grpc=(\S+) admin=(\S+) http=(\S+)")
START_LIMIT_S = 60.0
STOP_LIMIT_S = 15.0
FAULT_CHARS = 3_000
HARDWARE = ("h100-sxm-80", "h200-sxm-141", "a100-sxm-80", "mi300x")
CHANNEL = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 1 << 26))


class Unclean(RuntimeError):
    """A router wrote a traceback, or ended as it should not."""


@dataclass(kw_only=True)
class Router:
    """A replica that serves. Stubs are of asyncio channels, whose calls are awaitable."""

    name: str
    child: Child
    grpc: str
    http: str
    log: Path
    web: httpx.AsyncClient
    inference: Any
    admin: Any
    config: Any
    tenants: Any
    usage: Any
    fleet: Any

    def kill(self) -> None:
        """As kill -9 does."""
        with suppress(ProcessLookupError):
            os.kill(self.child.pid, signal.SIGKILL)

    def output(self) -> str:
        return _text(self.log)

    async def readyz(self) -> dict[str, Any]:
        answer: dict[str, Any] = (await self.web.get("/readyz")).json()
        return answer


@dataclass(frozen=True, kw_only=True)
class Site:
    """A configuration directory. `state` is where the replicas keep what outlives them, as on one machine."""

    lab: Lab
    config: Path
    state: Path

    @staticmethod
    def build(
        lab: Lab,
        upstream: str | Sequence[str],
        *,
        prices: Sequence[float] = (0.1, 0.2, 0.3, 0.4),
        dispatch: Mapping[str, float] | None = None,
        files: Mapping[str, str] | None = None,
    ) -> Site:
        """The product's catalogue with a backend per price, b-0 first, at `upstream` (host:port, or several in turn).

        `dispatch` changes values of policies.yaml; `files` are further files, by name.
        """
        folder = lab.new_folder("site")
        at = [upstream] if isinstance(upstream, str) else upstream
        config = folder / "config"
        config.mkdir()
        for name in CATALOGUE:
            (config / name).write_bytes((lab.sources / "config" / name).read_bytes())
        policies = (config / "policies.yaml").read_text("utf-8")
        for key, value in (dispatch or {}).items():
            policies, count = re.subn(rf"(?m)^(  {key}:) \S+", rf"\1 {value:g}", policies)
            if count != 1:
                raise ValueError(f"policies.yaml has {count} times {key}")
        written = {
            "policies.yaml": policies,
            "router.yaml": "log_level: info\n",
            "fleet.yaml": "backends:\n"
            + "".join(backend_yaml(f"b-{n}", n, at[n % len(at)]) for n in range(len(prices))),
            "prices.yaml": "prices:\n" + "".join(price_yaml(f"b-{n}", usd) for n, usd in enumerate(prices)),
            **(files or {}),
        }
        for name, text in written.items():
            (config / name).write_text(text, "utf-8")
        return Site(lab=lab, config=config, state=folder / "state")

    @asynccontextmanager
    async def router(
        self, name: str, store: str, *, clean: bool = True, skew_s: float = 0.0, **env: str
    ) -> AsyncGenerator[Router]:
        """One replica on the store at this URL; with `clean` it must not write a traceback and must stop with 0.

        Raises:
            supervise.child.ChildError: it did not start.
            Unclean: see above.
        """
        log = self.config.parent / f"{name}-{len(list(self.config.parent.iterdir()))}.log"
        log.touch()
        env = {
            **self.lab.environment(),
            "REDIS_URL": store,
            "XDG_STATE_HOME": str(self.state),
            "INFERENCE_ROUTER_REPLICA_ID": name,
            **env,
        }
        ports = ["--grpc-port", "0", "--admin-port", "0", "--http-port", "0"]
        argv = [sys.executable, "-m", "router", "serve", "--config", str(self.config), *ports]
        if skew_s:
            argv = [sys.executable, "-m", "bench.state.skewed", str(self.config), str(skew_s)]

        async def serving() -> bool:
            return SERVING.search(_text(log)) is not None

        async with AsyncExitStack() as stack:
            child = await stack.enter_async_context(
                Child.start(
                    argv,
                    name=name,
                    env=env,
                    cwd=self.lab.sources,
                    log=log,
                    ready=serving,
                    ready_timeout_s=START_LIMIT_S,
                    stop_timeout_s=STOP_LIMIT_S,
                )
            )
            yield await _connect(name, child, log, stack)
            killed = child.returncode is not None
            status = await child.stop(timeout_s=STOP_LIMIT_S)
            if clean and status and not killed:
                raise Unclean(f"{name} ended with {status}: {child.tail[-800:]}")
        if clean and (fault := UNCLEAN.search(text := _text(log))):
            self.lab.say(f"{name} wrote:\n{text[fault.start() :][:FAULT_CHARS]}")
            raise Unclean(f"{name} wrote {fault[0]!r}: {_last_line(text[fault.start() :])}")


def _last_line(text: str) -> str:
    """Of a traceback, the line that names the error; else the first line."""
    lines = text.splitlines()
    return next((line for line in lines[1:] if line and not line.startswith((" ", "Traceback"))), lines[0])[:300]


async def _connect(name: str, child: Child, log: Path, stack: AsyncExitStack) -> Router:
    found = SERVING.search(_text(log))
    assert found is not None
    inference = await stack.enter_async_context(grpc.aio.insecure_channel(found[1], options=CHANNEL))
    admin = await stack.enter_async_context(grpc.aio.insecure_channel(found[2], options=CHANNEL))
    return Router(
        name=name,
        child=child,
        grpc=found[1],
        http=found[3],
        log=log,
        web=await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://{found[3]}", timeout=10.0)),
        inference=_stub(inference_pb2_grpc.InferenceServiceStub, inference),
        admin=_stub(admin_pb2_grpc.AdminServiceStub, admin),
        config=_stub(config_pb2_grpc.ConfigServiceStub, admin),
        tenants=_stub(tenants_pb2_grpc.TenantServiceStub, admin),
        usage=_stub(usage_pb2_grpc.UsageServiceStub, admin),
        fleet=_stub(fleet_pb2_grpc.FleetServiceStub, admin),
    )


def _text(log: Path) -> str:
    return log.read_text("utf-8", "replace")


def _stub(kind: Callable[[grpc.aio.Channel], Any], channel: grpc.aio.Channel) -> Any:
    return kind(channel)


def backend_yaml(name: str, number: int, upstream: str) -> str:
    return (
        f"  {name}: {{ wire: openai_chat, profile: vllm, address: 'http://{upstream}',"
        f" hardware: {HARDWARE[number % len(HARDWARE)]}, region: eu-1, max_concurrency: 4096,"
        f" models: [{{ model: {MODEL} }}] }}\n"
    )


def price_yaml(name: str, usd: float) -> str:
    return f"  - {{ backend: {name}, input_usd_per_mtok: {usd}, output_usd_per_mtok: {usd}, source: benchmark }}\n"


class Replicas:
    """Replicas that come and go while a row runs; all end with the block."""

    def __init__(self, site: Site, store: str) -> None:
        self.site = site
        self.store = store
        self._running: dict[str, tuple[AsyncExitStack, Router]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        async with AsyncExitStack() as all_of_them:
            for stack, _router in self._running.values():
                all_of_them.push_async_exit(stack)

    def __getitem__(self, name: str) -> Router:
        return self._running[name][1]

    @property
    def all(self) -> list[Router]:
        return [router for _, router in self._running.values()]

    async def start(self, name: str, *, clean: bool = True, skew_s: float = 0.0, **env: str) -> Router:
        stack = AsyncExitStack()
        router = await stack.enter_async_context(self.site.router(name, self.store, clean=clean, skew_s=skew_s, **env))
        self._running[name] = (stack, router)
        return router

    async def kill(self, name: str) -> None:
        """As kill -9 does; returns when it is gone."""
        stack, router = self._running.pop(name)
        router.kill()
        await router.child.wait()
        await stack.aclose()
