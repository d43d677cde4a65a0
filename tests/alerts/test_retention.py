"""What was told is forgotten after a time, without reading what is not old."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from alerts.models import Incident, Notification, ScanNews
from alerts.retention import expired, forget_step
from monitoring.words import Severity
from tenants.models import Tenant
from tenants.scoping import across_tenants, tenant_scope

pytestmark = pytest.mark.django_db


def test_only_what_is_old_is_read(tenant: Tenant) -> None:
    now = timezone.now()
    with tenant_scope(tenant):
        Notification.objects.bulk_create(
            Notification(tenant=tenant, kind="scan", state="sent", content={}, created_at=now)
            for _ in range(2_000)
        )
        Incident.objects.bulk_create(
            Incident(
                tenant=tenant,
                rule="failures",
                subject=f"workflow:{number}",
                severity=Severity.WARNING,
                title="",
                status="resolved",
                opened_at=now,
                last_at=now,
                resolved_at=now,
            )
            for number in range(2_000)
        )
        ScanNews.objects.bulk_create(
            ScanNews(tenant=tenant, scan_id=number, status="completed", settled_at=now)
            for number in range(2_000)
        )
    plans = []
    with across_tenants(), connection.cursor() as cursor:
        cursor.execute("ANALYZE alerts_notification, alerts_incident, alerts_scannews")
        # So few rows may be read whole at the same price: what matters is that an index can do it.
        cursor.execute("SET LOCAL enable_seqscan = off")
        for rows in expired():
            sql, values = rows.values("pk")[:500].query.sql_with_params()
            cursor.execute(f"EXPLAIN {sql}", values)
            plans.append("\n".join(line for (line,) in cursor.fetchall()))
    indexes = ("notification_by_age", "incident_by_age", "alert_scan_settled")
    for plan, index in zip(plans, indexes, strict=True):
        assert index in plan, plan


def test_news_of_scans_go_with_the_scans(tenant: Tenant, settings: Settings) -> None:
    settings.SCANS_ARE_KEPT = dt.timedelta(days=90)
    now = timezone.now()
    ages = {1: 91, 2: 89, 3: None}
    with tenant_scope(tenant):
        for scan_id, days in ages.items():
            settled_at = None if days is None else now - dt.timedelta(days=days)
            ScanNews.objects.create(
                tenant=tenant, scan_id=scan_id, status="completed", settled_at=settled_at
            )
    assert forget_step() is False
    with tenant_scope(tenant):
        assert set(ScanNews.objects.values_list("scan_id", flat=True)) == {2, 3}
