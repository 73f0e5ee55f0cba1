"""Whose a signature is."""

from __future__ import annotations

import pytest

from backends.signatures import marked, own


@pytest.mark.parametrize("unmarked", [True, False])
def test_a_signature_goes_back_to_its_vendor_only(*, unmarked: bool) -> None:
    """Another vendor's is none; one without a mark is what the vendor says of it."""
    signature = marked("gemini", "c2ln")
    assert own("gemini", signature, unmarked=unmarked) == "c2ln"
    assert own("anthropic", signature, unmarked=unmarked) is None
    assert own("gemini", "c2ln", unmarked=unmarked) == ("c2ln" if unmarked else None)
    assert own("gemini", None, unmarked=unmarked) is None
