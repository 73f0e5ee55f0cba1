"""The dialects of containers: those of the OpenAI chat wire, without what the service keeps from us.

It passes no headers and no paths on to the container, and its own errors come before the container's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from backends.aws.failures import FAILURES
from backends.dialect import KeyHeader
from backends.failures.rules import FailureRules
from backends.openai.profile import Profile
from backends.openai.profiles import PROFILES
from backends.probing.plan import ProbePlan
from backends.wire import GENERIC

_USUAL = "vllm"


def _in_container(profile: Profile) -> Profile:
    return replace(
        profile,
        key=KeyHeader(),
        failures=FailureRules(codes={**profile.failures.codes, **FAILURES.codes}, statuses=profile.failures.statuses),
        # The runtime has nothing that may be asked without a bill.
        probe=ProbePlan(models=None, models_every_s=10.0),
        limits=(),
        orca=False,
    )


_NAMES = (_USUAL, *sorted(PROFILES.keys() - {_USUAL, GENERIC}))

# The first stands for `generic`.
DIALECTS: Mapping[str, Profile] = MappingProxyType({name: _in_container(PROFILES[name]) for name in _NAMES})
