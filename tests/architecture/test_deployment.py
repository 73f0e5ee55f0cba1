"""docker-compose.yml, config/envoy.yaml and config/prometheus.yaml agree with one another and with the router."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from router.settings import Settings, load
from router.v1 import inference_pb2
from tests.architecture.conftest import Run

ROUTERS = ("router-1", "router-2")
Services = Mapping[str, Any]


@pytest.fixture(scope="module")
def compose(root: Path) -> Mapping[str, Any]:
    """docker-compose.yml with the variables of the host at their defaults."""
    text = (root / "docker-compose.yml").read_text("utf-8")
    parsed = yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))
    assert isinstance(parsed, dict)
    return parsed


@pytest.fixture(scope="module")
def services(compose: Mapping[str, Any]) -> Services:
    found: Services = compose["services"]
    return found


@pytest.fixture(scope="module")
def settings(root: Path, services: Services) -> Mapping[str, Settings]:
    """What each router of docker-compose.yml makes of its environment, by the router's own loader."""
    image = _image_environment(root)
    return {name: load(root / "config", image | services[name]["environment"]) for name in ROUTERS}


@pytest.fixture(scope="module")
def envoy(root: Path) -> Mapping[str, Any]:
    parsed = yaml.safe_load((root / "config" / "envoy.yaml").read_text("utf-8"))
    assert isinstance(parsed, dict)
    return parsed


def test_the_services_are_all_there(services: Services) -> None:
    """Two routers, Valkey, Envoy, Prometheus and the emulated fleet are started."""
    assert set(services) == {*ROUTERS, "valkey", "envoy", "prometheus", "fleet"}


def test_every_image_is_built_here_or_has_a_fixed_tag(services: Services, root: Path) -> None:
    """No image floats: each is built from the Dockerfile or names a version."""
    for name, service in services.items():
        if "build" in service:
            assert (root / service["build"] / "Dockerfile").is_file(), name
        else:
            assert re.fullmatch(r"[a-z]+(/[a-z-]+)?:v?\d[\w.-]*", service["image"]), name


def test_every_file_that_is_mounted_exists(services: Services, compose: Mapping[str, Any], root: Path) -> None:
    """A mount names a file of the repository or a declared volume, and no file can be written through it."""
    for name, service in services.items():
        for mount in service.get("volumes", ()):
            source, _, rest = mount.partition(":")
            if source.startswith("."):
                assert (root / source).exists(), f"{name}: {mount}"
                assert rest.endswith(":ro"), f"{name}: {mount}"
            else:
                assert source in compose["volumes"], f"{name}: {mount}"


def test_every_dependency_is_a_service_that_says_when_it_is_healthy(services: Services, root: Path) -> None:
    """`service_healthy` waits for services whose health is checked."""
    image_is_checked = "\nHEALTHCHECK " in (root / "Dockerfile").read_text("utf-8")
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}, name
            assert "healthcheck" in services[other] or ("build" in services[other] and image_is_checked), other


def test_the_routers_start_with_what_they_are_given(settings: Mapping[str, Settings], services: Services) -> None:
    """Each router's environment passes the router's own strict check, and both use the store of the valkey service."""
    for name, loaded in settings.items():
        url = urlsplit(loaded.router.redis_url or "")
        assert loaded.router.host == "0.0.0.0"  # noqa: S104 - inside its container
        assert (url.hostname, url.port) == ("valkey", 6379)
        assert loaded.router.replica_id == name
        assert not loaded.router.pick_free_ports
        grace = services[name]["stop_grace_period"]
        assert int(grace.removesuffix("s")) > loaded.router.drain_limit_s


def test_a_hosted_backend_without_its_key_is_skipped_and_said(settings: Mapping[str, Settings]) -> None:
    """An empty OPENAI_API_KEY leaves the hosted backend out, with a line that names the variable."""
    for loaded in settings.values():
        assert "openai-cloud" not in {backend.id for backend in loaded.seed.backends}
        assert any("OPENAI_API_KEY" in notice for notice in loaded.notices)


def test_the_routers_look_for_the_fleet_where_it_is(settings: Mapping[str, Settings]) -> None:
    """Every emulated backend is at the fleet service, each at a port of its own."""
    for loaded in settings.values():
        emulated = [urlsplit(backend.address) for backend in loaded.seed.backends if backend.emulated]
        assert {url.hostname for url in emulated} == {"fleet"}
        assert len({url.port for url in emulated}) == len(emulated) >= 7


def test_the_fleet_takes_the_arguments_it_is_started_with(services: Services, root: Path, run: Run) -> None:
    """`python -m simulation.fleet` knows each option that docker-compose.yml gives it."""
    fleet = services["fleet"]
    assert fleet["entrypoint"][:2] == ["python", "-m"]

    result = run([sys.executable, *fleet["entrypoint"][1:], "--help"], root)

    assert result.returncode == 0, result.stderr
    assert all(option in result.stdout for option in fleet["command"] if option.startswith("--"))


