"""The URL of the store and what is beside it: what is accepted, and clear words, without secrets, for what is not."""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.state.client import StoreClient
from router.state.connection import BadStoreUrlError, StoreOptions, mask, open_client, resolve, store_identity
from router.state.keys import Keys
from router.state.url import Address, StoreUrl, Tls, Topology, parse_store_url

ALONE, SENTINEL, CLUSTER = Topology.ALONE, Topology.SENTINEL, Topology.CLUSTER


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("redis://h:6380/2", StoreUrl(topology=ALONE, addresses=(Address("h", 6380),), db=2)),
        ("redis://h", StoreUrl(topology=ALONE, addresses=(Address("h", 6379),))),
        ("redis://[::1]:7", StoreUrl(topology=ALONE, addresses=(Address("::1", 7),))),
        (
            "rediss://user:p%40ss@h/0?ssl_ca_certs=/ca.pem",
            StoreUrl(
                topology=ALONE,
                addresses=(Address("h", 6379),),
                username="user",
                password="p@ss",
                tls=Tls(ca_certs="/ca.pem"),
            ),
        ),
        (
            "rediss://h?ssl_cert_reqs=none&client_name=router",
            StoreUrl(
                topology=ALONE,
                addresses=(Address("h", 6379),),
                client_name="router",
                tls=Tls(cert_reqs="none", check_hostname=False),
            ),
        ),
        ("unix:///run/v.sock?db=1", StoreUrl(topology=ALONE, path="/run/v.sock", db=1)),
        ("unix://u:p@/run/v.sock", StoreUrl(topology=ALONE, path="/run/v.sock", username="u", password="p")),
        (
            "redis+sentinel://:p@a:1,b,a:1/fleet/3",
            StoreUrl(
                topology=SENTINEL,
                addresses=(Address("a", 1), Address("b", 26379)),
                service="fleet",
                db=3,
                password="p",
            ),
        ),
        (
            "rediss+sentinel://a/fleet",
            StoreUrl(topology=SENTINEL, addresses=(Address("a", 26379),), service="fleet", tls=Tls()),
        ),
        ("redis+cluster://a:1,b/0", StoreUrl(topology=CLUSTER, addresses=(Address("a", 1), Address("b", 6379)))),
        ("rediss+cluster://a", StoreUrl(topology=CLUSTER, addresses=(Address("a", 6379),), tls=Tls())),
    ],
)
def test_urls_are_understood(url: str, wanted: StoreUrl) -> None:
    """One server, Sentinels and a cluster, with and without TLS, users, passwords and databases are configuration."""
    assert parse_store_url(url) == wanted


@dataclass(frozen=True)
class Case:
    id: str
    url: str
    says: str


