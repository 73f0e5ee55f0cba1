"""What simulating needs and serving does not: scipy and matplotlib, the extra `simulate`."""

from __future__ import annotations

import importlib
from typing import Any


class Missing(ImportError):
    """A package of the extra is not installed."""


def need(module: str) -> Any:
    """The module.

    Raises:
        Missing: says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise Missing(f"{package} is not installed ({error}); run: pip install 'inference-router[simulate]'") from None
