"""What callers say of answers: grades that move the belief in a model's quality on a task."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from router.domain.quality import Quality


class Grades:
    """The requests that may still be graded, each once; the oldest are forgotten first.

    `quality` gives the belief about a model.
    """

    def __init__(self, quality: Callable[[str], Quality], *, capacity: int = 10_000) -> None:
        self._quality = quality
        self._open: OrderedDict[tuple[str, str], tuple[str, str]] = OrderedDict()
        self.capacity = capacity

    def answered(self, request_id: str, tenant: str, model: str, task: str) -> None:
        """Remembers which model answered a request. Ids are the callers' own words, so they count per tenant."""
        self._open[tenant, request_id] = (model, task)
        if len(self._open) > self.capacity:
            self._open.popitem(last=False)

    def grade(self, request_id: str, tenant: str, grade: float) -> bool:
        """Takes a grade from 0 to 1; False when there is no such answer, or it has been graded."""
        found = self._open.pop((tenant, request_id), None)
        if found is None:
            return False
        model, task = found
        self._quality(model).observe(task, grade)
        return True