CASES = (
    Case("another scheme", "http://user:hunter2@h", "expected redis://, rediss://, unix://, redis+sentinel:// or"),
    Case("no scheme", "localhost:6379", "expected redis://"),
    Case("no scheme with password", "user:hunter2@localhost", "expected redis://"),
    Case("empty", "", "expected redis://"),
    Case("no host", "redis://:hunter2@/0", "no host"),
    Case("no second host", "redis+cluster://:hunter2@h,,i", "no host"),
    Case("only a port", "redis://:hunter2@:6379", "a host is missing"),
    Case("no path", "unix://", "no path"),
    Case("host of a socket", "unix://:hunter2@h/run/x.sock", "no path"),
    Case("port", "redis://:hunter2@h:notaport", "a port is not a number"),
    Case("port too high", "redis://:hunter2@h:65536", "a port is not a number"),
    Case("password without host", "redis://user:hunter2", "a port is not a number"),
    Case("database", "redis://:hunter2@h/first", "'first' is not the number of a database"),
    Case("two databases", "redis://:hunter2@h/1?db=2", "more than one database"),
    Case("long path", "redis://:hunter2@h/1/2", "more after the host than one name"),
    Case("option", "redis://:hunter2@h?socket_timeout=60", "unknown options socket_timeout; allowed: client_name, db"),
    Case("empty option", "redis://:hunter2@h?client_name=", "client_name is empty"),
    Case("TLS option without TLS", "redis://:hunter2@h?ssl_ca_certs=/ca.pem", "ssl_ca_certs needs TLS"),
    Case("certificates needed", "rediss://:hunter2@h?ssl_cert_reqs=maybe", "required, optional or none"),
    Case("switch", "rediss://:hunter2@h?ssl_check_hostname=maybe", "ssl_check_hostname is true or false"),
    Case("slash in the password", "redis://:hun/ter2@h", "write @ / ? # in a user, password, path or option as"),
    Case("question mark in the password", "redis://:hun?ter2@h", "write @ / ? #"),
    Case("password with @ as an option", "redis://h?password=hunter2@x", "write @ / ? #"),
    Case("hosts of one server", "redis://:hunter2@a,b", "more than one host"),
    Case("no service", "redis+sentinel://:hunter2@a:1,b:2", "no service; expected redis+sentinel://HOST,.../SERVICE"),
    Case("database of a cluster", "redis+cluster://:hunter2@a/1", "a cluster has only database 0"),
    Case("bare IPv6", "redis://:hunter2@::1", "[ADDRESS]:PORT"),
    Case("open IPv6", "redis://:hunter2@[::1", "[ADDRESS]:PORT"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_bad_url_is_explained_without_its_password(case: Case) -> None:
    """Each mistake is named, and no message holds the password or a part of it."""
    with pytest.raises(BadStoreUrlError) as error:
        parse_store_url(case.url)
    assert case.says in str(error.value)
    assert not {"hunter2", "hun", "ter2"} & set(str(error.value).replace("/", " ").replace(":", " ").split())
    assert "hunter2" not in str(error.value)


_SECRET = st.text(alphabet=string.ascii_letters + string.punctuation, min_size=4).map(lambda text: f"{text}s3cr3t")


@given(
    scheme=st.sampled_from(["redis", "rediss", "unix", "redis+sentinel", "rediss+cluster", "http", ""]),
    user=st.sampled_from(["", "user"]),
    password=_SECRET,
    tail=st.sampled_from(["h:1/2", "h", "a:1,b:2/svc", "/run/x.sock", "h:x", "", "h?db=1", "h#", "[::1]:5"]),
)
def test_no_url_shows_its_password(scheme: str, user: str, password: str, tail: str) -> None:
    """Whatever is in a password, encoded or not, neither the masked URL nor an error holds its end."""
    url = f"{scheme}://{user}:{password}@{tail}"
    assert "s3cr3t" not in mask(url)
    try:
        shown = repr(parse_store_url(url))
    except BadStoreUrlError as error:
        shown = str(error)
    assert "s3cr3t" not in shown


def test_masking() -> None:
    """A URL as it is shown keeps user and host, and drops password and options."""
    assert mask("redis://u:p@ss@h:1/0?password=x") == "redis://u:***@h:1/0"
    assert mask("redis://h/0") == "redis://h/0"
    assert mask("redis+sentinel://u:p@h:1,i:2/fleet") == "redis+sentinel://u:***@h:1,i:2/fleet"
    assert mask("redis://token@h") == "redis://***@h"
    assert mask("redis://u:p/w@h") == "redis://***"


def test_references_are_looked_up(tmp_path: Path) -> None:
    """A secret comes from the environment or a file, without the line break at the file's end."""
    (tmp_path / "password").write_text("from a file\n")
    assert resolve("env:PW", "redis_password", {"PW": "from there"}) == "from there"
    assert resolve(f"file:{tmp_path / 'password'}", "redis_password", {}) == "from a file"


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("env:PW", "redis_password: the environment has no PW"),
        ("file:/nowhere/pw", "redis_password: cannot read /nowhere/pw: No such file or directory"),
        ("file:/dev/null", "redis_password: /dev/null is empty"),
        ("hunter2", "redis_password: expected a reference, env:NAME or file:PATH"),
    ],
)
def test_a_reference_to_nothing_is_refused(reference: str, says: str) -> None:
    """The message names the setting and the reference; a password in its place is not shown."""
    with pytest.raises(BadStoreUrlError) as error:
        StoreClient.connect("redis://h", options=StoreOptions(password=reference), env={})
    assert str(error.value) == says


@pytest.mark.parametrize(
    ("url", "options", "says"),
    [
        ("redis://h", StoreOptions(ssl_ca_certs="/ca.pem"), "redis_ssl_ca_certs needs TLS"),
        ("rediss://h", StoreOptions(ssl_ca_certs="/no/ca.pem"), "cannot be used (/no/ca.pem): No such file"),
        ("rediss://h", StoreOptions(ssl_keyfile="/no/key.pem"), "ssl_keyfile without ssl_certfile"),
        ("redis://h", StoreOptions(sentinel_username="u"), "need a redis+sentinel:// URL"),
    ],
)
def test_options_must_go_with_the_url(url: str, options: StoreOptions, says: str) -> None:
    """What could not take effect is refused rather than left out in silence."""
    with pytest.raises(BadStoreUrlError) as error:
        StoreClient.connect(url, options=options, env={})
    assert says in str(error.value)


def test_the_identity_of_a_store_is_where_it_is() -> None:
    """Credentials, options and the order of addresses do not change it; place, database and namespace do."""
    first = store_identity("redis+sentinel://u:p@a:1,b:2/fleet", "router")
    assert store_identity("redis+sentinel://v:q@b:2,a:1/fleet?client_name=x", "router") == first
    others = {
        store_identity(None, "router"),
        store_identity("redis+sentinel://a:1,b:2/fleet", "other"),
        store_identity("redis+sentinel://a:1,b:2/fleet/1", "router"),
        store_identity("redis+sentinel://a:1,b:3/fleet", "router"),
        store_identity("redis+cluster://a:1,b:2", "router"),
        store_identity("unix:///run/x.sock", "router"),
    }
    assert len(others | {first}) == 7


async def test_a_plain_client_has_what_the_url_says() -> None:
    """Whoever looks into a store beside the router uses the same URLs of one server."""
    client = open_client("redis://u:p@h:7/2", timeout_s=0.5)
    wanted = {"host": "h", "port": 7, "db": 2, "username": "u", "password": "p", "socket_connect_timeout": 0.5}
    assert wanted.items() <= client.connection_pool.connection_kwargs.items()
    await client.aclose()


def test_the_keys_of_a_namespace_share_one_slot() -> None:
    """Every key carries the same hash tag, and a namespace that could break it is refused."""
    keys = Keys("team-a.prod")
    assert all(key.startswith("{team-a.prod}:") for key in keys.for_scripts)
    assert len(set(keys.for_scripts)) == len(keys.for_scripts)
    for wrong in ("", "a}b", "{a}", "a b", "-a", "x" * 65):
        with pytest.raises(ValueError, match="namespace"):
            Keys(wrong)
