"""What stands beside one execution: neighbours, attempts, children, the last success."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from django.db.models import Q

from monitoring.history.finding import ids_of_sender
from monitoring.history.plan import plan_of
from monitoring.history.query import ExecutionQuery
from monitoring.history.reading import attach_names, edge_of, find, light
from monitoring.models import Execution
from monitoring.prepared import prepared
from monitoring.words import Status


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The executions beside one within a filter."""

    newer: uuid.UUID | None
    older: uuid.UUID | None


def last_success_before(execution: Execution, within: int = 2_000) -> Execution | None:
    """The newest success of the same workflow before this one, among its last `within` runs."""
    earlier = Execution.objects.filter(workflow_id=execution.workflow_id, id__lt=execution.id)
    with prepared():  # successes have no index of their own that a plan could miss
        edge = edge_of([earlier], False, within)
        if edge is not None:
            earlier = earlier.filter(id__gte=edge)
        return light(earlier.with_status([Status.SUCCESS]), "light").order_by("-id").first()


def attempts_of(execution: Execution, at_most: int = 50) -> list[Execution]:
    """All attempts that belong together by `retry_of`, this one included, the first one first."""
    names = {name for name in (execution.retry_of, execution.external_id) if name is not None}
    if not names:
        return [execution]
    of_workflow = Execution.objects.filter(workflow_id=execution.workflow_id)
    retries = light(of_workflow.filter(retry_of__in=names), "light").order_by("id")[:at_most]
    with prepared():
        found = {one.id: one for one in retries}
    if execution.retry_of is not None:
        first = ids_of_sender(execution.retry_of, [execution.workflow_id], execution.environment_id)
        found |= {one.id: one for one in light(of_workflow.filter(id__in=first), "light")}
    found[execution.id] = execution
    return sorted(found.values(), key=lambda one: one.id)


def children_of(execution: Execution, at_most: int = 20) -> list[Execution]:
    """Executions that this one started, the oldest first.

    They name it by our id, or by the sender's, which means another execution in other environments.
    """
    ours = str(execution.id)
    names = [ours, *([execution.external_id] if execution.external_id else [])]
    children = Execution.objects.filter(
        Q(parent_execution_id=ours) | Q(environment_id=execution.environment_id),
        parent_execution_id__in=names,
    ).exclude(id=execution.id)
    with prepared():
        found = list(light(children, "light").order_by("id")[:at_most])
    attach_names(found)
    return found


def neighbours(execution_id: uuid.UUID, query: ExecutionQuery) -> Neighbours:
    """The next newer and older executions that match; None also where a bounded search saw none."""
    plan = plan_of(query)
    newer, older = (
        find(plan, execution_id, ascending, need=1, columns="ids").rows
        for ascending in (True, False)
    )
    return Neighbours(newer[0].id if newer else None, older[0].id if older else None)