def test_the_fleets_health_is_asked_at_one_of_its_ports(services: Services, settings: Mapping[str, Settings]) -> None:
    """The health check of the fleet service asks an emulated backend that is configured."""
    asked = re.search(r"http://127\.0\.0\.1:(\d+)/health'", services["fleet"]["healthcheck"]["test"][-1])

    assert asked is not None
    assert int(asked[1]) in _emulated_ports(settings["router-1"])


def test_ports_are_published_on_this_machine_only(
    services: Services, settings: Mapping[str, Settings], envoy: Mapping[str, Any]
) -> None:
    """A published port is bound to the loopback address and is one that the service listens on."""
    router = settings["router-1"].router
    listening = {
        "envoy": {_port(envoy["admin"]), *(_port(listener) for listener in envoy["static_resources"]["listeners"])},
        "prometheus": {9090},
        **{name: {router.grpc_port, router.admin_port, router.http_port} for name in ROUTERS},
    }
    for name, service in services.items():
        for published in service.get("ports", ()):
            host, _, port = published.split(":")
            assert host == "127.0.0.1", f"{name}: {published}"
            assert int(port) in listening[name], f"{name}: {published}"


def test_envoy_spreads_each_protocol_over_both_routers(
    envoy: Mapping[str, Any], settings: Mapping[str, Settings]
) -> None:
    """Both clusters hold both routers, at the ports that these listen on."""
    router = settings["router-1"].router
    ports = {"router_http": router.http_port, "router_grpc": router.grpc_port}
    members = {cluster["name"]: set(_endpoints(cluster)) for cluster in envoy["static_resources"]["clusters"]}

    assert members == {name: {(host, port) for host in ROUTERS} for name, port in ports.items()}


def test_envoy_routes_only_to_clusters_that_exist(envoy: Mapping[str, Any]) -> None:
    """Each listener leads to its cluster, and no timeout of Envoy's own ends a stream."""
    clusters = {cluster["name"] for cluster in envoy["static_resources"]["clusters"]}
    routes = [route["route"] for listener in envoy["static_resources"]["listeners"] for route in _routes(listener)]

    assert {route["cluster"] for route in routes} == clusters
    assert all(route["timeout"] == route["idle_timeout"] == "0s" for route in routes)


def test_envoy_asks_whether_a_router_is_ready(envoy: Mapping[str, Any]) -> None:
    """Envoy sends work only to routers that answer /readyz and the health service of InferenceService."""
    checks = {c["name"]: c["health_checks"][0] for c in envoy["static_resources"]["clusters"]}
    service = inference_pb2.DESCRIPTOR.services_by_name["InferenceService"].full_name

    assert checks["router_http"]["http_health_check"] == {"path": "/readyz"}
    assert checks["router_grpc"]["grpc_health_check"] == {"service_name": service}


def test_prometheus_reads_every_router_and_every_emulated_backend(
    root: Path, settings: Mapping[str, Settings], envoy: Mapping[str, Any]
) -> None:
    """The targets are the routers, the emulated fleet (labelled as such) and Envoy, at the ports they listen on."""
    parsed = yaml.safe_load((root / "config" / "prometheus.yaml").read_text("utf-8"))
    jobs = {job["job_name"]: job for job in parsed["scrape_configs"]}
    targets = {name: {t for group in job["static_configs"] for t in group["targets"]} for name, job in jobs.items()}

    assert targets["router"] == {f"{name}:{settings[name].router.http_port}" for name in ROUTERS}
    assert targets["emulated-fleet"] == {f"fleet:{port}" for port in _emulated_ports(settings["router-1"])}
    assert targets["envoy"] == {f"envoy:{_port(envoy['admin'])}"}
    assert jobs["emulated-fleet"]["static_configs"][0]["labels"] == {"emulated": "true"}
    assert {jobs["router"]["metrics_path"], jobs["emulated-fleet"]["metrics_path"]} == {"/metrics"}


def _image_environment(root: Path) -> dict[str, str]:
    text = (root / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = [line.removeprefix("ENV ") for line in text.splitlines() if line.startswith("ENV ")]
    pairs = (pair.partition("=") for line in lines for pair in line.split())
    return {name: value for name, _, value in pairs if name.startswith("INFERENCE_ROUTER_")}


def _emulated_ports(settings: Settings) -> set[int | None]:
    return {urlsplit(backend.address).port for backend in settings.seed.backends if backend.emulated}


def _port(listener: Mapping[str, Any]) -> int:
    port: int = listener["address"]["socket_address"]["port_value"]
    return port


def _endpoints(cluster: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for locality in cluster["load_assignment"]["endpoints"]:
        for member in locality["lb_endpoints"]:
            address = member["endpoint"]["address"]["socket_address"]
            yield address["address"], address["port_value"]


def _routes(listener: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for chain in listener["filter_chains"]:
        for network_filter in chain["filters"]:
            for host in network_filter["typed_config"]["route_config"]["virtual_hosts"]:
                yield from host["routes"]
