"""Images that are in their URL."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.data_urls import inline


@given(st.binary(max_size=200))
def test_bytes_come_back(data: bytes) -> None:
    """What was put into a data URL is read out of it again."""
    found = inline("data:image/png;base64," + base64.b64encode(data).decode())
    assert found is not None
    assert (found.media_type, found.raw()) == ("image/png", data)


def test_other_forms() -> None:
    """Any other URL is none; parameters, case and percent-encoding are taken; the type has its standard default."""
    assert inline("https://example.com/a.png") is None
    assert inline("DATA:Image/PNG;charset=x;BASE64,aGk=") == ("image/png", "aGk=")
    assert inline("data:,h%69") == ("text/plain", "aGk=")


@pytest.mark.parametrize("url", ["data:image/png", "data:image/png;base64,a", "data:image/png;base64,####"])
def test_a_broken_one_is_refused(url: str) -> None:
    """Nobody is sent half an image."""
    with pytest.raises(ValueError, match="data URL"):
        inline(url)
