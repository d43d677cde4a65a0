"""Actions of a workflow that fail again and again (requirement 000, section 2)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection

from monitoring.ids import time_of, uuid_floor
from monitoring.metrics.nodes import node_totals
from monitoring.metrics.timerange import TimeRange
from monitoring.models import Execution, Workflow
from monitoring.words import ErrorClass, Status
from tenants.scoping import current_tenant

REPEATEDLY: Final = 2
"""So many failures in the range make an action one that fails repeatedly."""

MOST_TIMES: Final = 20
_NEWEST_FAILURES: Final = 500
_FACTS: Final = 100
_NEWEST: Final = """
    SELECT wanted.id, e.error_node_id, e.error_class
    FROM unnest(%s::bigint[]) AS wanted (id)
    CROSS JOIN LATERAL (
        SELECT error_node_id, error_class FROM monitoring_execution
        WHERE tenant_id = %s AND workflow_id = wanted.id AND status = %s AND id >= %s
        ORDER BY id DESC LIMIT %s
    ) e
    WHERE e.error_node_id IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class FailingAction:
    """A node that failed repeatedly in a range.

    `failures` and `runs` are exact, from the rollups of nodes; `failure_rate` is a fraction of its
    finished runs. `times` are the newest executions that failed at it, the newest first, at most
    MOST_TIMES, as far as they are among the workflow's newest 500 failures.
    """

    node_id: str
    name: str
    failures: int
    runs: int
    failure_rate: float | None
    times: Sequence[dt.datetime]
    last_error: str | None
    last_error_class: ErrorClass | None


def failing_actions(workflow: Workflow, range_: TimeRange) -> list[FailingAction]:
    """The actions of a workflow that failed at least twice in a range, the most frequent first."""
    nodes = [node for node in node_totals(workflow, range_).nodes if node.failed >= REPEATEDLY]
    if not nodes:
        return []
    failures = _failures_by_node(workflow, range_)
    found = []
    for node in sorted(nodes, key=lambda node: (-node.failed, node.node_id)):
        executions = failures.get(node.node_id, [])
        last = executions[0] if executions else None
        found.append(
            FailingAction(
                node_id=node.node_id,
                name=node.name,
                failures=node.failed,
                runs=node.total,
                failure_rate=node.failure_rate,
                times=[time_of(one.id) for one in executions[:MOST_TIMES]],
                last_error=last.error_message if last else None,
                last_error_class=_class_of(last),
            )
        )
    return found


def newest_failures(
    workflow_ids: Collection[int], start: dt.datetime
) -> dict[int, list[tuple[str, ErrorClass | None]]]:
    """Workflow id → (failing node, class) of its newest 100 failures since `start`; one statement."""
    with connection.cursor() as cursor:
        params: list[Any] = [
            list(workflow_ids), current_tenant().pk, int(Status.FAILED), uuid_floor(start), _FACTS
        ]  # fmt: skip
        cursor.execute(_NEWEST, params)
        found: dict[int, list[tuple[str, ErrorClass | None]]] = {}
        for workflow_id, node_id, number in cursor.fetchall():
            error_class = None if number is None else ErrorClass(number)
            found.setdefault(workflow_id, []).append((node_id, error_class))
    return found


def _failures_by_node(workflow: Workflow, range_: TimeRange) -> dict[str, list[Execution]]:
    newest = (
        Execution.objects.filter(workflow_id=workflow.pk, status=Status.FAILED)
        .started_between(range_.start, range_.end)
        .newest_first()
        .only("id", "error_node_id", "error_message", "error_class")[:_NEWEST_FAILURES]
    )
    found: dict[str, list[Execution]] = {}
    for execution in newest:
        if execution.error_node_id is not None:
            found.setdefault(execution.error_node_id, []).append(execution)
    return found


def _class_of(execution: Execution | None) -> ErrorClass | None:
    if execution is None or execution.error_class is None:
        return None
    return ErrorClass(execution.error_class)
