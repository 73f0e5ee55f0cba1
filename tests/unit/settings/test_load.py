"""What a good configuration becomes."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from router.domain.fleet import Backend, Capability, PrivacyLevel, ServedModel
from router.domain.request import Objective
from router.domain.wires import Wires
from router.settings import Settings, load
from router.settings.backend_rules import validate_backend
from router.settings.policies import parse_policies
from router.settings.strict import ConfigError

Write = Callable[..., Path]
EMULATED = {
    "h100-vllm",
    "mi300x-vllm",
    "inferentia2-neuron",
    "tpu-v5p",
    "groq-lpu",
    "cerebras-wse3",
    "hosted-api",
}


def test_the_shipped_configuration_loads(shipped: Settings) -> None:
    """config/ describes one real backend on this machine and seven emulated ones, each with a price."""
    backends = {backend.id: backend for backend in shipped.seed.backends}

    assert set(backends) == EMULATED | {"device-llamacpp"}
    assert {name for name, backend in backends.items() if backend.emulated} == EMULATED
    assert {price.backend for price in shipped.seed.prices} == set(backends)
    assert all(price.known and price.source != "config" for price in shipped.seed.prices)


def test_a_backend_whose_credential_is_absent_is_skipped_with_a_notice(shipped: Settings) -> None:
    """Without its variable a backend is left out, with its price, and one line says why."""
    assert shipped.notices == (
        "fleet.yaml: backend 'openai-cloud' skipped: environment variable OPENAI_API_KEY is not set",
    )
    assert "openai-cloud" not in {price.backend for price in shipped.seed.prices}


def test_a_backend_whose_credential_exists_is_kept(shipped_copy: Path) -> None:
    """With its variable the backend is there; the secret itself is nowhere in the settings."""
    settings = load(shipped_copy, {"OPENAI_API_KEY": "sk-very-secret"})

    assert "openai-cloud" in {backend.id for backend in settings.seed.backends}
    assert settings.notices == ()
    assert "sk-very-secret" not in repr(settings)


def test_a_credential_file_that_is_absent_skips_the_backend(write: Write, tmp_path: Path) -> None:
    """A file reference is looked up as a variable is."""
    text = """\
backends:
  one: {wire: w, address: 'http://h', models: [{model: llama-8b}], credential: 'file:%s'}
"""
    absent, present = tmp_path / "absent", tmp_path / "present"
    present.write_text("secret", encoding="utf-8")

    skipped = load(write({"fleet.yaml": text % absent}), {})
    kept = load(write({"fleet.yaml": text % present}), {})

    assert skipped.seed.backends == ()
    assert skipped.notices == (f"fleet.yaml: backend 'one' skipped: credential file {absent} does not exist",)
    assert [backend.id for backend in kept.seed.backends] == ["one"]


def test_every_request_of_the_shipped_fleet_has_many_candidates(shipped: Settings) -> None:
    """Seven backends serve llama-3.1-8b and five llama-3.3-70b, at five levels of privacy and in several regions."""
    serving = {
        model: {b.id for b in shipped.seed.backends if model in {s.model for s in b.models}}
        for model in ("llama-3.1-8b", "llama-3.3-70b")
    }

    assert serving["llama-3.1-8b"] == EMULATED
    assert len(serving["llama-3.3-70b"]) == 5
    assert {b.privacy for b in shipped.seed.backends} == set(PrivacyLevel)
    assert len({b.region for b in shipped.seed.backends}) >= 6


def test_addresses_take_variables_and_defaults(shipped_copy: Path) -> None:
    """Ports and hosts of addresses come from the environment where it sets them."""
    settings = load(shipped_copy, {"FLEET_HOST": "fleet", "FLEET_PORT_H100": "9000"})
    addresses = {backend.id: backend.address for backend in settings.seed.backends}

    assert addresses["h100-vllm"] == "http://fleet:9000"
    assert addresses["mi300x-vllm"] == "http://fleet:18102"
    assert addresses["device-llamacpp"] == "http://127.0.0.1:18100"


def test_the_environment_overrides_the_file(shipped_copy: Path) -> None:
    """Each key of router.yaml has a variable that wins over it, in the type of the key."""
    settings = load(
        shipped_copy,
        {
            "INFERENCE_ROUTER_GRPC_PORT": "6001",
            "INFERENCE_ROUTER_LOG_JSON": "true",
            "INFERENCE_ROUTER_DRAIN_LIMIT_S": "500 ms",
            "INFERENCE_ROUTER_NAMESPACE": "007",
            "INFERENCE_ROUTER_REPLICA_ID": "a",
            "INFERENCE_ROUTER_ADDRESS": "ignored: the client's",
            "REDIS_URL": "redis://:hunter2@cache:6379/0",
        },
    )
    router = settings.router

    assert (router.grpc_port, router.log_json, router.drain_limit_s) == (6001, True, 0.5)
    assert (router.namespace, router.replica_id) == ("007", "a")
    assert router.redis_url == "redis://:hunter2@cache:6379/0"
    assert "hunter2" not in repr(settings)


def test_the_more_specific_variable_wins(shipped_copy: Path) -> None:
    """INFERENCE_ROUTER_REDIS_URL is taken before REDIS_URL."""
    env = {"REDIS_URL": "redis://platform", "INFERENCE_ROUTER_REDIS_URL": "redis://mine"}

    assert load(shipped_copy, env).router.redis_url == "redis://mine"


def test_router_yaml_may_be_absent(shipped_copy: Path) -> None:
    """Without router.yaml the defaults hold, and a replica names itself after host and process."""
    (shipped_copy / "router.yaml").unlink()

    router = load(shipped_copy, {}).router

    assert (router.host, router.grpc_port, router.admin_port, router.http_port) == ("127.0.0.1", 50051, 50052, 8080)
    assert router.replica_id.startswith(f"{socket.gethostname()}-")
    assert router.redis_url is None


def test_quantities_arrive_in_base_units(write: Write) -> None:
    """A value with a unit is the same as the plain number."""
    hardware = load(write(), {}).catalogue.hardware["h100"]

    assert hardware.memory_bytes == 80e9
    assert hardware.memory_bandwidth_bytes_per_s == 3.35e12
    assert hardware.flops_per_s == 989e12


def test_names_resolve_as_the_catalogue_says(shipped: Settings) -> None:
    """An alias is one model, a class several."""
    assert shipped.catalogue.resolve("fast-chat") == ("llama-3.1-8b",)
    assert shipped.catalogue.resolve("small-chat") == ("smollm2-135m", "llama-3.1-8b")
    assert len(shipped.catalogue.resolve("auto")) == 3


def test_the_shipped_policies_say_what_each_class_is_worth(shipped: Settings) -> None:
    """Six classes, and one behind each plain objective; DECISION's figures for interactive."""
    policies = shipped.policies
    interactive = policies.classes["interactive"]

    assert set(policies.classes) == {"realtime", "interactive", "batch", "private", "agentic", "green"}
    assert set(policies.objectives) == set(Objective)
    assert (interactive.usd_per_s, interactive.usd_per_ttft_s, interactive.usd_per_slo_miss) == (1e-5, 1e-4, 2e-3)
    assert interactive.slo.probability == 0.9
    assert policies.classes["batch"].batch
    assert policies.classes["private"].privacy is PrivacyLevel.ON_DEVICE
    assert {name for name, c in policies.classes.items() if not c.explore_share} == {"realtime", "private"}
    assert interactive.quality_floor("code") > interactive.quality_floor("poetry") > 0.0


