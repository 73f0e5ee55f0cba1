"""router.yaml: the store's options, where a replica keeps its files, and what the environment says of both."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.settings.router_yaml import RouterSettings, router_settings
from router.settings.strict import Problem
from router.settings.yaml_text import read_document
from router.state.url import StoreOptions

FILE = """
redis_url: rediss+sentinel://a,b/fleet
redis_username: router
redis_password: env:REDIS_PASSWORD
redis_sentinel_username: watcher
redis_sentinel_password: file:/run/secrets/sentinel
redis_ssl_ca_certs: /ca.pem
redis_ssl_certfile: /router.pem
redis_ssl_keyfile: /router.key
redis_ssl_check_hostname: false
acknowledge_replicas: 2
require_api_key: true
"""


def read(text: str, env: dict[str, str]) -> RouterSettings:
    problems: list[Problem] = []
    settings = router_settings(read_document(text), env, "router.yaml", problems)
    assert not problems
    assert settings is not None
    return settings


def test_the_options_of_the_store_stand_beside_its_url() -> None:
    """Users, references to secrets, TLS and acknowledgements reach the client as written."""
    settings = read(FILE, {})
    assert settings.redis_url == "rediss+sentinel://a,b/fleet"
    assert settings.require_api_key
    assert settings.redis_options == StoreOptions(
        username="router",
        password="env:REDIS_PASSWORD",
        sentinel_username="watcher",
        sentinel_password="file:/run/secrets/sentinel",
        ssl_ca_certs="/ca.pem",
        ssl_certfile="/router.pem",
        ssl_keyfile="/router.key",
        ssl_check_hostname=False,
        acknowledge_replicas=2,
    )


def test_nothing_is_asked_for_by_default() -> None:
    """An empty file is the embedded store, no keys for tenants, and no options."""
    settings = read("", {})
    assert (settings.redis_url, settings.redis_options, settings.require_api_key) == (None, StoreOptions(), False)


def test_the_environment_sets_the_options_as_text() -> None:
    """A name that looks like a number or a date stays what it is; numbers and switches are read as such."""
    env = {
        "REDIS_URL": "rediss+cluster://a,b",
        "INFERENCE_ROUTER_REDIS_USERNAME": "007",
        "INFERENCE_ROUTER_REDIS_PASSWORD": "env:PW",
        "INFERENCE_ROUTER_REDIS_SSL_CHECK_HOSTNAME": "false",
        "INFERENCE_ROUTER_ACKNOWLEDGE_REPLICAS": "0",
        "INFERENCE_ROUTER_STATE_DIR": "/2026",
        "INFERENCE_ROUTER_REQUIRE_API_KEY": "true",
    }
    settings = read(FILE.replace("require_api_key: true", ""), env)
    assert settings.redis_url == "rediss+cluster://a,b"
    options = settings.redis_options
    assert (options.username, options.password, options.ssl_check_hostname) == ("007", "env:PW", False)
    assert (options.acknowledge_replicas, settings.state_dir, settings.require_api_key) == (0, "/2026", True)


@pytest.mark.parametrize(
    ("text", "env", "wanted"),
    [
        ("", {"HOME": "/people/op"}, "/people/op/.local/state/inference-router"),
        ("", {"HOME": "/people/op", "XDG_STATE_HOME": "/state"}, "/state/inference-router"),
        ("", {"HOME": "/people/op", "XDG_STATE_HOME": "relative"}, "/people/op/.local/state/inference-router"),
        ("state_dir: /srv/router", {"HOME": "/people/op", "XDG_STATE_HOME": "/state"}, "/srv/router"),
        ("state_dir: ~/router", {}, str(Path.home() / "router")),
    ],
)
def test_files_are_kept_where_state_belongs(text: str, env: dict[str, str], wanted: str) -> None:
    """What is configured, else the XDG directory of state, else the one below the home directory."""
    assert read(text, env).state_dir == wanted


def test_the_log_of_decisions_has_settings_of_its_own() -> None:
    """A size with its unit, a share or auto, a path; from the environment as well."""
    problems: list[Problem] = []
    text = "decisions: { path: ~/log, max_bytes: 8 MiB, sample: 0.25, hide_names: true }"
    given = router_settings(read_document(text), {}, "router.yaml", problems)
    default = router_settings(None, {}, "router.yaml", problems)
    env = router_settings(None, {"INFERENCE_ROUTER_DECISIONS": "{sample: 0}"}, "router.yaml", problems)

    assert not problems
    assert given is not None
    assert default is not None
    assert env is not None
    kept = given.decisions
    assert (kept.max_bytes, kept.share, kept.hide_names) == (8 << 20, 0.25, True)
    assert kept.path is not None
    assert not kept.path.startswith("~")
    assert (default.decisions.path, default.decisions.share, default.decisions.max_bytes) == (None, None, 64 << 20)
    assert env.decisions.share == 0.0


def test_wrong_settings_of_the_log_are_named() -> None:
    """Each problem by its key, with what is expected."""
    problems: list[Problem] = []
    text = "decisions: { sample: 2, max_bytes: 10, directory: x }"

    assert router_settings(read_document(text), {}, "router.yaml", problems) is None

    said = {problem.path: problem.message for problem in problems}
    assert "'auto' or a share" in said["decisions.sample"]
    assert "at least 1.04858e+06" in said["decisions.max_bytes"]
    assert "did you mean 'path'" in said["decisions.directory"]
