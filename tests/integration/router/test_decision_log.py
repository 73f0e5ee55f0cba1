"""The log of decisions of a real router: what is in it, what is not, and that it decides again what was decided."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import grpc.aio
import pytest
import pytest_asyncio

from router.v1 import common_pb2
from router.v1 import inference_pb2 as pb
from supervise.child import Child
from tests.integration.router.calls import Clients, Emulators, ask, chat, clients_of, emulators_of, eventually
from tests.integration.router.conftest import Figure
from tests.integration.router.site import MODEL, ROOT, Running, Site, Spot, environment, run_fleet, run_router

pytestmark = pytest.mark.asyncio(loop_scope="session")
SECRET = "the-heron-of-Maribor-eats-at-noon"
REQUESTS = 240
PRICE = 'prices:\n  - {{ backend: {id}, input_usd_per_mtok: {usd}, output_usd_per_mtok: {usd}, source: "x" }}\n'
# Twins, so that draws decide; one that is dearer and one that is far away.
SPOTS = (
    Spot(id="north", usd_per_mtok=0.50),
    Spot(id="south", usd_per_mtok=0.51),
    Spot(id="west", usd_per_mtok=0.52, hardware="mi300x"),
    Spot(id="far", usd_per_mtok=9.0, region="us-1", privacy="any"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Four backends, three of them nearly equal."""
    return Site.build(tmp_path_factory.mktemp("log") / "site", *SPOTS)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def emulated(place: Site) -> AsyncGenerator[Child]:
    async with run_fleet(place) as child:
        yield child


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def logged(place: Site, emulated: Child) -> AsyncGenerator[tuple[Running, Path]]:  # noqa: ARG001 - it must be running
    """A router that has served all kinds of traffic, and its log."""
    path = place.config.parent / "log"
    async with run_router(place, INFERENCE_ROUTER_DECISIONS=json.dumps({"path": str(path)})) as router:
        async with clients_of(router) as clients, emulators_of(place) as faces:
            await traffic(clients, faces)
            await eventually(lambda: clients.metric("router_decisions_logged_total"), lambda n: n >= REQUESTS + 41)
            assert await clients.metric("router_decisions_dropped_total") == 0.0
        yield router, path


async def traffic(clients: Clients, faces: Emulators) -> None:
    """Requests of all kinds, eight at a time; meanwhile a backend fails, is limited, and has a new price."""
    rng = random.Random(5)
    gate = asyncio.Semaphore(8)

    async def one(number: int) -> None:
        options = pb.RoutingOptions()
        options.workload_class = rng.choice(["interactive", "batch", "realtime", "agentic"])
        if rng.random() < 0.2:
            options.session.session_id = f"s{number % 5}"
        if rng.random() < 0.2:
            options.slo.ttft_s = rng.choice([0.001, 0.3, 5.0])
        if rng.random() < 0.1:
            options.placement.privacy = common_pb2.PRIVACY_LEVEL_OWN_HARDWARE
        if rng.random() < 0.1:
            options.max_cost_usd = rng.choice([1e-9, 1e-4, 1.0])
        request = ask(f"{SECRET} {'again ' * rng.randrange(200)}", max_tokens=rng.randrange(2, 24))
        request.routing.MergeFrom(options)
        async with gate:
            try:
                async for _ in clients.inference.Generate(request, timeout=20.0):
                    pass
            except grpc.aio.AioRpcError:
                pass

    third = REQUESTS // 3
    await asyncio.gather(*(one(n) for n in range(third)))
    await faces.control("north", fail_rate=1.0)
    await asyncio.gather(*(one(n) for n in range(third, 2 * third)))
    await faces.control("north", fail_rate=0.0, slow=3.0)
    await asyncio.gather(*(one(n) for n in range(2 * third, REQUESTS)))
    await faces.reset()
    for number in range(40):
        body = chat(f"{SECRET} over HTTP", max_tokens=4, router={"session_id": f"h{number % 3}"})
        await clients.http.post("/v1/chat/completions", json=body)
    picked = await clients.inference.Pick(pb.PickRequest(request=ask(SECRET, max_tokens=4)))
    await clients.inference.Report(pb.ReportRequest(pick_id=picked.pick_id, result="OK", ttft_s=0.1, e2e_s=0.2))


