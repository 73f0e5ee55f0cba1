"""The region that a request is signed for: what the operator says, or what the address says, or the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping

import httpx

from backends.spec import BackendSpec
from backends.wire import Option

_PATTERN = r"[a-z]{2,3}(?:-[a-z]+)+-\d{1,2}"
OPTION = Option(help="an AWS region; read from the address, or AWS_REGION, if unset", pattern=_PATTERN)
_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")


def region_of(spec: BackendSpec, env: Mapping[str, str]) -> str:
    """The region of one backend.

    Raises:
        ValueError: nobody names one.
    """
    if "region" in spec.options:
        return spec.options["region"]
    labels = httpx.URL(spec.base_url).host.split(".")
    named = next((label for label in labels if re.fullmatch(_PATTERN, label)), None)
    named = named or next((env[name] for name in _VARIABLES if env.get(name)), None)
    if named is None:
        raise ValueError(f"{spec.id}: options.region: required, since the address names no region")
    return named
