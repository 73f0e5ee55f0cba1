"""The dialects of the OpenAI chat wire by name.

Every server that calls itself OpenAI-compatible differs in which parameters it takes, how it counts reasoning, what its
503 means and where it may be probed. Those differences are data, in `local`, `engines` and `hosted`, and nowhere else:
a new dialect is one entry there.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from backends.openai.engines import ENGINES
from backends.openai.hosted import HOSTED
from backends.openai.local import LOCAL
from backends.openai.profile import Profile

PROFILES: Mapping[str, Profile] = MappingProxyType({profile.name: profile for profile in (*LOCAL, *ENGINES, *HOSTED)})
