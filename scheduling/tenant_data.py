"""A tenant's schedules, scans and findings in its export, and their end with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from scheduling.models import Delivery, Finding, Removal, Scan, ScannedWorkflow, Schedule
from tenants.deletion import rows_of
from tenants.export import columns_of
from tenants.models import Tenant
from tenants.registry import register_deleter, register_exporter


def register() -> None:
    """Add what scheduling keeps to every tenant's export, and let it go with the tenant."""
    register_exporter("schedules", schedule_records)
    register_exporter("scans", _scans)
    register_exporter("scanned_workflows", _scanned_workflows)
    register_exporter("findings", _findings)
    register_deleter(rows_of(Delivery, Removal, Finding, ScannedWorkflow, Scan, Schedule))


def schedule_records(tenant: Tenant) -> Iterator[Mapping[str, object]]:
    """Every schedule with the workflows it selects."""
    for schedule in Schedule.objects.order_by("pk").prefetch_related("selected"):
        yield {
            "id": schedule.pk,
            "name": schedule.name,
            "is_default": schedule.is_default,
            "enabled": schedule.enabled,
            "frequency": schedule.frequency,
            "preferred_time": schedule.preferred_time,
            "time_zone": schedule.time_zone,
            "weekday": schedule.weekday,
            "scope": schedule.scope,
            "selected_ids": sorted(workflow.pk for workflow in schedule.selected.all()),
            "last_scan_at": schedule.last_scan_at,
            "next_scan_at": schedule.next_scan_at,
            "created_at": schedule.created_at,
        }


_scans = columns_of(
    Scan,
    "schedule_id",
    "due_for",
    "scope",
    "selected_ids",
    "status",
    "problem",
    "workflow_count",
    "workflows_scanned",
    "issues_found",
    "critical_issues",
    "summary",
    "requested_by__email",
    "created_at",
    "started_at",
    "completed_at",
)
_scanned_workflows = columns_of(
    ScannedWorkflow,
    "scan_id",
    "workflow_id",
    "version",
    "structure_score",
    "execution_penalty",
    "health_score",
    "findings",
    "critical",
    "problem",
)
_findings = columns_of(
    Finding,
    "scan_id",
    "workflow_id",
    "rule",
    "severity",
    "node_id",
    "node_name",
    "message",
    "fix",
    "evidence",
    "fingerprint",
    "more",
)
