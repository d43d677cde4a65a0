"""The page that a mail's link leads to: it shows the incident, a button acknowledges it.

Opening the page changes nothing, because mail scanners open links. The link is the reader's
permission; nobody has to sign in.
"""

from __future__ import annotations

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from alerts import actions, links
from alerts.models import Incident
from alerts.policy import policy_for
from tenants import audit
from tenants.scoping import across_tenants, tenant_scope


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def from_link(request: HttpRequest, token: str) -> HttpResponse:
    """Show what the link acknowledges; by POST, acknowledge it."""
    said = links.read_token(token)
    incident = _incident(said[0]) if said else None
    if said is None or incident is None or not _is_told(incident, said[1]):
        return render(request, "alerts/acknowledge_void.html", status=410)
    reader = said[1]
    is_done = False
    if request.method == "POST":
        done = _acknowledge(request, incident, reader)
        if done is not None:
            incident, is_done = done, True
    context = {
        "incident": incident,
        "is_done": is_done,
        "is_open": incident.status in (Incident.Status.OPEN, Incident.Status.SNOOZED),
        "incident_url": links.incident_url(incident.tenant.slug, incident.pk),
    }
    return render(request, "alerts/acknowledge.html", context)


def _acknowledge(request: HttpRequest, incident: Incident, reader: str) -> Incident | None:
    with tenant_scope(incident.tenant), transaction.atomic():
        done = actions.acknowledge(incident.pk, by=reader, text="By the link in the mail.")
        if done is not None:
            audit.record(
                "incident.acknowledge",
                tenant=incident.tenant,
                request=request,
                actor=f"link to {reader}",
                subject=incident.title,
                incident=incident.pk,
            )
        return done


def _is_told(incident: Incident, reader: str) -> bool:
    """Whether the settings still name the link's reader: with the address its links end."""
    with tenant_scope(incident.tenant):
        return reader in policy_for(incident.workflow_id).emails


def _incident(incident_id: int) -> Incident | None:
    """The incident of a tenant that is in service."""
    with across_tenants():
        living = Incident.objects.filter(
            tenant__suspended_at=None, tenant__deletion_requested_at=None
        )
        found = living.select_related("tenant", "workflow__environment")
        return found.filter(pk=incident_id).first()
