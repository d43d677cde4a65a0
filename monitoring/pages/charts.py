"""Charts as JSON (docs/ui.md, "Charts"): the page comes first, its charts load after it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any, Final

from django.http import Http404, JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from monitoring.metrics.ranges import Point, series
from monitoring.metrics.subject import Measured, of_tenant, of_workflow
from monitoring.metrics.timerange import TimeRange
from monitoring.models import Workflow
from monitoring.pages.time_range import page_range, span_query
from monitoring.recent import version_changes
from monitoring.words import Status
from tenants.access import TenantRequest, tenant_member
from tenants.models import Role

ALWAYS_SHOWN: Final = (Status.SUCCESS, Status.FAILED)
STACK: Final = (
    Status.SUCCESS,
    Status.PARTIAL,
    Status.FAILED,
    Status.CANCELED,
    Status.WAITING,
    Status.RUNNING,
    Status.PENDING,
    Status.SKIPPED,
)
"""Statuses of a bar, from the bottom up."""

PERCENTILES: Final = ((50, "accent"), (95, "warn"))


@tenant_member(Role.VIEWER)
@require_safe
def overview_executions(request: TenantRequest, slug: str) -> JsonResponse:
    """Executions of the tenant over time, by status."""
    range_ = page_range(request).range
    points = series(of_tenant(request.tenant), range_)
    return JsonResponse(executions_chart(points, range_, _list_url(slug)))


@tenant_member(Role.VIEWER)
@require_safe
def workflow_executions(request: TenantRequest, slug: str, workflow_id: int) -> JsonResponse:
    """Executions of one workflow over time, by status, with its versions."""
    range_, subject = page_range(request).range, of_workflow(_workflow(workflow_id))
    chart = executions_chart(series(subject, range_), range_, _list_url(slug, workflow_id))
    return JsonResponse(chart | {"marks": version_marks(subject, range_)})


@tenant_member(Role.VIEWER)
@require_safe
def workflow_durations(request: TenantRequest, slug: str, workflow_id: int) -> JsonResponse:
    """Percentiles of one workflow's durations over time, with its versions."""
    range_, subject = page_range(request).range, of_workflow(_workflow(workflow_id))
    points = series(subject, range_, percentiles=True)
    chart = durations_chart(points, range_, _list_url(slug, workflow_id))
    return JsonResponse(chart | {"marks": version_marks(subject, range_)})


def executions_chart(
    points: Sequence[Point], range_: TimeRange, list_url: Callable[[Point], str]
) -> dict[str, Any]:
    """Stacked bars; where nothing ran, a gap."""
    shown = [
        status
        for status in STACK
        if status in ALWAYS_SHOWN or any(point.totals.count(status) for point in points)
    ]
    return {
        "kind": "bars",
        "x": _times(points, range_),
        "y_title": "executions",
        "unit": "",
        "series": [
            {
                "name": status.slug,
                "tone": status.slug,
                "values": [p.totals.count(status) if p.totals.total else None for p in points],
            }
            for status in shown
        ],
        "links": [list_url(point) if point.totals.total else None for point in points],
    }


def durations_chart(
    points: Sequence[Point], range_: TimeRange, list_url: Callable[[Point], str]
) -> dict[str, Any]:
    """Lines of p50 and p95 in milliseconds; where nothing ran, a gap."""
    return {
        "kind": "lines",
        "x": _times(points, range_),
        "y_title": "duration",
        "unit": "ms",
        "series": [
            {
                "name": f"p{percentile}",
                "tone": tone,
                "values": [point.totals.percentile(percentile) for point in points],
            }
            for percentile, tone in PERCENTILES
        ],
        "links": [list_url(point) if point.totals.total else None for point in points],
    }


def version_marks(subject: Measured, range_: TimeRange) -> list[dict[str, str]]:
    """Where a workflow's version changed in the range."""
    changes = version_changes(subject.id, range_.edges(range_.chart_step))
    return [
        {"x": _iso(change.seen_at, range_), "label": f"version {change.version}"}
        for change in changes
    ]


def _workflow(workflow_id: int) -> Workflow:
    workflow = Workflow.objects.filter(pk=workflow_id).first()
    if workflow is None:
        raise Http404
    return workflow


def _list_url(slug: str, workflow_id: int | None = None) -> Callable[[Point], str]:
    base = reverse("monitoring:executions", args=[slug])
    only = "" if workflow_id is None else f"workflow={workflow_id}&"
    return lambda point: f"{base}?{only}{span_query(point.start, point.end)}"


def _times(points: Sequence[Point], range_: TimeRange) -> list[str]:
    """Where points stand: the range cuts the first, which stands where it would begin whole.

    Bars are as wide as the smallest distance, so a cut one would make all thin.
    """
    starts = [point.start for point in points]
    if len(starts) > 1:
        starts[0] = starts[1] - range_.chart_step.length
    return [_iso(start, range_) for start in starts]


def _iso(moment: dt.datetime, range_: TimeRange) -> str:
    return moment.astimezone(range_.zone).isoformat(timespec="seconds")
