"""LiteLLM's proxy beside the router: installed in an environment of its own, run so that it reaches nothing outside.

The version is exact and never a range: others of this package have been compromised. It is no dependency of this
project and stands in none of its locks. It is installed from wheels alone, which run no code while they are installed,
and started with an environment that holds none of ours, on loopback, without telemetry, with the settings that its own
manual recommends for production.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from bench.copies import ROOT
from bench.gateways import HARDWARE, Gateway, free_port
from bench.load_job import MODEL
from bench.machine import on_core, tree
from supervise.child import Child, ChildError

VERSION = "1.101.0"
HOME = ROOT / ".cache" / "bench-litellm"
INSTALL_S = 300.0
START_S = 90.0
# How this machine reaches a package index; nothing else is passed on to pip.
PIP_NEEDS = ("PIP_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", *(f"{kind}_PROXY" for kind in ("HTTP", "HTTPS", "NO", "ALL")))


class Unavailable(RuntimeError):
    """LiteLLM cannot be measured here; the text says why."""


async def install(say: Callable[[str], None]) -> Path:
    """The environment's Python, with LiteLLM in it.

    Raises:
        Unavailable: it could not be installed.
    """
    python = HOME / "bin" / "python"
    done = HOME / f".installed-{VERSION}"
    if done.exists():
        return python
    say(f"installing LiteLLM {VERSION} in .cache/bench-litellm (about 700 MB, half a minute to some minutes)")
    HOME.parent.mkdir(exist_ok=True)
    await _run([sys.executable, "-m", "venv", "--clear", str(HOME)], say)
    wheels = ["--only-binary", ":all:", f"litellm[proxy]=={VERSION}"]
    await _run([str(python), "-m", "pip", "install", "--no-input", "--progress-bar", "off", *wheels], say)
    done.touch()
    return python


async def _run(argv: list[str], say: Callable[[str], None]) -> None:
    env = {k: v for k, v in os.environ.items() if k.upper().startswith(PIP_NEEDS)} | {
        "PATH": os.defpath,
        "HOME": str(HOME),
    }
    said = 0

    def waited(seconds: float) -> None:
        nonlocal said
        if int(seconds / 15.0) > said:
            said = int(seconds / 15.0)
            say(f"  still installing, {seconds:.0f} s")

    async with Child.start(argv, name="installing LiteLLM", env=env, cwd=ROOT) as child:

        async def ended() -> bool:
            return child.returncode is not None

        try:
            await child.wait_ready(ended, timeout_s=INSTALL_S, progress=waited)
        except ChildError as error:
            raise Unavailable(str(error)) from error
        if child.returncode:
            last = child.tail.splitlines()[-1:] or ["no word"]
            raise Unavailable(f"it could not be installed: {last[0][:200]}")


def config(upstream: str) -> str:
    """As many deployments of one model as the router has backends, all of them the same upstream."""
    one = (
        f"  - model_name: {MODEL}\n    litellm_params:\n      model: openai/{MODEL}\n"
        f"      api_base: http://{upstream}/v1\n      api_key: none\n"
    )
    return (
        f"model_list:\n{one * len(HARDWARE)}"
        "litellm_settings:\n  telemetry: false\n  num_retries: 0\n  set_verbose: false\n"
        "  disable_hf_tokenizer_download: true\n"
        "general_settings:\n  disable_spend_logs: true\n"
    )


def environment(folder: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """All that LiteLLM is told: nothing of ours but the language."""
    return {
        "PATH": os.defpath,
        "HOME": str(folder),
        "LANG": inherited.get("LANG", "C.UTF-8"),
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_TELEMETRY": "False",
        "HF_HUB_OFFLINE": "1",
        "DISABLE_ADMIN_UI": "True",
        "NO_DOCS": "True",
    }


@asynccontextmanager
async def litellm(
    folder: Path, upstream: str, *, core: int | None, say: Callable[[str], None]
) -> AsyncGenerator[Gateway]:
    """LiteLLM's proxy with one worker on the gateways' core.

    Raises:
        Unavailable: it could not be installed or does not start.
    """
    python = await install(say)
    say(f"starting LiteLLM {VERSION}")
    (folder / "litellm.yaml").write_text(config(upstream), encoding="utf-8")
    port = free_port()
    argv = [str(python.with_name("litellm")), "--config", str(folder / "litellm.yaml"), "--host", "127.0.0.1"]
    argv += ["--port", str(port), "--num_workers", "1", "--telemetry", "False"]
    async with AsyncExitStack() as stack:
        try:
            with on_core(core):
                child = await stack.enter_async_context(
                    Child.start(
                        argv,
                        name="LiteLLM",
                        env=environment(folder, os.environ),
                        cwd=folder,
                        log=folder / "litellm.log",
                    )
                )

            async def serving() -> bool:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    return False
                writer.close()
                return True

            await child.wait_ready(serving, timeout_s=START_S)
        except ChildError as error:
            raise Unavailable(f"it does not start: {error}") from error
        yield Gateway(name="LiteLLM", http=f"127.0.0.1:{port}", grpc="", pids=tuple(tree(child.pid)))
