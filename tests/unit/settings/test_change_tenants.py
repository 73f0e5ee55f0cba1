"""tenants.yaml against a running fleet: limits and policies follow the file, keys stay where they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.domain.catalogue import Catalogue
from router.domain.hardware import Model
from router.domain.snapshot import FleetSnapshot
from router.domain.tenant import ApiKey, Limits, Tenant, TenantPolicy
from router.settings.change import ChangeRules, Proposal, propose
from router.settings.config_files import ConfigText
from router.settings.differences import headline
from router.settings.strict import ConfigError

RULES = ChangeRules(catalogue=Catalogue(hardware={}, models={"m": Model(id="m")}, aliases={}, classes={}), env={})
HASHES = [f"{n}" * 64 for n in range(4)]
ACME = Tenant(
    id="acme",
    keys=(ApiKey(id="k0", sha256=HASHES[0], revoked=True), ApiKey(id="k1", sha256=HASHES[1], created_at=5.0)),
    limits=Limits(requests_per_s=10.0),
    policy=TenantPolicy(classes=("fast",)),
    disabled=True,
)
RUNNING = FleetSnapshot(
    tenants={"acme": ACME, "other": Tenant(id="other", keys=(ApiKey(id="k2", sha256=HASHES[2]),))},
    policies_yaml="default_class: fast\nclasses: {fast: {}, slow: {}}\n",
    policies_version=1,
)


def plan(*texts: str, prune: bool = False) -> Proposal:
    return propose([ConfigText(f"f{n}", text) for n, text in enumerate(texts)], RUNNING, RULES, prune=prune, now=1.8e9)


def tenants(acme: str) -> str:
    return f"tenants:\n  acme: {acme}\n"


def test_limits_follow_the_file_and_keys_stay() -> None:
    """Every limit and policy is the file's; keys, and whether the tenant is disabled, are what they were."""
    made = plan(tenants("{limits: {requests_per_s: 20}, policy: {classes: [fast]}}"))

    assert [headline(found) for found in made.differences] == ["~ tenant acme: limits.requests_per_s 10 -> 20 (x2.00)"]
    assert made.snapshot.tenants["acme"].keys == ACME.keys
    assert made.snapshot.tenants["acme"].disabled
    assert any("tenant that f0 does not name" in note for note in made.notes)
    assert any("not part of the effect" in note for note in made.notes)


def test_a_file_adds_keys_and_brings_none_back() -> None:
    """A key that is new is added; one that was revoked stays revoked though the file names it."""
    hashes = ", ".join(f"k{n}: '{HASHES[n]}'" for n in (0, 3))
    made = plan(tenants(f"{{disabled: false, policy: {{classes: [fast]}}, key_hashes: {{{hashes}}}}}"))

    kept = {key.id: key for key in made.snapshot.tenants["acme"].keys}
    assert kept == {key.id: key for key in ACME.keys} | {"k3": ApiKey(id="k3", sha256=HASHES[3])}
    assert not made.snapshot.tenants["acme"].disabled


def test_prune_removes_tenants_that_the_file_does_not_name() -> None:
    """With prune the file is the whole list; an applied plan has nothing left to do."""
    text = tenants("{limits: {requests_per_s: 10}, policy: {classes: [fast]}}")
    made = plan(text, prune=True)

    assert [headline(found) for found in made.differences] == ["- tenant other"]
    again = propose([ConfigText("f", text)], made.snapshot, RULES, prune=True, now=1.8e9)
    assert again.writes == ()


def test_a_class_that_the_policies_lack_is_refused_on_either_side() -> None:
    """A tenant's class has to exist in the policies that will hold, whichever of the two files takes it away."""
    without_fast = "default_class: slow\nclasses: {slow: {}}\n"
    calls = [
        (tenants("{policy: {classes: [fats]}}"),),
        (without_fast,),
        (without_fast, tenants("{policy: {classes: [fast]}}")),
    ]
    said = []
    for texts in calls:
        with pytest.raises(ConfigError) as caught:
            plan(*texts)
        said.append(str(caught.value))

    assert said == [
        "f0: tenants.acme.policy.classes[0]: unknown class 'fats' (did you mean 'fast'?)",
        "f0: classes: tenant 'acme' is given class 'fast', which there would not be",
        "f1: tenants.acme.policy.classes[0]: unknown class 'fast'",
    ]
    plan(without_fast, tenants("{policy: {classes: [slow]}}"))


def test_a_key_belongs_to_one_tenant() -> None:
    """A key of the file that another tenant of the fleet has already is refused; its hash is not shown."""
    with pytest.raises(ConfigError) as caught:
        plan(tenants(f"{{key_hashes: {{mine: '{HASHES[2]}'}}}}"))

    assert "key 'k2' of tenant 'other' is also a key of tenant 'acme'" in str(caught.value)
    assert HASHES[2] not in str(caught.value)


def test_a_replaced_key_is_a_difference_without_its_hash() -> None:
    """Another text behind the same key id is told, and neither hash is."""
    policy = "limits: {requests_per_s: 10}, policy: {classes: [fast]}"
    made = plan(tenants(f"{{{policy}, key_hashes: {{k1: '{HASHES[3]}'}}}}"))

    assert [headline(found) for found in made.differences] == ["~ tenant acme: hash of a key one -> another"]
    assert replace(ACME, keys=(ACME.keys[0], ApiKey(id="k1", sha256=HASHES[3]))) == made.snapshot.tenants["acme"]
