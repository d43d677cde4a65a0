"""News of several scans at once, in real transactions."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.core import mail
from django.db import connection
from django.utils import timezone

from alerts import checks, scan_news
from alerts.models import Incident, ScanNews
from monitoring.models import Workflow
from scheduling import due
from scheduling.models import ScannedWorkflow
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests.alerts.factories import make_settings, work
from tests.alerts.test_scan_news import make_scan
from tests.monitoring.factories import make_workflow

pytestmark = pytest.mark.django_db(transaction=True)

SCANS = 4


def test_scans_that_speak_of_the_same_workflows_take_turns(
    tenant: Tenant, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None fails, none opens an incident twice; each is told once."""
    monkeypatch.setattr(scan_news, "_AT_ONCE", 5)
    # Each counts all workflows, as if it alone were the newest.
    monkeypatch.setattr(scan_news, "_later_looks", lambda: ScannedWorkflow.objects.filter(id=0))
    failed: list[str] = []
    monkeypatch.setattr(due, "_put_off", lambda held, error: failed.append(repr(error)))
    make_settings(tenant, "ops@example.com")
    others = [make_workflow(workflow.environment, name=f"Flow {n}") for n in range(20)]
    scans = [make_scan(tenant, *[(each, 1, 90.0) for each in others]) for _ in range(SCANS)]
    with tenant_scope(tenant):
        for scan in scans:
            ScanNews.objects.create(tenant=tenant, scan_id=scan.pk, due_at=timezone.now())
    start = threading.Barrier(SCANS)

    def settle(*_: Any) -> None:
        try:
            start.wait(10)
            due.drain(checks.SCAN_KIND)
        finally:
            connection.close()

    workers = [threading.Thread(target=settle) for _ in range(SCANS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert failed == []
    with tenant_scope(tenant):
        assert set(Incident.objects.values_list("count", flat=True)) == {SCANS}
        assert Incident.objects.count() == len(others)
        assert not ScanNews.objects.filter(settled_at=None).exists()
    work("alerts to")
    told = [str(each.subject) for each in mail.outbox]
    assert sum("[critical]" in subject for subject in told) >= 1
    assert len(told) <= SCANS
