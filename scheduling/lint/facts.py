"""What history says about a workflow, for rules that judge by it."""

from __future__ import annotations

import datetime as dt
from typing import Final

from django.db.models import Count, Q

from monitoring.ids import uuid_floor
from monitoring.models import Execution, Workflow
from monitoring.words import RATED, ErrorClass, Status
from scheduling.lint.base import Facts, NodeFailures

RECENT: Final = 20
WINDOW: Final = dt.timedelta(days=7)
_MOST_FAILURES: Final = 500
_PASSING: Final = (
    ErrorClass.RATE_LIMIT,
    ErrorClass.TIMEOUT,
    ErrorClass.CONNECTION,
    ErrorClass.RESOURCE,
)


def facts_of(workflow: Workflow, *, now: dt.datetime) -> Facts:
    """The facts of a workflow, from its newest executions: two statements over an index."""
    newest = Execution.objects.filter(workflow_id=workflow.pk, status__in=RATED)
    recent = list(newest.newest_first().values_list("status", flat=True)[:RECENT])
    return Facts(
        recent=tuple(Status(status) for status in recent),
        failures_by_node=_failures_by_node(workflow, now) if Status.FAILED in recent else {},
        # Nothing reads executions from a provider yet, so those that are here were sent.
        is_pushed=bool(recent),
    )


def _failures_by_node(workflow: Workflow, now: dt.datetime) -> dict[str, NodeFailures]:
    failed = (
        Execution.objects.filter(workflow_id=workflow.pk, status=Status.FAILED)
        .filter(id__gte=uuid_floor(now - WINDOW))
        .newest_first()
    )
    newest = Execution.objects.filter(pk__in=failed.values("pk")[:_MOST_FAILURES])
    rows = (
        newest.exclude(error_node_id=None)
        .values("error_node_id")
        .annotate(failed=Count("pk"), passing=Count("pk", filter=Q(error_class__in=_PASSING)))
        .order_by()
    )
    return {str(row["error_node_id"]): NodeFailures(row["failed"], row["passing"]) for row in rows}
