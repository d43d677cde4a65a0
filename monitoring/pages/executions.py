"""The list of executions: filters in the address, pages by position."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any, Final

from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from monitoring import history
from monitoring.history import BrokenCursor, HistoryPage
from monitoring.metrics.sealing import gone_before
from monitoring.models import BulkJob, Execution
from monitoring.pages.empty import first_has_come, first_steps, is_waiting_for_the_first
from monitoring.pages.export import FORMS
from monitoring.pages.filters import USUAL_TRIGGERS, Filters
from monitoring.pages.gone import gone_of, has_removed
from monitoring.pages.histogram import HEIGHT, has_histogram, shape_of
from monitoring.pages.news import news, news_url
from monitoring.pages.rows import rows_of
from monitoring.pages.since_version import led_to_version, since_version_link
from monitoring.pages.time_range import RangeLink, shareable_range
from monitoring.prepared import fetch_all
from tenants.access import TenantRequest, tenant_member
from tenants.models import Role
from tenants.parts import render_part

PAGE_SIZE: Final = 50
EVER: Final = dt.timedelta(days=3_650)
"""As far back as "all time" looks."""


@tenant_member(Role.VIEWER)
@require_safe
@vary_on_headers("HX-Request", "HX-Target")
@shareable_range
def execution_list(request: TenantRequest, slug: str) -> HttpResponse:
    """Executions that match the address' filters, newest first; the whole page or a part of it."""
    if is_waiting_for_the_first(request):
        return first_has_come()
    filters = Filters(request)
    if filters.typed is not None and not filters.query_problems:
        return redirect(request.path + filters.address())
    if len(filters.workflow_ids) == 1 and (led := led_to_version(request, *filters.workflow_ids)):
        return led
    part = request.headers.get("HX-Target")
    if part == "shape":
        return HttpResponse() if filters.trouble else _shape(request, filters)
    if part == "news":
        return news(request, filters)
    if part == "filter-workflows":
        context = {"names": filters.workflow_suggestions()}
        return render(request, "monitoring/executions.html#suggestions_part", context)
    page = _page(request, filters)
    context = _list_context(request, filters, page)
    return render_part(request, "monitoring/executions.html", context, {"list": "list_part"})


def _page(request: TenantRequest, filters: Filters) -> HistoryPage:
    try:
        return history.page(
            filters.query,
            after=request.GET.get("after") or None,
            before=request.GET.get("before") or None,
            limit=PAGE_SIZE,
            whole_messages=False,
        )
    except BrokenCursor as error:
        raise BadRequest(str(error)) from error


def _list_context(request: TenantRequest, filters: Filters, page: HistoryPage) -> dict[str, Any]:
    context: dict[str, Any] = {
        "filters": filters,
        "time_range": replace(filters.time_range, more=_more_ranges(request, filters, page)),
        "page": page,
        "rows": rows_of(page.rows, request.tenant.slug, filters.address()),
        "triggers": USUAL_TRIGGERS,
        "open_jobs": _open_jobs(request),
        "newer_url": page.newer and filters.address(before=page.newer),
        "older_url": page.older and filters.address(after=page.older),
        "first_url": filters.address() if page.newer else None,
        "shape_url": filters.address(),
        "news_url": news_url(filters, page),
        "clear_url": filters.cleared_address,
        "shape_height": HEIGHT,
        "has_histogram": has_histogram(filters.query),
        "month_url": filters.address("start", "end", range="30d"),
        "ever_url": filters.address("range", "end", start=f"{timezone.now() - EVER:%Y-%m-%d}"),
        **_action_urls(request.tenant.slug, filters.address()),
    }
    if not page.rows and page.newer is None and page.older is None:
        context["is_new"] = not Execution.objects.exists() and not has_removed()
        if context["is_new"]:
            context |= first_steps(request)
        elif not filters.trouble:
            context["gone"] = gone_of(filters.query, filters.time_range.range)
    return context


_ANY_OPEN_JOB: Final = """
SELECT 1 FROM monitoring_bulkjob
WHERE tenant_id = %s AND state IN ('waiting', 'running') LIMIT 1"""


def _more_ranges(
    request: TenantRequest, filters: Filters, page: HistoryPage
) -> tuple[RangeLink, ...]:
    """The time since the newest version, where the list is about one workflow."""
    if len(filters.workflow_ids) != 1 or not any(row.version for row in page.rows):
        return ()
    return (since_version_link(request, "Since its newest version"),)


def _open_jobs(request: TenantRequest) -> list[BulkJob]:
    """Deletions under way, for those who may see them."""
    if not request.membership.may(Role.ADMIN):
        return []
    # There is hardly ever one, and to ask for whole rows costs several times as much.
    if not fetch_all(_ANY_OPEN_JOB, [request.tenant.pk]):
        return []
    return list(BulkJob.objects.filter(state__in=BulkJob.OPEN)[:3])


def _action_urls(slug: str, query: str) -> dict[str, str]:
    """Where exports and the buttons of the selection lead: with the same filters."""
    exports = {
        f"export_{form}_url": reverse("monitoring:executions-export", args=[slug, form]) + query
        for form in FORMS
    }
    return exports | {"delete_url": reverse("monitoring:executions-delete", args=[slug]) + query}


def _shape(request: TenantRequest, filters: Filters) -> HttpResponse:
    """The histogram, the total and the exports of all, which come after the list."""
    shape = shape_of(filters.query, filters.time_range.range)
    links = [(bar, filters.address("range", start=bar.start, end=bar.end)) for bar in shape.bars]
    context = {
        "shape": shape,
        "gone_before": gone_before(request.tenant.pk, filters.time_range.range.start),
        "links": links,
        "shape_height": HEIGHT,
        "has_histogram": has_histogram(filters.query),
        **_action_urls(request.tenant.slug, filters.address()),
    }
    return render(request, "monitoring/executions.html#shape_part", context)
