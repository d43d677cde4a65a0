"""One workflow: how often it fails, how long it takes, and at which node."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from monitoring import bulk
from monitoring.history import ExecutionQuery, page
from monitoring.metrics.kpis import Kpis
from monitoring.metrics.node_lines import NODES_WITH_NUMBERS
from monitoring.metrics.nodes import NodeTotals, node_totals
from monitoring.metrics.statistics import Statistics, workflow_statistics
from monitoring.metrics.subject import of_workflow
from monitoring.models import Workflow
from monitoring.pages.addresses import execution_urls
from monitoring.pages.figures import (
    Figure,
    as_percent,
    executions_figure,
    failure_rate_figure,
    kpis_with_percentiles,
    percentile_figure,
    title_of,
)
from monitoring.pages.overview import step_words
from monitoring.pages.rows import rows_of
from monitoring.pages.since_version import led_to_version, since_version_link
from monitoring.pages.time_range import PageRange, RangeLink, page_range, shareable_range
from monitoring.panels import Part, Place, Tab, panels_at, register_tab, tabs_at
from monitoring.recent import Recent, last_executions, signs
from monitoring.run_grid import GridRow, RunGrid, run_grid
from monitoring.words import PROBLEMS
from tenants import audit
from tenants.access import TenantRequest, tenant_member
from tenants.models import Role
from tenants.ui.icons import status_word
from tenants.ui.numbers import duration, thousands
from tenants.ui.times import exact

FIRST_TAB: Final = "overview"
TOP_NODES: Final = 8
RECENT_FAILURES: Final = 8
BAR_HEIGHT: Final = 28
GRID_STEP: Final = 20


@dataclass(frozen=True, slots=True)
class TabLink:
    """A tab as the page shows it."""

    label: str
    url: str
    is_current: bool


@tenant_member(Role.VIEWER)
@require_safe
@shareable_range
def workflow_page(request: TenantRequest, slug: str, workflow_id: int) -> HttpResponse:
    """Show a workflow's head, its tabs and the open one."""
    workflow = _workflow(workflow_id)
    if led := led_to_version(request, workflow.pk):
        return led
    tabs = tabs_at(Place.WORKFLOW, request)
    key = request.GET.get("tab", FIRST_TAB)
    part = next((tab.make(request, workflow) for tab in tabs if tab.key == key), None)
    if part is None:
        raise Http404
    shown = page_range(request)
    newest = last_executions([workflow.pk])
    last = newest.get(workflow.pk)
    sign, going = signs(newest).get(workflow.pk, (None, None))
    context = {
        "time_range": replace(shown, more=_more_ranges(request, last)),
        "workflow": workflow,
        "title": title_of(workflow),
        "statistics": _all_time(workflow_statistics([workflow])[workflow.pk]),
        "last": last,
        "sign": sign,
        "sign_url": reverse("monitoring:execution", args=[slug, sign.id]) if sign else "",
        "going": going,
        "going_url": reverse("monitoring:execution", args=[slug, going.id]) if going else "",
        "tabs": _tab_links(tabs, key, workflow, shown, slug),
        "part": part,
    }
    return render(request, "monitoring/workflow.html", context)


def _more_ranges(request: TenantRequest, last: Recent | None) -> tuple[RangeLink, ...]:
    if last is None or last.version is None:
        return ()
    return (since_version_link(request, f"Since version {last.version}"),)


def register_tabs() -> None:
    """Add monitoring's own tabs to the page; called when the app starts."""
    register_tab(Place.WORKFLOW, Tab(FIRST_TAB, "Overview", _overview, rank=10))
    register_tab(Place.WORKFLOW, Tab("settings", "Settings", _settings, rank=90, role=Role.ADMIN))


def _workflow(workflow_id: int) -> Workflow:
    workflow = Workflow.objects.select_related("environment").filter(pk=workflow_id).first()
    if workflow is None:
        raise Http404
    return workflow


def _tab_links(
    tabs: Sequence[Tab], key: str, workflow: Workflow, shown: PageRange, slug: str
) -> list[TabLink]:
    base = reverse("monitoring:workflow", args=[slug, workflow.pk])
    links = [
        TabLink(tab.label, f"{base}?tab={tab.key}&{shown.query}", tab.key == key) for tab in tabs
    ]
    return [links[0], TabLink("Executions", _list_url(workflow, shown, slug), False), *links[1:]]


