"""What scans found goes after a time, in small steps; what pages compare with stays."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from monitoring.models import Workflow
from monitoring.words import Severity
from scheduling import retention
from scheduling.models import Finding, Scan, ScannedWorkflow, Schedule
from scheduling.retention import forget_step
from scheduling.scans import previous
from tenants.models import Tenant
from tenants.scoping import across_tenants, tenant_scope
from tests.monitoring.factories import make_environment, make_tenant, make_workflow

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def ninety_days(settings: Settings) -> None:
    settings.SCANS_ARE_KEPT = dt.timedelta(days=90)


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("acme")


@pytest.fixture
def workflow(tenant: Tenant) -> Workflow:
    return make_workflow(make_environment(tenant))


def scanned(workflow: Workflow, days_ago: float, findings: int = 1, **fields: Any) -> Scan:
    """A scan of some days ago, completed unless `fields` say otherwise, with what it found."""
    tenant = workflow.tenant
    with tenant_scope(tenant):
        scan = Scan.objects.create(tenant=tenant, **{"status": "completed", **fields})
        created_at = timezone.now() - dt.timedelta(days=days_ago)
        Scan.objects.filter(pk=scan.pk).update(created_at=created_at)
        ScannedWorkflow.objects.create(
            tenant=tenant, scan=scan, workflow=workflow, execution_penalty=0
        )
        Finding.objects.bulk_create(
            Finding(
                tenant=tenant,
                scan=scan,
                workflow=workflow,
                rule="no-timeout",
                severity=Severity.WARNING,
                message="",
                fingerprint=str(number),
            )
            for number in range(findings)
        )
        return scan


def forget() -> int:
    """Steps until nothing is left to do."""
    steps = 0
    while forget_step():
        steps += 1
    return steps


def left(tenant: Tenant) -> set[int]:
    with tenant_scope(tenant):
        scans = set(Scan.objects.values_list("pk", flat=True))
        for model in (Finding, ScannedWorkflow):
            assert set(model.objects.values_list("scan_id", flat=True)) <= scans
        return scans


def test_old_scans_go_with_what_they_found(tenant: Tenant, workflow: Workflow) -> None:
    old = [scanned(workflow, 91) for _ in range(5)]
    newer = [scanned(workflow, 1) for _ in range(retention.NEWEST_KEPT)]
    young = scanned(workflow, 89)
    forget()
    assert left(tenant) == {each.pk for each in [*newer, young]}
    assert old[0].pk not in left(tenant)


def test_the_newest_of_a_tenant_stay_however_old(tenant: Tenant, workflow: Workflow) -> None:
    old = [scanned(workflow, 400) for _ in range(retention.NEWEST_KEPT + 3)]
    other = scanned(make_workflow(make_environment(make_tenant("other"))), 400)
    forget()
    assert left(tenant) == {each.pk for each in old[3:]}
    assert left(other.tenant) == {other.pk}


def test_the_last_two_of_each_schedule_and_scope_stay(tenant: Tenant, workflow: Workflow) -> None:
    with tenant_scope(tenant):
        schedule = Schedule.objects.create(tenant=tenant, name="Rare")
    rare = [scanned(workflow, 300, schedule=schedule) for _ in range(3)]
    active = [scanned(workflow, 300, scope="active") for _ in range(3)]
    for _ in range(retention.NEWEST_KEPT):
        scanned(workflow, 1)
    forget()
    stayed = left(tenant)
    assert {each.pk for each in [*rare, *active]} & stayed == {
        each.pk for each in [*rare[1:], *active[1:]]
    }
    with tenant_scope(tenant):
        assert previous(rare[2]) == rare[1], "the newest one can be compared"


@pytest.mark.parametrize("status", ["failed", "canceled", "missed"])
def test_scans_that_did_not_complete_are_kept_for_the_time_only(
    tenant: Tenant, workflow: Workflow, status: str
) -> None:
    scanned(workflow, 91, status=status)
    young = scanned(workflow, 89, status=status)
    forget()
    assert left(tenant) == {young.pk}


def test_an_open_scan_stays(tenant: Tenant, workflow: Workflow) -> None:
    scan = scanned(workflow, 91, status="running")
    forget()
    assert left(tenant) == {scan.pk}


def test_steps_are_small(
    tenant: Tenant, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "STEP", 10)
    scanned(workflow, 91, findings=35, status="failed")
    assert forget() == 4 + 1 + 1, "findings, workflows, the scan"


def test_what_is_too_young_is_not_read(tenant: Tenant, workflow: Workflow) -> None:
    with tenant_scope(tenant):
        Scan.objects.bulk_create(
            Scan(tenant=tenant, status="missed", scope="all") for _ in range(3_000)
        )
    with across_tenants():
        expired = retention._expired().order_by("created_at").values("pk")[:100]
        sql, values = expired.query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE scheduling_scan")
        cursor.execute(f"EXPLAIN {sql}", values)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "scan_by_age" in plan, plan
