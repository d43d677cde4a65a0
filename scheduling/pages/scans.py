"""Scans: schedules and history, one scan with its findings, starting and stopping one."""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Page, Paginator
from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from monitoring.models import Workflow
from monitoring.words import Severity
from scheduling import schedules
from scheduling.lint.engine import title_of_rule
from scheduling.models import Finding, Scan, ScannedWorkflow, Schedule
from scheduling.pages.schedules import walls
from scheduling.retention import NEWEST_KEPT
from scheduling.scans import FINDINGS, previous
from scheduling.scans import cancel as cancel_scan
from scheduling.schedules import ScanRunsError
from tenants import audit
from tenants.access import TenantRequest, tenant_member
from tenants.models import Role
from tenants.parts import render_part

_ROWS: Final = 50
_HISTORY: Final = 25


@tenant_member(Role.VIEWER)
@require_safe
def scan_list(request: TenantRequest, slug: str) -> HttpResponse:
    """The latest scan as cards, the schedules, and every scan before."""
    latest = Scan.objects.filter(status=Scan.Status.COMPLETED).first()
    context = {
        "latest": latest,
        "severities": severities(latest) if latest else [],
        "running": Scan.objects.filter(status__in=Scan.OPEN).first(),
        "schedules": [
            {"schedule": each, "next_runs": walls(each) if each.enabled else []}
            for each in Schedule.objects.all()
        ],
        "page": _page(request, Scan.objects.select_related("schedule", "requested_by"), _HISTORY),
        "kept_days": settings.SCANS_ARE_KEPT.days,
        "always_kept": NEWEST_KEPT,
        **_may(request),
    }
    return render(request, "scheduling/scans.html", context)


@tenant_member(Role.OPERATOR)
@require_POST
def start(request: TenantRequest, slug: str) -> HttpResponse:
    """Scan at once: a schedule's workflows, or all."""
    wanted = request.POST.get("schedule", "")
    is_number = wanted.isdecimal() and len(wanted) < 19
    try:
        with schedules.alone(request.tenant):
            schedule = get_object_or_404(Schedule.objects.all(), pk=wanted) if is_number else None
            scan = schedules.run_now(request.tenant, schedule, by=request.user)
            subject = f"scan {scan.pk}"
            audit.record("scan.started", tenant=request.tenant, request=request, subject=subject)
    except ScanRunsError:
        messages.warning(request, "A scan is running already; wait for it or stop it.")
        return redirect("scheduling:scans", slug)
    return redirect("scheduling:scan", slug, scan.pk)


@tenant_member(Role.VIEWER)
@require_safe
def scan_page(request: TenantRequest, slug: str, scan_id: int) -> HttpResponse:
    """One scan: how far it is, what it found by workflow or by rule, and every finding."""
    scan = get_object_or_404(Scan.objects.select_related("schedule", "requested_by"), pk=scan_id)
    view = request.GET.get("by", "workflow")
    context: dict[str, Any] = {
        "scan": scan,
        "severities": severities(scan),
        "undefined": _undefined_note(scan),
        "view": view if view in ("rule", "findings") else "workflow",
        "before": previous(scan) if scan.status == Scan.Status.COMPLETED else None,
        "others": Scan.objects.filter(status=Scan.Status.COMPLETED).exclude(pk=scan.pk)[:20],
    }
    context |= _may(request) | _VIEWS[context["view"]](request, scan)
    return render_part(request, "scheduling/scan.html", context, {"scan": "scan_part"})


@tenant_member(Role.OPERATOR)
@require_POST
def cancel(request: TenantRequest, slug: str, scan_id: int) -> HttpResponse:
    """Stop a scan; what it found stays."""
    scan = get_object_or_404(Scan.objects.all(), pk=scan_id)
    with transaction.atomic():
        if cancel_scan(scan):
            subject = f"scan {scan.pk}"
            audit.record("scan.canceled", tenant=request.tenant, request=request, subject=subject)
            messages.success(request, "The scan is stopped. What it found stays.")
    return redirect("scheduling:scan", slug, scan.pk)


def _undefined_note(scan: Scan) -> str:
    """Say for how many workflows there was only history to look at."""
    number = ScannedWorkflow.objects.filter(scan=scan, structure_score=None).count()
    return f"{number:,} without a definition: only history" if number else ""


def severities(scan: Scan) -> list[tuple[str, int]]:
    """(severity, findings of it) of a scan, the worst first."""
    counted = dict(scan.findings.values_list("severity").annotate(n=FINDINGS))
    return [(each.slug, counted.get(each.value, 0)) for each in sorted(Severity, reverse=True)]


def _may(request: TenantRequest) -> dict[str, bool]:
    return {
        "can_start": request.membership.may(Role.OPERATOR),
        "can_configure": request.membership.may(Role.ADMIN),
    }


def _by_workflow(request: TenantRequest, scan: Scan) -> dict[str, Any]:
    rows = ScannedWorkflow.objects.filter(scan=scan).select_related("workflow__environment")
    worst_first = rows.order_by("health_score", "-findings", "pk")
    return {"page": _page(request, worst_first, _ROWS)}


def _by_rule(request: TenantRequest, scan: Scan) -> dict[str, Any]:
    rules = (
        scan.findings.values("rule", "severity")
        .annotate(findings=FINDINGS, workflows=Count("workflow", distinct=True))
        .order_by("-severity", "-findings", "rule")
    )
    rows = [
        rule | {"severity": Severity(rule["severity"]).slug, "title": title_of_rule(rule["rule"])}
        for rule in rules
    ]
    return {"page": _page(request, rows, _ROWS)}


def _all_findings(request: TenantRequest, scan: Scan) -> dict[str, Any]:
    found, chosen = _chosen_findings(request, scan)
    rows = found.select_related("workflow__environment").order_by("-severity", "workflow_id", "pk")
    return {"page": _page(request, rows, _ROWS), "chosen": chosen}


def _chosen_findings(
    request: TenantRequest, scan: Scan
) -> tuple[QuerySet[Finding], list[tuple[str, str]]]:
    """The findings that the address asks for, and (parameter, words) of what limits them."""
    found, chosen = Finding.objects.filter(scan=scan), []
    workflow, rule, severity = (
        request.GET.get(key, "") for key in ("workflow", "rule", "severity")
    )
    if workflow.isascii() and workflow.isdigit():
        named = Workflow.objects.filter(pk=int(workflow[:18])).first()
        found = found.filter(workflow=named)
        chosen.append(("workflow", named.name if named else "unknown workflow"))
    if rule:
        found = found.filter(rule=rule.replace("\x00", ""))
        chosen.append(("rule", rule))
    by_slug = {each.slug: each for each in Severity}
    if severity in by_slug:
        found = found.filter(severity=by_slug[severity])
        chosen.append(("severity", severity))
    return found, chosen


_VIEWS: Final = {"workflow": _by_workflow, "rule": _by_rule, "findings": _all_findings}


def _page(request: TenantRequest, rows: Any, size: int) -> Page[Any]:
    return Paginator(rows, size).get_page(request.GET.get("page"))
