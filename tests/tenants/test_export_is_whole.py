"""All that a tenant owns is in its export, or left out for a reason that is written down here."""

from __future__ import annotations

import io
import json
import zipfile

import pytest
from django.apps import apps
from django.utils import timezone

from alerts.models import AlertSettings, Incident, IncidentEvent, Notification
from monitoring.metrics.rollups import fold_deltas
from monitoring.words import Status
from scheduling.models import Finding, Scan, ScannedWorkflow, Schedule
from tenants.export import export_tenants
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests.monitoring.counted import message, record
from tests.monitoring.factories import make_environment, make_execution, make_tenant, make_workflow

FILES = {
    "tenants.Membership": "members",
    "tenants.ApiToken": "tokens",
    "tenants.AuditEvent": "audit",
    "monitoring.Environment": "environments",
    "monitoring.Workflow": "workflows",
    "monitoring.WorkflowVersion": "workflow_versions",
    "monitoring.SavedView": "saved_views",
    "monitoring.Rollup": "days",
    "monitoring.ErrorGroup": "error_groups",
    "monitoring.Execution": "executions",
    "monitoring.NodeExecution": "executions",
    "scheduling.Schedule": "schedules",
    "scheduling.Scan": "scans",
    "scheduling.ScannedWorkflow": "scanned_workflows",
    "scheduling.Finding": "findings",
    "alerts.AlertSettings": "alert_settings",
    "alerts.WorkflowPreference": "alert_preferences",
    "alerts.SeverityOverride": "alert_severities",
    "alerts.Incident": "incidents",
    "alerts.IncidentEvent": "incident_events",
    "alerts.Notification": "notifications",
    "alerts.Target": "notifications",
    "alerts.Attempt": "notification_attempts",
}
_PASSES = "is work under way, which ends by itself"
LEFT_OUT = {
    "monitoring.RollupDelta": _PASSES,
    "monitoring.NodeLine": "says which nodes have numbers of their own",
    "monitoring.NodeRollup": "is counted from the executions",
    "monitoring.ExecutionKey": "holds the ids that the executions carry",
    "monitoring.IdempotencyKey": "says for a day which call was answered",
    "monitoring.Seal": "says of which days the executions can be gone",
    "monitoring.RetentionRun": "says what is no longer there",
    "scheduling.Removal": "comes back each day",
    "monitoring.BulkJob": "says who deleted what, as the audit log does",
    "monitoring.Event": _PASSES,
    "monitoring.SignOfLife": _PASSES,
    "monitoring.QuotaUse": "forgets itself within minutes",
    "scheduling.Delivery": _PASSES,
    "alerts.Check": _PASSES,
    "alerts.ScanNews": _PASSES,
}


def exported(tenant: Tenant) -> dict[str, list[dict[str, object]]]:
    with zipfile.ZipFile(io.BytesIO(b"".join(export_tenants([tenant])))) as archive:
        return {
            name.removeprefix(f"{tenant.slug}/").removesuffix(".ndjson"): [
                json.loads(line) for line in archive.read(name).decode().splitlines()
            ]
            for name in archive.namelist()
        }


@pytest.mark.django_db
def test_every_table_of_a_tenant_is_exported_or_left_out_for_a_reason() -> None:
    owned = {
        model._meta.label
        for model in apps.get_models()
        if any(field.name == "tenant" for field in model._meta.concrete_fields)
    }
    assert not FILES.keys() & LEFT_OUT.keys()
    assert owned == FILES.keys() | LEFT_OUT.keys(), "say where it is, or why it is left out"
    assert exported(make_tenant()).keys() == {"tenant", *FILES.values()}


@pytest.mark.django_db
def test_numbers_and_errors_that_outlive_executions_are_in_it() -> None:
    tenant = make_tenant()
    workflow = make_workflow(make_environment(tenant))
    began = timezone.now()
    record(message(workflow, began, Status.FAILED, 70), message(workflow, began, duration_ms=30))
    fold_deltas()
    found = exported(tenant)
    [day] = found["days"]
    assert (day["workflow_id"], day["day"]) == (workflow.pk, f"{began:%Y-%m-%d}")
    assert (day["duration_ms"], day["with_duration"]) == (100, 2)
    counts = day["counts"]
    assert isinstance(counts, dict)
    assert (counts["failed"], counts["success"], sum(counts.values())) == (1, 1, 2)
    [group] = found["error_groups"]
    assert (group["error_class"], group["sample"]) == ("auth", "HTTP 401")


@pytest.mark.django_db
def test_what_higher_apps_keep_is_in_it() -> None:
    tenant = make_tenant()
    workflow = make_workflow(make_environment(tenant))
    execution = make_execution(workflow)
    now = execution.received_at
    with tenant_scope(tenant):
        schedule = Schedule.objects.create(tenant=tenant, name="Nightly")
        schedule.selected.add(workflow)
        scan = Scan.objects.create(tenant=tenant, schedule=schedule)
        own = {"tenant": tenant, "workflow": workflow}
        ScannedWorkflow.objects.create(scan=scan, execution_penalty=1.5, **own)
        Finding.objects.create(scan=scan, rule="no-timeout", severity=1, message="waits", **own)
        AlertSettings.objects.create(tenant=tenant, webhook_secret="whsec_hidden")
        incident = Incident.objects.create(
            rule="failures", subject="x", severity=1, title="Bad", opened_at=now, last_at=now, **own
        )
        IncidentEvent.objects.create(tenant=tenant, incident=incident, at=now, kind="opened")
        Notification.objects.create(
            tenant=tenant, incident=incident, kind="opened", content={"a": 1}, created_at=now
        )
    found = exported(tenant)
    assert found["schedules"][0]["selected_ids"] == [workflow.pk]
    assert found["scans"][0]["schedule_id"] == schedule.pk
    assert found["scanned_workflows"][0]["execution_penalty"] == 1.5
    assert found["findings"][0]["message"] == "waits"
    assert found["incident_events"][0]["incident_id"] == incident.pk
    assert found["notifications"][0]["content"] == {"a": 1}
    assert "whsec_hidden" not in json.dumps(found)
