"""Which addresses may be asked with our token."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import ProtocolViolation
from backends.replicate.dialects import VENDOR_HOSTS
from backends.replicate.links import AllowedHosts

VENDOR = AllowedHosts(httpx.URL("https://api.replicate.com"), VENDOR_HOSTS)
LOCAL = AllowedHosts(httpx.URL("http://127.0.0.1:8000"), VENDOR_HOSTS)


@pytest.mark.parametrize(
    "address",
    [
        "https://api.replicate.com/v1/predictions/x",
        "https://API.Replicate.com/v1/predictions/x",
        "https://stream.replicate.com/v1/files/x?token=y",
        "https://streaming-api.svc.us.c.replicate.net/v1/streams/x",
        "https://stream.replicate.com:443/x",
    ],
)
def test_hosts_of_the_vendor_are_allowed_over_https(address: str) -> None:
    """The recorded one among them."""
    assert str(VENDOR.checked(address, "stream")).lower() == str(httpx.URL(address)).lower()


@pytest.mark.parametrize(
    "address",
    [
        "http://api.replicate.com/x",
        "https://api.replicate.com:444/x",
        "https://replicate.com.evil.example/x",
        "https://evilreplicate.com/x",
        "https://replicate.com@evil.example/x",
        "https://api.replicate.com\\@evil.example/x",
        "https://evil.example/#.replicate.com",
        "https://evil.example?.replicate.com",
        "https://127.0.0.1/x",
        "https://[::1]/x",
        "https://169.254.169.254/latest",
        "https://api.replicate.com./x",
        "file:///etc/passwd",
        "ftp://api.replicate.com/x",
        "//api.replicate.com/x",
        "",
        "https://",
        "https:///x",
        "https://api.replicate.com\r\nx: y/",
    ],
)
def test_everything_else_is_refused(address: str) -> None:
    """What looks like the vendor is not the vendor."""
    with pytest.raises(ProtocolViolation):
        VENDOR.checked(address, "stream")


@pytest.mark.parametrize("address", ["http://127.0.0.1:9999/x", "https://127.0.0.1:9999/x"])
def test_a_local_service_may_have_its_streams_on_another_port(address: str) -> None:
    """As emulated ones do."""
    assert LOCAL.checked(address, "stream").port == 9999


@pytest.mark.parametrize("address", ["http://localhost:9999/x", "http://stream.replicate.com/x", "http://10.0.0.1/x"])
def test_a_local_service_may_not_send_us_elsewhere(address: str) -> None:
    """Nor the token over plain http to any other machine."""
    with pytest.raises(ProtocolViolation):
        LOCAL.checked(address, "stream")


def test_a_service_on_plain_http_elsewhere_opens_nothing() -> None:
    """Only this machine is trusted with it."""
    remote = AllowedHosts(httpx.URL("http://replicate.internal:8000"), ())
    with pytest.raises(ProtocolViolation):
        remote.checked("http://replicate.internal:8000/x", "stream")
    assert remote.checked("https://replicate.internal:8000/x", "stream").scheme == "https"


def test_an_own_list_takes_the_place_of_the_vendors() -> None:
    """With ports, where they are not the usual one."""
    own = AllowedHosts(httpx.URL("https://gateway.corp"), ["*.stream.corp", "other.corp:8443"])
    for address in ("https://gateway.corp/x", "https://a.b.stream.corp/x", "https://other.corp:8443/x"):
        assert str(own.checked(address, "stream")) == address
    for address in ("https://stream.corp/x", "https://other.corp/x", "https://stream.replicate.com/x"):
        with pytest.raises(ProtocolViolation):
            own.checked(address, "stream")


@given(
    st.text(max_size=60) | st.builds("https://{}.replicate.com{}".format, st.text(max_size=10), st.text(max_size=10))
)
def test_whatever_passes_is_of_the_vendor(address: str) -> None:
    """No address fails in another way than by being refused."""
    try:
        url = VENDOR.checked(address, "stream")
    except ProtocolViolation:
        return
    assert url.scheme == "https"
    assert url.host.endswith((".replicate.com", ".replicate.net", ".replicate.delivery"))
    assert not url.userinfo
