"""What the router costs, beside LiteLLM's proxy and a bare relay, in one run: `make bench`, `python -m bench --help`.

The gateway under test has a core of its own; upstream and load share the other one. CPU time is the main figure, as the
robust one on a shared machine. A missed target is said to be missed; the exit status tells of failures only.
"""

from __future__ import annotations

import asyncio
import platform
import tempfile
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import click
from rich.console import Console

from bench import copies, decision, latency, litellm_peer, memory, show, traffic
from bench.figures import ROUTER, Section
from bench.gateways import Gateway
from bench.lab import Lab, LoadFailed, Progress, open_lab
from bench.machine import LINUX, Others, cores, describe
from supervise.child import ChildError

UNDER_LOAD = ("memory", "traffic", "latency")
NAMES = (*UNDER_LOAD, "decision")
BUSY_CORES = 0.1
WIDTH = 150


async def run(
    *, only: tuple[str, ...], quick: bool, rounds: int, litellm: bool, progress: Progress
) -> tuple[str, list[Section]]:
    """The sections that were asked for, and how the router's decision core ran."""
    sections: list[Section] = []
    with tempfile.TemporaryDirectory(prefix="router-bench-") as name:
        folder = Path(name)
        made = await copies.make(folder, progress.step)
        if set(only) & set(UNDER_LOAD):
            async with (
                open_lab(progress, folder=folder, sources=made.best, quick=quick, rounds=rounds) as lab,
                AsyncExitStack() as stack,
            ):
                sections += await under_load(lab, stack, only=only, litellm=litellm)
        if "decision" in only:
            sections.append(
                await decision.measure(made, core=cores().gateway, quick=quick, rounds=rounds, progress=progress)
            )
    return made.label, sections


async def under_load(lab: Lab, stack: AsyncExitStack, *, only: tuple[str, ...], litellm: bool) -> list[Section]:
    """Memory first, on gateways that nobody has asked anything yet; then the same ones under load."""
    gateways: dict[str, Gateway] = {ROUTER: await stack.enter_async_context(lab.router())}
    said = ""
    if litellm:
        peer = litellm_peer.litellm(lab.folder, lab.upstream, core=lab.cores.gateway, say=lab.progress.step)
        try:
            gateways[traffic.LITELLM] = await stack.enter_async_context(peer)
            said = f"LiteLLM: its proxy, version {litellm_peer.VERSION}, one worker, set up as its manual says."
        except (litellm_peer.Unavailable, ChildError) as error:
            said = f"LiteLLM: not measured, {error}"
            lab.progress.step(said)
    gateways[traffic.RELAY] = await stack.enter_async_context(lab.relay())
    measures = {"memory": memory.measure, "traffic": traffic.measure, "latency": latency.measure}
    sections = [await measures[name](lab, gateways) for name in UNDER_LOAD if name in only]
    for section in sections:
        section.notes += [said] if said else []
        section.notes += lab.notes
    return sections


def heading(*, quick: bool, rounds: int, others: float | None, decision_core: str) -> show.Run:
    notes = []
    if others is not None:
        upper = ": times are upper bounds" if others > BUSY_CORES else ""
        notes.append(f"others used {others:.2f} cores of this machine meanwhile{upper}")
    if not LINUX:
        notes.append("CPU time comes from ps, in hundredths of a second: figures of short runs are coarse")
    packages = ("grpcio", "protobuf", "uvloop", "httptools", "msgspec")
    return show.Run(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        machine=describe(),
        versions=", ".join(f"{name} {version(name)}" for name in packages),
        decision_core=decision_core,
        rounds=rounds,
        quick=quick,
        notes=tuple(notes),
    )


@click.command()
@click.option("--json", "form", flag_value="json", help="Print every figure of every round as JSON.")
@click.option("--markdown", "form", flag_value="markdown", help="Print the tables in Markdown.")
@click.option("--quick", is_flag=True, help="Shorter loads, 10,000 requests for memory, no LiteLLM.")
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="Only this section; may be given again.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 20), help="Rounds after warming up.")
@click.option("--without-litellm", is_flag=True, help="Do not install and measure LiteLLM.")
def main(*, form: str | None, quick: bool, only: tuple[str, ...], rounds: int, without_litellm: bool) -> None:
    """CPU per request, token and decision, latency and memory, beside LiteLLM on the same upstream and load."""
    if platform.system() == "Windows":
        raise click.ClickException("the benchmarks need a Unix")
    progress = Progress(Console(stderr=True))
    others = Others()
    litellm = not (quick or without_litellm)
    try:
        decision_core, sections = asyncio.run(
            run(only=only or NAMES, quick=quick, rounds=rounds, litellm=litellm, progress=progress)
        )
    except (LoadFailed, ChildError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    head = heading(quick=quick, rounds=rounds, others=others.cores(), decision_core=decision_core)
    if form == "json":
        click.echo(show.json_text(head, sections))
    elif form == "markdown":
        click.echo(show.markdown(head, sections), nl=False)
    else:
        console = Console()
        show.print_tables(console if console.is_terminal else Console(width=WIDTH), head, sections)
    if any(subject.startswith(ROUTER) for section in sections for subject in section.failed):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
