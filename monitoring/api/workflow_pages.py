"""Pages of workflows by name; a cursor holds the last one's name and id: deep pages cost alike."""

from __future__ import annotations

import base64
import binascii
import datetime as dt

import msgspec
from django.db.models import OuterRef, Q, Subquery

from monitoring.api.answers import Pagination
from monitoring.api.finding import broken_cursor, environment_of, workflow_filter
from monitoring.api.parameters import CURSOR, LIMIT, OFFSET, SEARCH, WORKFLOW_ID_SNAKE
from monitoring.models import Execution, Workflow
from monitoring.models.workflow import WorkflowQuerySet
from monitoring.words import Status
from tenants.api_access import ApiRequest


def page_of_workflows(request: ApiRequest) -> tuple[list[Workflow], Pagination]:
    """The page that a call asks for, with environments. Raises 400, 404 or 409."""
    limit, offset, cursor = LIMIT.of(request), OFFSET.of(request), CURSOR.of(request)
    workflows = _asked_for(request)
    beyond = workflows.filter(_after(cursor)) if cursor else workflows
    found = list(beyond.order_by("name", "id")[offset : offset + limit + 1])
    rows = found[:limit]
    return rows, Pagination(
        total=workflows.count(),
        limit=limit,
        offset=offset,
        has_more=len(found) > limit,
        next_cursor=_cursor_after(rows[-1]) if len(found) > limit else None,
    )


def last_failures(
    workflows: list[Workflow], start: dt.datetime, end: dt.datetime
) -> dict[int, Execution]:
    """Workflow id → its newest failed execution in [start, end), without payload."""
    newest = (
        Execution.objects.filter(workflow_id=OuterRef("pk"), status=Status.FAILED)
        .started_between(start, end)
        .newest_first()
    )
    ids = Workflow.objects.filter(pk__in=[each.pk for each in workflows]).values_list(
        Subquery(newest.values("id")[:1]), flat=True
    )
    found = Execution.objects.without_payload().filter(id__in=[each for each in ids if each])
    return {execution.workflow_id: execution for execution in found}


def _asked_for(request: ApiRequest) -> WorkflowQuerySet:
    workflows = Workflow.objects.select_related("environment")
    environment_id, search = environment_of(request), SEARCH.of(request)
    ids = workflow_filter(request, WORKFLOW_ID_SNAKE)
    if ids:
        workflows = workflows.filter(pk__in=ids)
    if environment_id is not None:
        workflows = workflows.filter(environment_id=environment_id)
    return workflows.named_like(search) if search else workflows


def _cursor_after(workflow: Workflow) -> str:
    place = msgspec.json.encode((workflow.name, workflow.pk))
    return base64.urlsafe_b64encode(place).decode().rstrip("=")


def _after(cursor: str) -> Q:
    try:
        place = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        name, workflow_id = msgspec.json.decode(place, type=tuple[str, int])
    except (binascii.Error, ValueError):
        raise broken_cursor() from None
    if "\0" in name or not 0 <= workflow_id < 2**63:
        raise broken_cursor()
    return Q(name__gt=name) | Q(name=name, id__gt=workflow_id)
