"""What history says about workflows, for rules that judge by it: three statements for many."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final

from monitoring.metrics.failing_actions import newest_failures
from monitoring.recent import last_rated
from monitoring.words import ErrorClass, Status
from scheduling.lint.base import Facts, NodeFailures

RECENT: Final = 20
WINDOW: Final = dt.timedelta(days=7)
_PASSING: Final = frozenset(
    {ErrorClass.RATE_LIMIT, ErrorClass.TIMEOUT, ErrorClass.CONNECTION, ErrorClass.RESOURCE}
)


def facts_of(workflow_ids: Collection[int], *, now: dt.datetime) -> dict[int, Facts]:
    """Workflow id → its facts, from its newest executions by index look-ups."""
    recent = last_rated(workflow_ids, now, RECENT)
    statuses = {key: tuple(each.status for each in rows) for key, rows in recent.items()}
    failing = [key for key, found in statuses.items() if Status.FAILED in found]
    failures = newest_failures(failing, now - WINDOW)
    return {
        key: Facts(
            recent=statuses.get(key, ()),
            failures_by_node=_by_node(failures.get(key, ())),
            # Nothing reads executions from a provider yet, so those that are here were sent.
            is_pushed=bool(statuses.get(key)),
        )
        for key in workflow_ids
    }


def _by_node(failures: Sequence[tuple[str, ErrorClass | None]]) -> dict[str, NodeFailures]:
    failed = Counter(node_id for node_id, _ in failures)
    passing = Counter(node_id for node_id, error_class in failures if error_class in _PASSING)
    return {node_id: NodeFailures(failed[node_id], passing[node_id]) for node_id in failed}
