"""Two scans beside each other: new, fixed, persisting, and whose health changed."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from scheduling.comparison import Difference, difference
from scheduling.models import Finding, Scan
from tenants.access import TenantRequest, tenant_member
from tenants.models import Role

_ROWS: Final = 100


@tenant_member(Role.VIEWER)
@require_safe
def compare(request: TenantRequest, slug: str, scan_id: int, other_id: int) -> HttpResponse:
    """Compare two scans, the earlier one first however they are named."""
    if scan_id == other_id:
        raise Http404("A scan is not compared with itself")
    earlier, later = (
        get_object_or_404(Scan.objects.all(), pk=each) for each in sorted((scan_id, other_id))
    )
    found = difference(earlier, later)
    changed = found.changed.select_related("workflow").order_by("health_score", "pk")
    context = {
        "earlier": earlier,
        "later": later,
        "columns": [
            _column("New", "bad", "Nothing new was found.", found.new),
            _column("Fixed", "good", "Nothing was fixed.", found.fixed),
            _column("Persisting", "muted", "Nothing stayed.", found.persisting),
            *_first_seen(found),
        ],
        "changed": changed[:_ROWS],
        "changed_count": changed.count(),
    }
    return render(request, "scheduling/comparison.html", context)


def _first_seen(found: Difference) -> list[dict[str, Any]]:
    """The column that is there only when it has something to say."""
    column = _column("Looked into for the first time", "muted", "", found.first_seen)
    return [column] if column["count"] else []


def _column(title: str, tone: str, empty: str, findings: QuerySet[Finding]) -> dict[str, Any]:
    rows = findings.select_related("workflow").order_by("-severity", "workflow_id", "pk")
    count = findings.count()
    return {
        "title": title,
        "tone": tone,
        "empty": empty,
        "count": count,
        "rows": rows[:_ROWS],
        "hidden": max(count - _ROWS, 0),
    }
