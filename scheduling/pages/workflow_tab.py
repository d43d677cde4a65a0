"""What a workflow's page shows of its health: scores with their parts, findings, failing actions."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from monitoring.metrics.timerange import TimeRange
from monitoring.models import Workflow
from monitoring.panels import Panel, Part, Place, Tab, register_panel, register_tab
from scheduling.analysis import correlations, latest_look
from scheduling.models import Finding, Scan, Schedule
from scheduling.scans import WINDOW
from tenants.access import TenantRequest
from tenants.models import Role, Tenant

_MOST_FINDINGS = 100


def register() -> None:
    """Add the tab to workflows, the next scans to the overview, and a scan to uploads."""
    register_tab(Place.WORKFLOW, Tab("health", "Health", _health, rank=40))
    register_panel(Place.OVERVIEW, Panel("scans", _next_scans, rank=60))
    register_panel(Place.UPLOAD, Panel("scan", _scan_them, rank=10, role=Role.OPERATOR))


def _health(request: TenantRequest, workflow: Workflow) -> Part:
    window = TimeRange.last(WINDOW, now=timezone.now())
    look = latest_look(workflow)
    context: dict[str, Any] = {
        "workflow": workflow,
        "look": look,
        "findings": [],
        "hidden": 0,
        "actions": correlations(workflow, window),
        "days": WINDOW.days,
    }
    if look is not None:
        findings = Finding.objects.filter(scan_id=look.scan_id, workflow=workflow)
        context["findings"] = findings.order_by("-severity", "pk")[:_MOST_FINDINGS]
        context["hidden"] = max(look.findings - _MOST_FINDINGS, 0)
    return Part("scheduling/workflow_health.html", context)


def _scan_them(request: TenantRequest, tenant: Tenant) -> Part:
    return Part("scheduling/scan_them.html", {})


def _next_scans(request: TenantRequest, tenant: Tenant) -> Part | None:
    """The schedules that run next and how the latest scan ended; nothing before the first of both."""
    planned = Schedule.objects.filter(next_scan_at__isnull=False).order_by("next_scan_at")[:3]
    latest = Scan.objects.exclude(status=Scan.Status.MISSED).first()
    if not planned and latest is None:
        return None
    return Part("scheduling/next_scans.html", {"planned": planned, "latest": latest})
