"""What of a configuration is right by its form and has no effect: the words of its notices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from router.domain.catalogue import Catalogue
from router.domain.policies import Policies
from router.domain.pricing import Price
from router.settings.strict import nearest

ANY_TASK = "*"


def without_effect(policies: Policies, catalogue: Catalogue, prices: Iterable[Price]) -> Iterator[str]:
    """Floors for tasks that no model has a figure for, and service tiers that nothing has a price for.

    Both are words that requests may choose, so that an unknown one is no error; a slip of the pen is one, mostly.
    """
    tasks = {task for model in catalogue.models.values() for task, _ in model.quality}
    tiers = {tier.service for price in prices for tier in price.tiers} - {""}
    for name, workload in sorted(policies.classes.items()):
        for task, _ in workload.minimum_quality:
            if task != ANY_TASK and task not in tasks:
                told = f"no model of models.yaml has a figure for this task{nearest(task, tasks)}"
                yield f"policies.yaml: classes.{name}.minimum_quality.{task}: {told}; what it has for '*' counts"
        if workload.service_tier and workload.service_tier not in tiers:
            told = f"no price has a row for '{workload.service_tier}'{nearest(workload.service_tier, tiers)}"
            yield f"policies.yaml: classes.{name}.service_tier: {told}; the standard price counts"