async def run(*words: str, status: int = 0) -> str:
    """Standard output of one command; its standard error when it should fail."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "router", *words,
        cwd=ROOT, env=environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == status, f"{words}: {process.returncode}\n{out.decode()}\n{err.decode()}"
    assert b"Traceback" not in err
    return (out if status == 0 else err).decode()


async def test_every_decision_comes_out_again(logged: tuple[Running, Path], place: Site, figure: Figure) -> None:
    """With the configuration as it was, the log alone makes every recorded decision again."""
    _, path = logged

    found = json.loads(await run("replay", "--decisions", str(path), "--config", str(place.config), "--json"))

    figure(f"decisions that came out again from the log: {found['reproduced']} of {found['records']}")
    assert found["records"] == REQUESTS + 41
    assert found["reproduced"] == found["records"], found["warnings"]
    assert found["moved"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert len([name for name, share in found["shares"].items() if share["before"]["value"] > 0.0]) >= 2


async def test_the_log_never_holds_a_prompt(logged: tuple[Running, Path]) -> None:
    """Nothing of any prompt is in any byte of the log."""
    _, path = logged
    data = b"".join(file.read_bytes() for file in path.rglob("*") if file.is_file())

    assert len(data) > 50_000
    assert SECRET.encode() not in data
    assert b"Maribor" not in data
    assert b"again again" not in data


async def test_a_price_moves_traffic(logged: tuple[Running, Path], place: Site, tmp_path: Path) -> None:
    """A tenth of the price draws what was sent elsewhere, and the replay says how much and from where."""
    _, path = logged
    cheaper = tmp_path / "cheap.yaml"
    cheaper.write_text(PRICE.format(id="west", usd=0.05))

    common = ("replay", "--decisions", str(path), "--config", str(place.config), "--with", str(cheaper))
    found = json.loads(await run(*common, "--json"))
    shown = await run(*common)

    west = found["shares"]["west"]
    assert west["after"]["value"] > west["before"]["value"] + 0.2
    assert found["figures"]["cost_usd"]["difference"]["high"] < 0.0
    assert found["movers"][0]["target"] == "west"
    assert "→ west:" in shown
    assert max(len(line) for line in shown.splitlines() if "warning" not in line and "note" not in line) <= 120


async def test_a_new_backend_is_the_priors(logged: tuple[Running, Path], place: Site, tmp_path: Path) -> None:
    """A backend that the log never saw takes part by its prior, and the replay says so."""
    _, path = logged
    fleet = tmp_path / "more.yaml"
    fleet.write_text(
        "backends:\n  fresh:\n    wire: openai_chat\n    profile: vllm\n    address: http://127.0.0.1:9\n"
        f"    hardware: b200-sxm-180\n    emulated: true\n    models: [{{ model: {MODEL} }}]\n"
    )
    prices = tmp_path / "p.yaml"
    prices.write_text(PRICE.format(id="fresh", usd=0.01))

    args = ("--config", str(place.config), "--with", str(fleet), "--with", str(prices), "--json")
    found = json.loads(await run("replay", "--decisions", str(path), *args))

    assert found["shares"]["fresh"]["after"]["value"] > 0.3
    assert any("never saw fresh" in warning for warning in found["warnings"])


async def test_wrong_input_is_named(logged: tuple[Running, Path], place: Site, tmp_path: Path) -> None:
    """A wrong file is named with its field; so is a log that is none."""
    _, path = logged
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text('prices:\n  - { backend: west, input_usd_per_mtk: 1, source: "x" }\n')
    config = ("--config", str(place.config))

    field = await run("replay", "--decisions", str(path), *config, "--with", str(wrong), status=1)
    absent = await run("replay", "--decisions", str(tmp_path / "no"), *config, status=1)
    other = await run("replay", "--decisions", str(wrong), *config, status=1)

    assert "wrong.yaml: prices[0].input_usd_per_mtk" in field
    assert "no such file" in absent
    assert "not the beginning of a decision log" in other


async def test_decisions_are_listed_by_what_is_asked(logged: tuple[Running, Path], tmp_path: Path) -> None:
    """Filters hold, JSON has predicted and actual, and an export has every field."""
    _, path = logged
    export = tmp_path / "all.jsonl"

    listed = await run("decisions", str(path), "--class", "batch", "--limit", "5", "--json")
    failed = await run("decisions", str(path), "--result", "NO_ENDPOINT", "--limit", "0", "--json")
    table = await run("decisions", str(path), "--since", "1h", "--backend", "south")
    await run("decisions", str(path), "--export", str(export))

    rows = [json.loads(line) for line in listed.splitlines()]
    assert [row["class"] for row in rows] == ["batch"] * 5
    assert all(row["predicted"]["ttft_s"] > 0.0 for row in rows)
    assert failed.count('"result": "NO_ENDPOINT"') == len(failed.splitlines())
    assert "south" in table
    assert len(export.read_text().splitlines()) == REQUESTS + 41
