"""Where keys come from, when they are read again, and who waits for it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import ProfileNotFound

from backends.authorise import LiveSecret
from backends.aws.credentials import InvalidKeys, MachineKeys, ReferencedKeys, are_keys, on_this_machine
from backends.aws.region import region_of
from backends.aws.sigv4 import SigV4Authoriser
from backends.errors import AuthFailed
from backends.spec import BackendSpec

KEYS = "AKIAEXAMPLE:secret/with+signs="


class Clock:
    """Time that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def expiring(in_s: float, renew: Callable[[], dict[str, str]]) -> RefreshableCredentials:
    """Keys as a role has them."""
    return RefreshableCredentials("id", "secret", "first", datetime.now(UTC) + timedelta(seconds=in_s), renew, "test")


def renewed() -> dict[str, str]:
    expiry = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    return {"access_key": "id", "secret_key": "secret", "token": "second", "expiry_time": expiry}


@pytest.mark.parametrize(
    ("secret", "are"),
    [
        (KEYS, True),
        (f"{KEYS}:token/+=", True),
        ("ABSKbedrockapikey", False),
        (":", False),
        ("id:", False),
        (f"{KEYS}:a:b", False),
        ("a b:c", False),
    ],
)
def test_keys_are_told_from_a_key(secret: str, are: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A pair or a triple of words is keys, a word is an API key."""
    assert are_keys(secret) == are


async def test_a_file_is_read_again_and_a_spoilt_one_is_not_believed(tmp_path: Path) -> None:
    """New keys are taken when the file changes; half a file leaves those of before."""
    file = tmp_path / "keys"
    file.write_text(f"{KEYS}:one\n")
    clock = Clock()
    keys = ReferencedKeys(LiveSecret(f"file:{file}", {}, now=clock))
    assert (await keys.current()).token == "one"
    for text, token in (("AKIAEX", "one"), (f"{KEYS}:two", "two")):
        (tmp_path / "next").write_text(text)
        (tmp_path / "next").replace(file)
        clock.now += 60
        assert (await keys.current()).token == token


def test_keys_of_no_form_are_refused_unquoted() -> None:
    """The mistake shows when the backend is made, without what was given."""
    with pytest.raises(InvalidKeys) as caught:
        ReferencedKeys(LiveSecret("env:KEYS", {"KEYS": "very-secret"}))
    assert "very-secret" not in str(caught.value)


async def test_the_machine_is_asked_once_and_in_a_thread() -> None:
    """Many requests at the start find the keys together, and the loop does not wait for files or a network."""
    threads: list[int] = []

    def find() -> Credentials:
        threads.append(threading.get_ident())
        return Credentials("id", "secret")

    keys = MachineKeys(find)
    found = await asyncio.gather(*(keys.current() for _ in range(5)))
    assert {one.access_key for one in found} == {"id"}
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


async def test_keys_of_a_role_are_renewed_before_they_end() -> None:
    """They are renewed ahead of time, in a thread; who asks gets those that hold."""
    threads: list[int] = []

    def renew() -> dict[str, str]:
        threads.append(threading.get_ident())
        return renewed()

    keys = MachineKeys(lambda: expiring(60, renew))
    assert (await keys.current()).token == "second"
    assert (await keys.current()).token == "second"
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


async def test_a_machine_without_keys_is_not_asked_for_every_request() -> None:
    """Nothing found is an answer that holds for a while."""
    clock = Clock()
    asked: list[float] = []

    def find() -> None:
        asked.append(clock.now)

    keys = MachineKeys(find, now=clock)
    for moment in (1.0, 2.0, 40.0):
        clock.now = moment
        with pytest.raises(AuthFailed, match="no AWS credentials"):
            await keys.current()
    assert asked == [1.0, 40.0]


async def test_what_the_chain_trips_over_is_a_failure_of_the_credential() -> None:
    """A profile that is not there is told by its kind."""

    def find() -> Credentials:
        raise ProfileNotFound(profile="gone")

    with pytest.raises(AuthFailed, match="ProfileNotFound"):
        await MachineKeys(find).current()


async def test_renewal_that_fails_is_a_failure_of_the_credential() -> None:
    """Expired keys that cannot be renewed sign nothing."""

    def renew() -> dict[str, str]:
        raise ProfileNotFound(profile="gone")

    with pytest.raises(AuthFailed, match="renewed"):
        await MachineKeys(lambda: expiring(-60, renew)).current()


def test_keys_of_the_environment_come_first() -> None:
    """The environment that is given is the one that is looked at."""
    env = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}
    found = on_this_machine(env)()
    assert found is not None
    assert found.access_key == "id"


@pytest.mark.parametrize(
    ("message", "renews"),
    [
        ("The security token included in the request is expired", True),
        ("Signature expired: 20260101T000000Z is now earlier than 20260101T000100Z", True),
        ("User: arn:aws:iam::1:user/x is not authorized to perform: bedrock:InvokeModel", False),
    ],
)
async def test_only_outdated_keys_are_looked_for_again(message: str, renews: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A right that is missing does not come with other keys; the same keys again are none."""
    tokens = iter(("old", "new", "new"))
    signer = SigV4Authoriser(
        MachineKeys(lambda: Credentials("id", "secret", next(tokens))), service="bedrock", region="us-east-1"
    )
    keys = await signer.keys()
    assert await signer.renew(keys, AuthFailed(message)) == renews
    if renews:
        assert not await signer.renew(await signer.keys(), AuthFailed(message))


async def test_a_long_body_is_signed_as_a_short_one_is() -> None:
    """It is hashed in a thread, and every request has a signature of its own."""
    keys = ReferencedKeys(LiveSecret("env:KEYS", {"KEYS": KEYS}))
    signer = SigV4Authoriser(keys, service="bedrock", region="us-east-1")
    assert signer.ready is None
    url = httpx.URL("https://bedrock-runtime.us-east-1.amazonaws.com/model/a%3A0/converse-stream")
    headers = [(b"host", url.netloc), (b"content-type", b"application/json"), (b"x-request-id", b"7")]
    made = [dict(await signer.headers("POST", url, headers, bytes(size))) for size in (10, 1_000_000)]
    assert made[0].keys() == made[1].keys() == {b"authorization", b"x-amz-date"}
    assert made[0] != made[1]
    assert b"SignedHeaders=content-type;host;x-amz-date," in made[0][b"authorization"]


@pytest.mark.parametrize(
    ("address", "options", "env", "region"),
    [
        ("https://bedrock-runtime.us-east-1.amazonaws.com", {}, {"AWS_REGION": "eu-west-1"}, "us-east-1"),
        ("https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com", {}, {}, "us-gov-west-1"),
        ("https://runtime.sagemaker.cn-north-1.amazonaws.com.cn", {}, {}, "cn-north-1"),
        ("https://vpce-0a1b-2c3d.bedrock-runtime.ap-southeast-2.vpce.amazonaws.com", {}, {}, "ap-southeast-2"),
        ("https://bedrock-runtime.us-east-1.amazonaws.com", {"region": "us-west-2"}, {}, "us-west-2"),
        ("http://127.0.0.1:1", {}, {"AWS_DEFAULT_REGION": "eu-central-1"}, "eu-central-1"),
    ],
)
def test_the_region(address: str, options: dict[str, str], env: dict[str, str], region: str) -> None:
    """What the operator says counts first, then the address, then the environment."""
    assert region_of(BackendSpec(id="b", wire="bedrock", base_url=address, options=options), env) == region


def test_wires_are_known_without_botocore() -> None:
    """The table of wires is read by every command; botocore is loaded where a backend needs it only."""
    code = "import sys, backends.registry; sys.exit('botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_region_is_an_error() -> None:
    """Without one nothing can be signed."""
    with pytest.raises(ValueError, match=r"options\.region"):
        region_of(BackendSpec(id="b", wire="bedrock", base_url="http://127.0.0.1:1"), {})
