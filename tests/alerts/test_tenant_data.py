"""Alerts of a tenant: gone with it, in its export, and forgotten after a while."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, models

from alerts.models import Incident, Notification
from alerts.retention import forget_step
from alerts.tenant_data import incident_records
from monitoring.models import Workflow
from scheduling.models import Schedule
from tenants.deletion import delete_marked_tenants_step
from tenants.models import AuditEvent, Tenant
from tenants.scoping import across_tenants, tenant_scope
from tests.alerts.factories import fail, make_settings, pass_time, settle
from tests.alerts.test_scan_news import finish_scan
from tests.monitoring.factories import make_environment, make_tenant, make_workflow
from tests.tenants.factories import mark_long_ago

pytestmark = pytest.mark.django_db


def fill(tenant: Tenant) -> None:
    workflow = make_workflow(make_environment(tenant))
    make_settings(tenant, "a@example.com")
    with tenant_scope(tenant):
        Schedule.objects.create(tenant=tenant, name="Nightly").selected.add(workflow)
    fail(workflow, 3)
    finish_scan(tenant, (workflow, 1, 30.0))


def rows_of(tenant: Tenant) -> dict[str, int]:
    """Tables with rows of a tenant."""
    owned: list[Any] = [
        model
        for model in apps.get_models()
        if any(field.name == "tenant" for field in model._meta.fields) and model is not AuditEvent
    ]
    with across_tenants():
        counts = {
            model._meta.db_table: model._base_manager.filter(tenant_id=tenant.pk).count()
            for model in owned
        }
    return {table: count for table, count in counts.items() if count}


def test_a_deleted_tenant_leaves_nothing_and_another_loses_nothing(db: None) -> None:
    tenant, other = make_tenant("goes"), make_tenant("stays")
    fill(tenant)
    fill(other)
    kept = rows_of(other)
    assert {"alerts_incident", "alerts_attempt", "scheduling_schedule"} <= rows_of(tenant).keys()
    mark_long_ago(tenant)
    while delete_marked_tenants_step():
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert rows_of(tenant) == {}
    assert not Tenant.objects.filter(pk=tenant.pk).exists()
    assert rows_of(other) == kept


def test_incidents_are_in_the_export(tenant: Tenant, workflow: Workflow) -> None:
    fail(workflow, 3)
    settle()
    with tenant_scope(tenant):
        [record] = incident_records(tenant)
    assert (record["workflow_id"], record["count"]) == ("invoices", 3)


def test_old_messages_and_incidents_are_forgotten_open_ones_stay(
    tenant: Tenant, workflow: Workflow
) -> None:
    make_settings(tenant, "a@example.com")
    fail(workflow, 3)
    settle()
    forget_step()
    assert counts(tenant) == (1, 1)
    pass_time(days=91)
    forget_step()
    assert counts(tenant) == (1, 0)
    pass_time(days=400)
    forget_step()
    assert counts(tenant) == (1, 0), "it is open"
    with tenant_scope(tenant):
        Incident.objects.update(resolved_at=models.F("opened_at") + dt.timedelta(days=1))
    forget_step()
    assert counts(tenant) == (0, 0)


def counts(tenant: Tenant) -> tuple[int, int]:
    with tenant_scope(tenant):
        return Incident.objects.count(), Notification.objects.count()