def test_the_seed_holds_the_text_of_the_policies(shipped: Settings, shipped_copy: Path) -> None:
    """What the store is seeded with parses to the same policies."""
    assert shipped.seed.policies_yaml == (shipped_copy / "policies.yaml").read_text(encoding="utf-8")
    assert parse_policies(shipped.seed.policies_yaml, "p") == shipped.policies


def test_policies_that_are_wrong_name_the_file_they_came_from() -> None:
    """`parse_policies` reports under the name it is given, with path and message apart for the admin API."""
    with pytest.raises(ConfigError) as caught:
        parse_policies("classes: {interactive: {usd_per_ms: 1}}", "request")

    (problem,) = caught.value.problems
    assert problem.file == "request"
    assert problem.path == "classes.interactive.usd_per_ms"
    assert problem.message.startswith("unknown key")


def test_a_shipped_backend_breaks_no_rule_of_the_admin_api(shipped: Settings) -> None:
    """Whatever fleet.yaml may hold, the admin API accepts."""
    assert [validate_backend(b, shipped.catalogue) for b in shipped.seed.backends] == [[]] * len(shipped.seed.backends)


def test_a_backend_is_checked_field_by_field(shipped: Settings, wires: Wires) -> None:
    """Each broken rule is a violation of its own field."""
    backend = Backend(
        id="Bad Id",
        wire="",
        address="ftp://h",
        models=(
            ServedModel(model="llama-3.1-8b", bytes_per_weight=-1.0, bytes_per_kv=9.0, draft_tokens=3),
            ServedModel(model="", draft_tokens=99, draft_acceptance=1.5),
        ),
        hardware="h100",
        hardware_count=0,
        capabilities=frozenset({Capability.TOOLS}),
        network_rtt_s=float("nan"),
        first_token_timeout_s=0.0,
        credential="hunter2",
    )

    found = validate_backend(backend, shipped.catalogue, wires=wires)

    assert {v.field for v in found} == {
        "id",
        "wire",
        "address",
        "models[0].bytes_per_weight",
        "models[0].bytes_per_kv",
        "models[0].draft_acceptance",
        "models[1].draft_tokens",
        "models[1].draft_acceptance",
        "models[1].model",
        "hardware",
        "hardware_count",
        "network_rtt_s",
        "first_token_timeout_s",
        "credential",
    }
    assert "hunter2" not in repr(found)
