"""What a scan that ended means: incidents of workflows, and one message about all of it."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from alerts.models import AlertSettings, Incident, Notification
from monitoring.models import Event, Workflow
from scheduling.models import Scan, ScannedWorkflow
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests.alerts.factories import make_settings, settle
from tests.monitoring.factories import make_workflow

pytestmark = pytest.mark.django_db


def finish_scan(
    tenant: Tenant,
    *rows: tuple[Workflow, int, float | None],
    status: str = "completed",
    **fields: Any,
) -> Scan:
    """A scan that ended with (workflow, critical findings, health) and told the outbox."""
    with tenant_scope(tenant):
        scan = Scan.objects.create(
            tenant=tenant,
            status=status,
            workflows_scanned=len(rows),
            issues_found=sum(critical for _, critical, _ in rows),
            critical_issues=sum(critical for _, critical, _ in rows),
            **fields,
        )
        for workflow, critical, health in rows:
            ScannedWorkflow.objects.create(
                tenant=tenant,
                scan=scan,
                workflow=workflow,
                structure_score=health,
                execution_penalty=0,
                health_score=health,
                findings=critical,
                critical=critical,
            )
        body = {
            "scan": scan.pk,
            "status": status,
            "critical_issues": 0,
            "issues_found": 0,
            "worst": [],
        }
        Event.objects.create(
            tenant=tenant, kind="scan.finished", body=body, created_at=timezone.now()
        )
    settle()
    return scan


def incidents(tenant: Tenant) -> dict[str, str]:
    with tenant_scope(tenant):
        return dict(Incident.objects.values_list("title", "status"))


@pytest.fixture
def others(workflow: Workflow) -> list[Workflow]:
    return [make_workflow(workflow.environment, name=f"Flow {n}") for n in range(30)]


def test_the_first_scan_of_many_workflows_is_one_message(
    tenant: Tenant, others: list[Workflow]
) -> None:
    make_settings(tenant, "ops@example.com")
    finish_scan(tenant, *[(each, 2, 30.0) for each in others])
    assert len(incidents(tenant)) == 30
    [told] = mail.outbox
    assert told.subject == "[critical] Scan finished: 30 workflows need a look (Alerts)"
    assert "and 10 more" in told.body
    with tenant_scope(tenant):
        assert not Incident.objects.filter(told_at=None).exists()


def test_critical_findings_and_poor_health_open_and_the_next_scan_ends_them(
    tenant: Tenant, workflow: Workflow, others: list[Workflow]
) -> None:
    make_settings(tenant, "ops@example.com")
    poor, fine, unknown = others[:3]
    finish_scan(tenant, (workflow, 1, 80.0), (poor, 0, 49.9), (fine, 0, 50.0), (unknown, 0, None))
    assert incidents(tenant) == {
        "Invoice sync: 1 critical finding": "open",
        "Flow 0: health 49 of 100": "open",
    }
    finish_scan(tenant, (workflow, 0, 95.0), (poor, 3, 20.0))
    assert incidents(tenant) == {
        "Invoice sync: 1 critical finding": "resolved",
        "Flow 0: 3 critical findings and health 20 of 100": "open",
    }
    assert len(mail.outbox) == 2
    assert "Mended: 1 workflow\n" in mail.outbox[1].body
    assert str(mail.outbox[1].subject).startswith("[info] "), "nothing of it is new"


def test_a_scan_without_news_is_a_short_summary_that_can_be_switched_off(
    tenant: Tenant, workflow: Workflow
) -> None:
    make_settings(tenant, "ops@example.com")
    finish_scan(tenant, (workflow, 0, 90.0))
    assert str(mail.outbox[0].subject) == "[info] Scan finished: nothing critical (Alerts)"
    with tenant_scope(tenant):
        AlertSettings.objects.update(alert_on_scan=False)
    finish_scan(tenant, (workflow, 0, 90.0))
    assert len(mail.outbox) == 1
    with tenant_scope(tenant):
        decision = Notification.objects.latest("id")
    assert (decision.state, "switched off" in decision.reason) == ("suppressed", True)
    finish_scan(tenant, (workflow, 1, 90.0))
    assert len(mail.outbox) == 2, "something critical that is new is told anyway"


def test_a_failed_scan_is_told_and_the_next_one_that_completes_ends_it(
    tenant: Tenant, workflow: Workflow
) -> None:
    make_settings(tenant, "ops@example.com", alert_on_scan=False)
    for _ in range(2):
        finish_scan(tenant, status="failed", problem="The linter broke.")
    assert incidents(tenant) == {"The scan of all workflows failed": "open"}
    assert [str(each.subject) for each in mail.outbox] == [
        "[warning] The scan of all workflows failed (Alerts)"
    ]
    finish_scan(tenant, (workflow, 0, 90.0))
    assert incidents(tenant) == {"The scan of all workflows failed": "resolved"}
    assert str(mail.outbox[1].subject).startswith("Resolved: ")


def test_the_same_event_twice_is_told_once(tenant: Tenant, workflow: Workflow) -> None:
    make_settings(tenant, "ops@example.com")
    scan = finish_scan(tenant, (workflow, 1, 90.0))
    with tenant_scope(tenant):
        Event.objects.create(
            tenant=tenant,
            kind="scan.finished",
            body={"scan": scan.pk, "status": "completed"},
            created_at=timezone.now(),
        )
    settle()
    assert len(mail.outbox) == 1


def test_with_alerts_off_nobody_is_told(tenant: Tenant, workflow: Workflow) -> None:
    make_settings(tenant, "ops@example.com", enabled=False)
    finish_scan(tenant, (workflow, 1, 90.0))
    assert mail.outbox == []
    with tenant_scope(tenant):
        assert Incident.objects.get().suppressed == "Alerts are switched off."
