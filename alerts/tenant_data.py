"""A tenant's alerts in its export, and their end with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from alerts.models import (
    Attempt,
    Check,
    Incident,
    IncidentEvent,
    Notification,
    ScanNews,
    SeverityOverride,
    Target,
    WorkflowPreference,
)
from tenants import registry
from tenants.deletion import rows_of
from tenants.models import Tenant


def register() -> None:
    """Add incidents to every tenant's export, and let all of alerts go with the tenant."""
    registry.register_exporter("incidents", incident_records)
    registry.register_deleter(
        rows_of(
            Attempt,
            Notification,
            Target,
            IncidentEvent,
            Incident,
            Check,
            ScanNews,
            WorkflowPreference,
            SeverityOverride,
        )
    )


def incident_records(tenant: Tenant) -> Iterator[Mapping[str, object]]:
    """Every incident, oldest first."""
    found = Incident.objects.select_related("workflow").order_by("pk")
    for incident in found.iterator(chunk_size=500):
        workflow = incident.workflow
        yield {
            "id": incident.pk,
            "rule": incident.rule,
            "severity": incident.level.slug,
            "status": incident.status,
            "suppressed": incident.suppressed,
            "workflow_id": workflow.external_id if workflow else None,
            "environment_id": workflow.environment_id if workflow else None,
            "title": incident.title,
            "detail": incident.detail,
            "count": incident.count,
            "opened_at": incident.opened_at,
            "last_at": incident.last_at,
            "acknowledged_at": incident.acknowledged_at,
            "acknowledged_by": incident.acknowledged_by,
            "resolved_at": incident.resolved_at,
            "resolved_by": incident.resolved_by,
        }
