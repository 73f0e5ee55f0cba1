"""TLS to a server alone, under Sentinel and in a cluster, on the `redis-server` of the machine.

The server in the wheel is built without TLS, so these run where another one with TLS is installed (Debian's is).
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import textwrap
import time
from pathlib import Path

import pytest

from router.errors import StoreUnavailable
from router.state.client import StoreClient
from router.state.connection import BadStoreUrlError, StoreOptions
from router.state.lua import Script
from simulation.ports import free_port
from simulation.stores import (
    TlsFiles,
    start_cluster,
    start_primary_with_replicas_and_sentinels,
    start_standalone,
)

KEY = "{router}:test"
_TEXT = "redis.call('SET', KEYS[1], ARGV[1]) return ARGV[1]"
ECHO = Script("echo", _TEXT, hashlib.sha1(_TEXT.encode(), usedforsecurity=False).hexdigest())
DATA = Path(__file__).parents[2] / "data" / "tls"


@pytest.fixture(scope="module")
def program() -> Path:
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        pytest.skip("no redis-server or valkey-server in PATH, and the one in the wheel is built without TLS")
    # One with TLS misses its certificate, one without does not know the port; both end at once.
    said = subprocess.run([found, "--port", "0", "--tls-port", str(free_port())], capture_output=True, check=False)
    if b"tls-cert-file" not in said.stdout + said.stderr:
        pytest.skip(f"{found} is built without TLS")
    return Path(found)


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    """The public certificate of the tests, which is its own CA."""
    certificate = DATA / "loopback.crt.pem"
    key = tmp_path / "key.pem"
    body = "\n".join(textwrap.wrap(base64.b64encode((DATA / "loopback.key.der").read_bytes()).decode(), 64))
    mark = "-----{} PRIVATE KEY-----"
    key.write_text(f"{mark.format('BEGIN')}\n{body}\n{mark.format('END')}\n")
    return TlsFiles(certificate=certificate, key=key, ca=certificate)


async def works(url: str, **options: object) -> None:
    client = StoreClient.connect(url, options=StoreOptions(**options))  # type: ignore[arg-type]  # a test's own keywords
    try:
        assert await client.run(ECHO, [KEY], ["x"], what="write", replicated=True, timeout_s=5.0) == b"x"
    finally:
        await client.aclose()


async def test_a_server_is_trusted_by_its_ca(program: Path, files: TlsFiles) -> None:
    """Named in the URL or beside it the CA is trusted; without it the server is refused, and so is a plain wire."""
    async with start_standalone(program=program, tls=files) as server:
        await works(server.url, ssl_ca_certs=str(files.ca))
        await works(f"{server.url}?ssl_ca_certs={files.ca}")
        await works(f"{server.url}?ssl_cert_reqs=none")
        with pytest.raises(StoreUnavailable, match=r"(?i)certificate verify failed"):
            await works(server.url)
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await works(server.url.replace("rediss", "redis"))
        assert time.monotonic() - began < 1.0


async def test_the_name_in_the_certificate_counts(program: Path, files: TlsFiles) -> None:
    """A server at a name that its certificate does not have is refused, unless that is switched off."""
    async with start_standalone(program=program, tls=files, settings=("--bind", "127.0.0.1 127.0.0.2")) as server:
        url = server.url.replace("127.0.0.1", "127.0.0.2")
        with pytest.raises(StoreUnavailable, match=r"not valid for|doesn't match"):
            await works(url, ssl_ca_certs=str(files.ca))
        await works(url, ssl_ca_certs=str(files.ca), ssl_check_hostname=False)


async def test_our_own_certificate_and_user(program: Path, files: TlsFiles) -> None:
    """A server that asks for a certificate and a user gets both."""
    asking = TlsFiles(files.certificate, files.key, files.ca, ask_clients=True)
    async with start_standalone(program=program, tls=asking) as server:
        await server.call("ACL", "SETUSER", "router", "on", ">hunter2", "~{router}:*", "+@all")
        await server.call("ACL", "SETUSER", "default", "off")
        ours = {"ssl_certfile": str(files.certificate), "ssl_keyfile": str(files.key), "ssl_ca_certs": str(files.ca)}
        url = server.url.replace("://", "://router:hunter2@")
        await works(url, **ours)
        with pytest.raises(StoreUnavailable):
            await works(url, ssl_ca_certs=str(files.ca))
        with pytest.raises(StoreUnavailable, match="refuses our credentials"):
            await works(url.replace("hunter2", "hunter3"), **ours)


async def test_a_wrong_file_is_named_at_once(tmp_path: Path, files: TlsFiles) -> None:
    """A key that does not belong, or no key at all, is refused before anything connects."""
    (tmp_path / "empty.pem").write_text("")
    for name in (str(tmp_path / "empty.pem"), str(tmp_path / "absent.pem")):
        options = StoreOptions(ssl_certfile=str(files.certificate), ssl_keyfile=name)
        with pytest.raises(BadStoreUrlError, match=f"the files of TLS cannot be used .*{Path(name).name}"):
            StoreClient.connect("rediss://h", options=options)


async def test_sentinel_with_tls(program: Path, files: TlsFiles) -> None:
    """Sentinels and servers are both reached by TLS, and writes are acknowledged by a replica."""
    async with start_primary_with_replicas_and_sentinels(
        replicas=1, sentinels=1, program=program, tls=files
    ) as watched:
        assert watched.url.startswith("rediss+sentinel://")
        await works(watched.url, ssl_ca_certs=str(files.ca))
        with pytest.raises(StoreUnavailable, match=r"(?i)certificate verify failed"):
            await works(watched.url)


async def test_cluster_with_tls(program: Path, files: TlsFiles) -> None:
    """The nodes of a cluster are reached by TLS, those that others tell of too."""
    async with start_cluster(3, program=program, tls=files) as cluster:
        owner = await cluster.owner(await cluster.slot_of(KEY))
        for node in cluster.nodes:
            await works(f"rediss+cluster://{node.address}", ssl_ca_certs=str(files.ca))
        assert await owner.call("GET", KEY) == b"x"
