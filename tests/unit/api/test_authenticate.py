"""API keys become tenants: which are held to their word, which are ignored, and that none is ever shown."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.api.authenticate import Authenticator
from router.clock import FakeClock
from router.domain import api_key
from router.domain.tenant import ApiKey, Tenant
from router.errors import Unauthenticated

KEY_ID, TEXT = api_key.new_key()
KEY = ApiKey(id=KEY_ID, sha256=api_key.digest(TEXT))


def authenticator(*tenants: Tenant, require: bool = False, clock: FakeClock | None = None) -> Authenticator:
    there = {tenant.id: tenant for tenant in tenants}
    return Authenticator(lambda: there, clock=clock or FakeClock(), require_api_key=require)


def test_a_new_key_has_its_form() -> None:
    """irk_, an id, and 256 random bits in base64url; no two are alike."""
    texts = {api_key.new_key()[1] for _ in range(100)}

    assert len(texts) == 100
    assert all(api_key.id_of(text) == text.split("_")[1] for text in texts)
    assert {len(text.split("_", 2)[2]) for text in texts} == {43}


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_valid_key_is_its_tenant(scheme: str) -> None:
    """The scheme's case does not matter, and a bare key beside it counts as well."""
    auth = authenticator(Tenant(id="a", keys=(KEY,)))

    assert auth.tenant(f"{scheme} {TEXT}") == "a"
    assert auth.tenant(None, TEXT) == "a"
    assert auth.tenant("Bearer sk-dummy", TEXT) == "a"
    assert auth.of_http([(b"host", b"x"), (b"authorization", f"{scheme} {TEXT}".encode())]) == "a"
    assert auth.of_http([(b"x-api-key", TEXT.encode())]) == "a"
    assert auth.of_grpc((("authorization", f"{scheme} {TEXT}"),)) == "a"
    assert auth.of_grpc((("x-api-key", TEXT),)) == "a"


@pytest.mark.parametrize(
    "sent", [None, "", "Bearer ", "Bearer sk-dummy", "Basic irk_x", "irk_no_scheme", "Bearer test"]
)
def test_no_key_of_ours_is_the_default_tenant(sent: str | None) -> None:
    """Whoever sends none, or what another service calls a key, is the default tenant."""
    assert authenticator(Tenant(id="a", keys=(KEY,))).tenant(sent) == "default"
    assert authenticator().of_grpc(None) == "default"


@pytest.mark.parametrize("sent", [None, "Bearer sk-dummy"])
def test_where_keys_are_required_none_is_refused(sent: str | None) -> None:
    """With require_api_key a key of ours is needed, and a valid one passes."""
    auth = authenticator(Tenant(id="a", keys=(KEY,)), require=True)
    with pytest.raises(Unauthenticated) as caught:
        auth.tenant(sent)

    assert "keys create" in caught.value.hint
    assert auth.tenant(f"Bearer {TEXT}") == "a"


def test_a_disabled_default_tenant_refuses_who_has_no_key() -> None:
    """Disabling the tenant "default" closes the door to callers without a key."""
    with pytest.raises(Unauthenticated):
        authenticator(Tenant(id="default", disabled=True)).tenant(None)


@pytest.mark.parametrize(
    ("tenant", "said"),
    [
        (Tenant(id="a"), "not known"),
        (Tenant(id="a", keys=(replace(KEY, revoked=True),)), "revoked"),
        (Tenant(id="a", keys=(replace(KEY, expires_at=1_800_000_000.0),)), "expired"),
        (Tenant(id="a", keys=(KEY,), disabled=True), "disabled"),
    ],
)
def test_a_key_of_ours_that_is_not_valid_is_refused(tenant: Tenant, said: str) -> None:
    """Unknown, revoked, expired or of a disabled tenant: UNAUTHENTICATED, never the default tenant."""
    with pytest.raises(Unauthenticated, match=said) as caught:
        authenticator(tenant).tenant(f"Bearer {TEXT}")

    assert TEXT not in f"{caught.value} {caught.value.hint} {caught.value!r}"


def test_a_key_ends_at_its_time() -> None:
    """Until it expires a key is valid, by the store's clock."""
    clock = FakeClock()
    auth = authenticator(Tenant(id="a", keys=(replace(KEY, expires_at=clock.time() + 1.0),)), clock=clock)
    assert auth.tenant(f"Bearer {TEXT}") == "a"
    clock.advance(1.0)

    with pytest.raises(Unauthenticated):
        auth.tenant(f"Bearer {TEXT}")


def test_the_index_follows_the_snapshot() -> None:
    """A key that is added or revoked counts from the next request on; the index is not made anew without a change."""
    there = {"a": Tenant(id="a", keys=(KEY,))}
    auth = Authenticator(lambda: there, clock=FakeClock())
    assert auth.tenant(f"Bearer {TEXT}") == "a"
    index = auth._index
    auth.tenant(f"Bearer {TEXT}")
    assert auth._index is index
    there = {"b": Tenant(id="b", keys=(KEY,))}

    assert auth.tenant(f"Bearer {TEXT}") == "b"


@given(st.text(max_size=80))
def test_what_only_begins_like_a_key_is_refused_and_not_repeated(tail: str) -> None:
    """Anything with our prefix that was not issued is refused, whatever characters it has."""
    with pytest.raises(Unauthenticated) as caught:
        authenticator(Tenant(id="a", keys=(KEY,))).tenant(f"Bearer irk_{tail}")

    assert len(tail) < 12 or tail not in f"{caught.value} {caught.value.hint}"


def test_no_repr_shows_a_key() -> None:
    """Neither the authenticator nor what it holds shows the text of a key."""
    auth = authenticator(Tenant(id="a", keys=(KEY,)))
    auth.tenant(f"Bearer {TEXT}")

    assert TEXT not in repr(auth) + repr(vars(auth))
