"""A tenant's alerts in its export, and their end with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from alerts.models import (
    AlertSettings,
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
from tenants.export import columns_of
from tenants.models import Tenant


def register() -> None:
    """Add alerts to every tenant's export, and let all of them go with the tenant."""
    registry.register_exporter("incidents", incident_records)
    for name, exporter in _COLUMNS.items():
        registry.register_exporter(name, exporter)
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
            "first_at": incident.first_at,
            "opened_at": incident.opened_at,
            "last_at": incident.last_at,
            "acknowledged_at": incident.acknowledged_at,
            "acknowledged_by": incident.acknowledged_by,
            "resolved_at": incident.resolved_at,
            "resolved_by": incident.resolved_by,
        }


# The webhook's secrets stay here: who has the export could sign as this installation.
_COLUMNS = {
    "alert_settings": columns_of(
        AlertSettings,
        "enabled",
        "failure_threshold",
        "time_window_hours",
        "alert_on_critical",
        "alert_on_warning",
        "alert_on_info",
        "alert_on_scan",
        "repeat_minutes",
        "emails",
        "webhook_url",
        "created_at",
        "updated_at",
    ),
    "alert_preferences": columns_of(
        WorkflowPreference, "workflow_id", "enabled", "failure_threshold", "emails"
    ),
    "alert_severities": columns_of(SeverityOverride, "error_class", "severity"),
    "incident_events": columns_of(IncidentEvent, "incident_id", "at", "kind", "text", "by"),
    "notifications": columns_of(
        Notification,
        "key",
        "incident_id",
        "target__channel",
        "target__address",
        "summary_id",
        "kind",
        "state",
        "reason",
        "content",
        "tries",
        "created_at",
        "sent_at",
    ),
    "notification_attempts": columns_of(
        Attempt, "notification_id", "at", "latency_ms", "is_delivered", "status", "said"
    ),
}
