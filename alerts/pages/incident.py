"""One incident: what it is, what happened to it, and every decision to tell somebody."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from alerts.incidents import next_telling_at
from alerts.models import Incident, IncidentEvent
from alerts.models.incident import FINDINGS
from alerts.pages.labels import delivery_of, row_of
from alerts.policy import policy_for
from alerts.rules.base import rule_named
from monitoring.models import Workflow
from scheduling.analysis import latest_look
from tenants.access import TenantRequest, tenant_member
from tenants.models import Role

MOST_SHOWN: Final = 200
_ICONS: Final = {
    IncidentEvent.Kind.OPENED: ("failed", "bad"),
    IncidentEvent.Kind.REOPENED: ("failed", "bad"),
    IncidentEvent.Kind.WORSE: ("critical", "bad"),
    IncidentEvent.Kind.SUPPRESSED: ("skipped", "muted"),
    IncidentEvent.Kind.TOLD: ("bell", "accent"),
    IncidentEvent.Kind.ACKNOWLEDGED: ("check", "warn"),
    IncidentEvent.Kind.RESOLVED: ("success", "good"),
}


@tenant_member(Role.VIEWER)
@require_safe
def incident_page(request: TenantRequest, slug: str, incident_id: int) -> HttpResponse:
    """Show an incident, its timeline and its messages."""
    found = Incident.objects.select_related("workflow__environment").filter(pk=incident_id)
    incident = found.first()
    if incident is None:
        raise Http404
    policy = policy_for(incident.workflow_id)
    rule = rule_named(incident.rule)
    context: dict[str, Any] = {
        "incident": incident,
        "row": row_of(incident, slug),
        "timeline": [
            (*_ICONS[IncidentEvent.Kind(event.kind)], event)
            for event in incident.events.order_by("-at", "-id")[:MOST_SHOWN]
        ],
        "deliveries": _deliveries(incident, slug) if _may_see_deliveries(request) else [],
        "next_telling_at": next_telling_at(incident, policy),
        "over_when": rule.over_when(policy) if rule and not incident.is_resolved else "",
        "silence": "" if incident.is_resolved else policy.silence(incident.level),
        "back": request.get_full_path(),
    }
    if incident.workflow_id is not None:
        context |= _workflow_urls(incident, slug)
    if incident.workflow is not None and incident.rule == FINDINGS:
        context |= _finding_urls(incident.workflow, slug)
    return render(request, "alerts/incident.html", context)


def _may_see_deliveries(request: TenantRequest) -> bool:
    """Messages name addresses and what receivers said: who may read the delivery log sees them."""
    return Role(request.membership.role).at_least(Role.OPERATOR)


def _deliveries(incident: Incident, slug: str) -> list[Any]:
    notifications = incident.notifications.select_related("target").prefetch_related("attempts")
    return [delivery_of(each, slug) for each in notifications.order_by("-id")[:MOST_SHOWN]]


def _finding_urls(workflow: Workflow, slug: str) -> dict[str, str]:
    """Where the findings of its newest look are: the workflow's health, and the scan."""
    health = f"{reverse('monitoring:workflow', args=[slug, workflow.pk])}?tab=health"
    look = latest_look(workflow)
    scan = reverse("scheduling:scan", args=[slug, look.scan_id]) if look else ""
    narrowed = f"{scan}?by=findings&workflow={workflow.pk}" if scan else ""
    return {"health_url": health, "scan_url": narrowed}


def _workflow_urls(incident: Incident, slug: str) -> dict[str, str]:
    """Where its workflow and the failures that it counts are."""
    start = (incident.counted_from or incident.opened_at).astimezone(dt.UTC)
    end = incident.resolved_at or incident.last_at
    span = (
        f"start={start:%Y-%m-%dT%H:%M}Z"
        f"&end={end.astimezone(dt.UTC) + dt.timedelta(minutes=1):%Y-%m-%dT%H:%M}Z"
    )
    workflow = f"workflow={incident.workflow_id}"
    return {
        "workflow_url": reverse("monitoring:workflow", args=[slug, incident.workflow_id]),
        "failures_url": f"{reverse('monitoring:executions', args=[slug])}"
        f"?{workflow}&status=failed&status=partial&{span}",
    }
