"""tenants.yaml: what a good one becomes, and the line that names each mistake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from router.domain import api_key
from router.domain.fleet import PrivacyLevel
from router.domain.request import Priority
from router.domain.tenant import ApiKey, Limits, TenantPolicy
from router.settings import Settings, load

Write = Callable[..., Path]
Problems = Callable[..., list[str]]
KEY_ID, TEXT = api_key.new_key()
SHA = "ab" * 32
GOOD = f"""\
tenants:
  team-a:
    name: Team A
    limits:
      {{requests_per_s: 50, tokens_per_s: 2e4, burst_s: 2 s, usd_per_day: 20 USD, usd_per_month: 300, max_in_flight: 8}}
    policy:
      models: [fast, llama-70b]
      classes: [interactive]
      default_class: interactive
      privacy: no_training
      regions: ["eu-*"]
      priority: normal
      max_cost_usd: 0.05
    keys: ["env:TEAM_A_KEY", "env:ABSENT"]
    key_hashes: {{laptop: "{SHA}"}}
  closed: {{disabled: true}}
"""


def test_a_tenant_has_what_its_file_says(write: Write) -> None:
    """Limits, policy, hashes and keys by reference; a key that is not there is a notice."""
    settings = load(write({"tenants.yaml": GOOD}), {"TEAM_A_KEY": TEXT})
    team, closed = settings.seed.tenants

    assert (team.id, team.name, team.disabled) == ("team-a", "Team A", False)
    assert team.limits == Limits(
        requests_per_s=50.0,
        tokens_per_s=20_000.0,
        burst_s=2.0,
        usd_per_day=20.0,
        usd_per_month=300.0,
        max_in_flight=8,
    )
    assert team.policy == TenantPolicy(
        models=("fast", "llama-70b"),
        classes=("interactive",),
        default_class="interactive",
        privacy=PrivacyLevel.NO_TRAINING,
        regions=("eu-*",),
        priority=Priority.NORMAL,
        max_cost_usd=0.05,
    )
    assert team.keys == (ApiKey(id="laptop", sha256=SHA), ApiKey(id=KEY_ID, sha256=api_key.digest(TEXT)))
    assert closed.disabled
    assert settings.notices == (
        "a key of tenant 'team-a' is left out: environment variable ABSENT is not set",
    )  # fmt: skip
    assert TEXT not in repr(settings)


def test_a_key_may_be_in_a_file(write: Write, tmp_path: Path) -> None:
    """file:PATH is read, and the line's end is no part of the key."""
    (tmp_path / "key").write_text(f"{TEXT}\n", encoding="ascii")
    text = f'tenants: {{a: {{keys: ["file:{tmp_path / "key"}"]}}}}\n'
    (team,) = load(write({"tenants.yaml": text}), {}).seed.tenants

    assert team.keys == (ApiKey(id=KEY_ID, sha256=api_key.digest(TEXT)),)


def test_there_need_not_be_such_a_file(write: Write, shipped: Settings) -> None:
    """Without tenants.yaml there are no tenants, as in the shipped one."""
    assert load(write(), {}).seed.tenants == ()
    assert shipped.seed.tenants == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tenants: {A b: {}}", "tenants.A b: 1 to 63 lower case letters, digits, '-', '_' and '.', a letter or digit"),
        ("tenants: {a: {limits: {rps: 1}}}", "tenants.a.limits.rps: unknown key (did you mean 'requests_per_s'?)"),
        ("tenants: {a: {limits: {requests_per_s: 0}}}", "tenants.a.limits.requests_per_s: must be greater than 0"),
        ("tenants: {a: {limits: {burst_s: 0.1}}}", "tenants.a.limits.burst_s: must be 0.5 to 3600 seconds, got 0.1"),
        ("tenants: {a: {limits: {usd_per_day: 5 EUR}}}", "tenants.a.limits.usd_per_day: "),
        ("tenants: {a: {policy: {models: [lama-8b]}}}", "tenants.a.policy.models[0]: unknown model 'lama-8b' (did you"),
        ("tenants: {a: {policy: {classes: [nope]}}}", "tenants.a.policy.classes[0]: unknown class 'nope'"),
        ("tenants: {a: {policy: {default_class: nope}}}", "tenants.a.policy.default_class: unknown class 'nope'"),
        ("tenants: {a: {policy: {privacy: secret}}}", "tenants.a.policy.privacy: unknown value 'secret'"),
        ("tenants: {a: {policy: {regions: ['*eu']}}}", "tenants.a.policy.regions[0]: must be a region's name"),
        ("tenants: {a: {key_hashes: {k: abc}}}", "tenants.a.key_hashes.k: must be the SHA-256 of the key"),
        ("tenants: {a: {keys: ['env:OTHER']}}", "tenants.a.keys[0]: OTHER holds no key of this router"),
        ("tenants: {a: {keys: [hunter2]}}", "tenants.a.keys[0]: must be a reference, 'env:NAME' or 'file:PATH'"),
        (f"tenants: {{a: {{keys: ['{TEXT}']}}}}", "tenants.a.keys[0]: must be a reference"),
        (f"tenants: {{a: {{keys: ['file:{TEXT}']}}}}", "tenants.a.keys[0]: must be a reference"),
        (
            f"tenants: {{a: {{key_hashes: {{k: '{SHA}'}}}}, b: {{key_hashes: {{k: '{SHA}'}}}}}}",
            "tenants.b: key 'k' is also a key of tenant 'a'",
        ),
    ],
)
def test_a_mistake_is_named(text: str, expected: str, problems: Problems) -> None:
    """Each kind of mistake has a line with its key; what may be a secret is not repeated."""
    (line,) = problems({"tenants.yaml": text + "\n"}, {"OTHER": "sk-something"})

    assert line.startswith(f"tenants.yaml: {expected}")
    assert TEXT not in line
    assert "hunter2" not in line
    assert "sk-something" not in line
