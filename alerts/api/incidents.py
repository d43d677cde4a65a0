"""Incidents: what is open, and saying that somebody takes care or that it is over."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Final

import msgspec
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpResponse

from alerts import actions
from alerts.models import Incident
from monitoring.api.answers import Page, Pagination, json_answer
from monitoring.api.endpoints import Answer, operation
from monitoring.api.parameters import CURSOR, LIMIT, OFFSET, Parameter
from scheduling.api.paging import number_of
from tenants import audit, problems
from tenants.api_access import Access, ApiRequest
from tenants.roles import Role

_WORDS: Final = [str(each) for each in Incident.Status]


def _statuses(text: str) -> frozenset[str]:
    said = frozenset(text.split(","))
    if not said <= set(_WORDS):
        raise ValueError(f"must be one of {', '.join(_WORDS)}")
    return said


STATUS: Parameter[frozenset[str]] = Parameter(
    "status",
    "Only these, separated by commas.",
    {"type": "string", "examples": ["open", "open,acknowledged"]},
    _statuses,
    frozenset(),
)


class IncidentAnswer(msgspec.Struct):
    """An incident."""

    id: int
    rule: str
    severity: Annotated[
        str, msgspec.Meta(extra_json_schema={"enum": ["critical", "warning", "info"]})
    ]
    status: Annotated[str, msgspec.Meta(extra_json_schema={"enum": _WORDS})]
    suppressed: Annotated[bool, msgspec.Meta(description="Nobody is told.")]
    suppressed_reason: str | None
    workflow_id: str | None
    environment_id: int | None
    title: str
    detail: str
    count: int
    first_at: Annotated[dt.datetime, msgspec.Meta(description="When what is counted began.")]
    opened_at: Annotated[dt.datetime, msgspec.Meta(description="When it became an incident.")]
    last_at: dt.datetime
    acknowledged_at: dt.datetime | None
    acknowledged_by: str | None
    resolved_at: dt.datetime | None
    resolved_by: str | None


_EXAMPLE: Final[dict[str, Any]] = {
    "id": 12,
    "rule": "failures",
    "severity": "warning",
    "status": "open",
    "suppressed": False,
    "suppressed_reason": None,
    "workflow_id": "orders-intake",
    "environment_id": 1,
    "title": "Orders intake failed 3 times in 24 hours",
    "detail": "Fetch orders: HTTP 500",
    "count": 3,
    "first_at": "2026-02-14T10:12:40Z",
    "opened_at": "2026-02-14T10:30:05Z",
    "last_at": "2026-02-14T10:30:04Z",
    "acknowledged_at": None,
    "acknowledged_by": None,
    "resolved_at": None,
    "resolved_by": None,
}
_PAGE: Final = {
    "data": [_EXAMPLE],
    "pagination": {"total": 1, "limit": 50, "offset": 0, "hasMore": False, "nextCursor": None},
}
_ONE: Final = (Answer(200, "The incident as it is now.", IncidentAnswer, _EXAMPLE),)


@operation(
    "GET",
    "/api/alerts/incidents",
    name="incidents",
    access=Access("read"),
    subject="Alerts",
    query=(STATUS, LIMIT, OFFSET, CURSOR),
    answers=(Answer(200, "A page, newest first.", Page[IncidentAnswer], _PAGE),),
    problems=(400,),
)
def list_incidents(request: ApiRequest) -> HttpResponse:
    """List incidents."""
    limit, offset = LIMIT.of(request), OFFSET.of(request)
    matching = _visible(request)
    if statuses := STATUS.of(request):
        matching = matching.filter(status__in=statuses)
    found = list(_after_cursor(request, matching)[offset : offset + limit + 1])
    rows, has_more = found[:limit], len(found) > limit
    pagination = Pagination(
        total=matching.count(),
        limit=limit,
        offset=offset,
        has_more=has_more,
        next_cursor=str(rows[-1].pk) if has_more else None,
    )
    return json_answer(Page([_answer(each) for each in rows], pagination))


def _after_cursor(request: ApiRequest, matching: QuerySet[Incident]) -> QuerySet[Incident]:
    cursor = CURSOR.of(request)
    newest_first = matching.order_by("-id")
    if not cursor:
        return newest_first
    return newest_first.filter(pk__lt=number_of(cursor))


@operation(
    "POST",
    "/api/alerts/incidents/{incident_id}/ack",
    name="incident-ack",
    access=Access("write", Role.OPERATOR),
    subject="Alerts",
    answers=_ONE,
    problems=(404, 409),
)
def acknowledge_incident(request: ApiRequest, incident_id: str) -> HttpResponse:
    """Say that somebody takes care of an incident: it is not repeated any more."""
    return _act(request, incident_id, "acknowledge")


@operation(
    "POST",
    "/api/alerts/incidents/{incident_id}/resolve",
    name="incident-resolve",
    access=Access("write", Role.OPERATOR),
    subject="Alerts",
    answers=_ONE,
    problems=(404, 409),
)
def resolve_incident(request: ApiRequest, incident_id: str) -> HttpResponse:
    """Close an incident; those who were told of it are told that it is over."""
    return _act(request, incident_id, "resolve")


def _act(request: ApiRequest, text: str, act: str) -> HttpResponse:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
    if number is None or not _visible(request).filter(pk=number).exists():
        raise problems.not_found()
    user = request.membership.user if request.membership else None
    with transaction.atomic():
        done = actions.ACTS[act](number, by=request.actor, user=user)
        if done is None:
            raise problems.conflict("It was acknowledged or resolved already.")
        audit.record(
            f"incident.{act}",
            tenant=request.tenant,
            request=request,
            subject=done.title,
            incident=done.pk,
        )
    return json_answer(_answer(done))


def _visible(request: ApiRequest) -> QuerySet[Incident]:
    """The tenant's incidents; a token of one environment sees those of its workflows."""
    found = Incident.objects.select_related("workflow")
    bound = request.token.environment_id if request.token else None
    return found.filter(workflow__environment_id=bound) if bound is not None else found.all()


def _answer(incident: Incident) -> IncidentAnswer:
    workflow = incident.workflow
    return IncidentAnswer(
        id=incident.pk,
        rule=incident.rule,
        severity=incident.level.slug,
        status=incident.status,
        suppressed=bool(incident.suppressed),
        suppressed_reason=incident.suppressed or None,
        workflow_id=workflow.external_id if workflow else None,
        environment_id=workflow.environment_id if workflow else None,
        title=incident.title,
        detail=incident.detail,
        count=incident.count,
        first_at=incident.since,
        opened_at=incident.opened_at,
        last_at=incident.last_at,
        acknowledged_at=incident.acknowledged_at,
        acknowledged_by=incident.acknowledged_by or None,
        resolved_at=incident.resolved_at,
        resolved_by=incident.resolved_by or None,
    )