def _list_url(workflow: Workflow, shown: PageRange, slug: str) -> str:
    return f"{reverse('monitoring:executions', args=[slug])}?workflow={workflow.pk}&{shown.query}"


@dataclass(frozen=True, slots=True)
class AllTime:
    """A workflow's statistics over all that was ever recorded, in words."""

    executions: str
    success_rate: float | None
    failures: str
    average: float | None


def _all_time(statistics: Statistics) -> AllTime:
    rated = statistics.success_count + statistics.failure_count + statistics.partial_count
    return AllTime(
        thousands(statistics.execution_count),
        statistics.success_count / rated * 100 if rated else None,
        thousands(statistics.failure_count),
        statistics.average_duration_ms,
    )


# --- tab Overview -------------------------------------------------------------------------------


def _overview(request: TenantRequest, workflow: Workflow) -> Part:
    shown, slug = page_range(request), request.tenant.slug
    kpis = kpis_with_percentiles(of_workflow(workflow), shown.range)
    list_url = _list_url(workflow, shown, slug)
    failures_url = f"{list_url}&status=failed&status=partial"
    nodes = node_totals(workflow, shown.range)
    failures = page(
        ExecutionQuery(
            workflow_ids=(workflow.pk,), statuses=PROBLEMS, start=shown.start, end=shown.end
        ),
        limit=RECENT_FAILURES,
    )
    context: dict[str, Any] = {
        "figures": _figures(kpis, shown, list_url, failures_url),
        "executions_chart": _chart_url("workflow-chart-executions", workflow, shown, slug),
        "durations_chart": _chart_url("workflow-chart-durations", workflow, shown, slug),
        "chart_note": step_words(shown.range),
        "grid": _grid(run_grid(workflow), slug),
        "slowest": slowest(nodes.nodes),
        "most_failing": most_failing(nodes.nodes),
        "nodes_note": "" if nodes.exact else f"whole hours from {exact(nodes.start)}",
        "others_note": _others_note(nodes.nodes),
        "failures": rows_of(failures.rows, slug, ""),
        "failures_url": failures_url,
        "panels": panels_at(Place.WORKFLOW, request, workflow),
    }
    return Part("monitoring/workflow_overview.html", context)


def _others_note(nodes: Sequence[NodeTotals]) -> str:
    """Say what the line of other nodes is, when there is one."""
    if not any(node.is_others for node in nodes):
        return ""
    return f"The first {thousands(NODES_WITH_NUMBERS)} nodes have numbers of their own."


def _figures(kpis: Kpis, shown: PageRange, list_url: str, failures_url: str) -> list[Figure]:
    return [
        executions_figure(kpis, shown, list_url),
        failure_rate_figure(kpis, shown, failures_url),
        percentile_figure(kpis, shown, 50),
        percentile_figure(kpis, shown, 95),
    ]


def _chart_url(name: str, workflow: Workflow, shown: PageRange, slug: str) -> str:
    return f"{reverse(f'monitoring:{name}', args=[slug, workflow.pk])}?{shown.query}"


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node in a ranking; `share` (0–100) is against the first of the ranking."""

    name: str
    title: str
    total: int
    failed: int
    rate: float | None
    p50: float | None
    p95: float | None
    share: float


def slowest(nodes: Sequence[NodeTotals]) -> list[NodeRow]:
    """Return the nodes with the greatest p95."""
    found = sorted(nodes, key=lambda node: -(node.percentile(95) or 0))[:TOP_NODES]
    most = max((node.percentile(95) or 0 for node in found), default=0)
    return [_node_row(node, node.percentile(95) or 0, most) for node in found if most]


def most_failing(nodes: Sequence[NodeTotals]) -> list[NodeRow]:
    """Return the nodes that failed most often; none that never failed."""
    failing = [node for node in nodes if node.failed]
    found = sorted(failing, key=lambda node: (-node.failed, node.name))[:TOP_NODES]
    return [_node_row(node, node.failed, found[0].failed) for node in found]


def _node_row(node: NodeTotals, value: float, most: float) -> NodeRow:
    return NodeRow(
        name=node.name,
        title=node.name if node.is_others else f"{node.name} ({node.node_id})",
        total=node.total,
        failed=node.failed,
        rate=as_percent(node.failure_rate),
        p50=node.percentile(50),
        p95=node.percentile(95),
        share=value / most * 100,
    )


@dataclass(frozen=True, slots=True)
class GridHead:
    """An execution above its column: a bar as high as it took long against the longest."""

    url: str
    title: str
    status: str
    x: int
    y: str
    height: str


@dataclass(frozen=True, slots=True)
class GridCell:
    """A node in one execution; only problems lead there, which keeps the page small."""

    status: str
    x: int
    url: str = ""


@dataclass(frozen=True, slots=True)
class GridLine:
    """One node; `said` is the line in words."""

    name: str
    said: str
    width: int
    cells: Sequence[GridCell]


@dataclass(frozen=True, slots=True)
class Grid:
    """The drawing of a RunGrid, in SVG units of a pixel."""

    heads: Sequence[GridHead]
    lines: Sequence[GridLine]
    statuses: Sequence[str]
    width: int
    hidden_nodes: int
    since: dt.datetime | None


def _grid(found: RunGrid, slug: str) -> Grid:
    url_of = execution_urls(slug)
    urls = [url_of(column.id) for column in found.columns]
    used = {cell for row in found.rows for cell in row.cells if cell is not None}
    return Grid(
        heads=_grid_heads(found, urls),
        lines=[_grid_line(row, urls) for row in found.rows],
        statuses=[status.slug for status in sorted(used)],
        width=len(found.columns) * GRID_STEP,
        hidden_nodes=found.hidden_nodes,
        since=found.columns[0].started_at if found.columns else None,
    )


def _grid_heads(found: RunGrid, urls: Sequence[str]) -> list[GridHead]:
    longest = max((column.duration_ms or 0 for column in found.columns), default=0) or 1
    heads = []
    for number, (column, url) in enumerate(zip(found.columns, urls, strict=True)):
        height = max((column.duration_ms or 0) / longest * BAR_HEIGHT, 2)
        status = column.status.slug
        title = f"{status_word(status)}, {duration(column.duration_ms)}, {exact(column.started_at)}"
        top = f"{BAR_HEIGHT - height:.1f}"
        heads.append(GridHead(url, title, status, number * GRID_STEP, top, f"{height:.1f}"))
    return heads


def _grid_line(row: GridRow, urls: Sequence[str]) -> GridLine:
    counts = Counter(cell for cell in row.cells if cell is not None)
    said = ", ".join(f"{count} {status.slug}" for status, count in sorted(counts.items()))
    cells = [
        GridCell(cell.slug, number * GRID_STEP, url if cell.is_problem else "")
        for number, (cell, url) in enumerate(zip(row.cells, urls, strict=True))
        if cell is not None
    ]
    return GridLine(row.name, f"{row.name}: {said}", len(urls) * GRID_STEP, cells)


# --- tab Settings, clearing -----------------------------------------------------------------------


def _settings(request: TenantRequest, workflow: Workflow) -> Part:
    count = workflow_statistics([workflow])[workflow.pk].execution_count
    url = reverse("monitoring:workflow-clear", args=[request.tenant.slug, workflow.pk])
    return Part("monitoring/workflow_settings.html", {"count": count, "clear_url": url})


@tenant_member(Role.ADMIN)
@require_http_methods(["GET", "HEAD", "POST"])
def workflow_clear(request: TenantRequest, slug: str, workflow_id: int) -> HttpResponse:
    """Show what clearing the history would delete; by POST, ask the worker to do it."""
    workflow = _workflow(workflow_id)
    count = workflow_statistics([workflow])[workflow.pk].execution_count
    if request.method == "POST":
        said = f"whole history of {title_of(workflow)}"
        shown = bulk.preview(ExecutionQuery(workflow_ids=(workflow.pk,)))
        with transaction.atomic():
            job = bulk.start_deletion(
                request.tenant, shown, said=said, expected=count, by=request.user
            )
            audit.record(
                "workflow.clear",
                tenant=request.tenant,
                request=request,
                subject=workflow.external_id,
                workflow=workflow.name,
                expected=count,
            )
        return redirect("monitoring:bulk-job", slug, job.pk)
    context = {"workflow": workflow, "title": title_of(workflow), "count": count}
    return render(request, "monitoring/workflow_clear.html", context)
