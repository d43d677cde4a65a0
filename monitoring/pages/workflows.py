"""The list of workflows: who fails, who is slow, who got worse."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from django.http import HttpResponse, QueryDict
from django.views.decorators.http import require_safe

from monitoring.models import Environment, Workflow
from monitoring.pages.addresses import execution_urls, workflow_urls
from monitoring.pages.empty import first_has_come, first_steps, is_waiting_for_the_first
from monitoring.pages.figures import as_percent, title_of
from monitoring.pages.rows import reason
from monitoring.pages.time_range import page_range, shareable_range
from monitoring.recent import Recent, signs
from monitoring.words import Status
from monitoring.workflow_list import BUSIEST, PAGE_SIZE, Listing, ListPage, Order, list_workflows
from tenants.access import TenantRequest, tenant_member
from tenants.models import Role
from tenants.parts import render_part
from tenants.ui.numbers import thousands

DEFAULT_ORDER: Final = Order.FAILURES
LAST_PAGE: Final = 200
LONGEST_SEARCH: Final = 255
_ORDERS: Final = {order.value: order for order in Order}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for; nonsense counts as not said."""

    search: str
    environment_id: int | None
    order: Order
    reverse: bool
    page: int

    @classmethod
    def by(cls, query: QueryDict) -> Asked:
        """Read `q`, `environment`, `sort` ("failures", reversed "-failures") and `page`."""
        sort = query.get("sort", "")
        known = _ORDERS.get(sort.removeprefix("-"))
        return cls(
            search=query.get("q", "").replace("\x00", "").strip()[:LONGEST_SEARCH],
            environment_id=_number(query.get("environment", ""), most=2**63 - 1),
            order=known or DEFAULT_ORDER,
            reverse=known is not None and sort.startswith("-"),
            page=_number(query.get("page", ""), most=LAST_PAGE) or 1,
        )


@dataclass(frozen=True, slots=True)
class Column:
    """A column's head; `sort` is the word that a click on it puts into the address."""

    label: str
    sort: str
    aria_sort: str
    is_number: bool


@dataclass(frozen=True, slots=True)
class WorkflowRow:
    """One workflow; rates are percentages, `change` percentage points."""

    name: str
    external_id: str
    url: str
    environment: str
    status: str
    going: str
    total: int
    failed: int
    partial: int
    rate: float | None
    tone: str
    change: float | None
    p50: float | None
    p95: float | None
    spark: Sequence[float | None]
    last: dt.datetime | None
    reason: str
    failure_url: str


@tenant_member(Role.VIEWER)
@require_safe
@shareable_range
def workflow_list(request: TenantRequest, slug: str) -> HttpResponse:
    """Show workflows with their numbers in the range, in any order, a page at a time."""
    if is_waiting_for_the_first(request):
        return first_has_come()
    shown, asked = page_range(request), Asked.by(request.GET)
    found = list_workflows(
        shown.range,
        order=asked.order,
        reverse=asked.reverse,
        search=asked.search,
        environment_id=asked.environment_id,
        page=asked.page,
    )
    is_new = not found.count and not Workflow.objects.exists()
    context = {
        "time_range": shown,
        "asked": asked,
        "columns": _columns(asked),
        "rows": _rows(found.rows, slug),
        "count": found.count,
        "summary": _summary(found, asked),
        "newer_page": asked.page - 1 if asked.page > 1 else None,
        "older_page": asked.page + 1 if asked.page * PAGE_SIZE < found.ordered else None,
        "environments": list(Environment.objects.all()),
        "is_new": is_new,
        "may_upload": request.membership.may(Role.OPERATOR),
        **(first_steps(request) if is_new else {}),
    }
    return render_part(request, "monitoring/workflows.html", context, {"list": "list_part"})


def _columns(asked: Asked) -> list[Column]:
    heads = (
        ("Workflow", Order.NAME),
        ("Executions", Order.EXECUTIONS),
        ("Failures", Order.FAILURES),
        ("Failure rate", Order.RATE),
        ("p95", Order.P95),
        ("Last run", Order.LAST),
    )
    return [_column(label, order, asked) for label, order in heads]


def _column(label: str, order: Order, asked: Asked) -> Column:
    is_current = order is asked.order
    ascends = (order is Order.NAME) != asked.reverse
    return Column(
        label,
        sort=f"-{order.value}" if is_current and not asked.reverse else order.value,
        aria_sort=("ascending" if ascends else "descending") if is_current else "",
        is_number=order not in (Order.NAME, Order.LAST),
    )


def _rows(listings: Sequence[Listing], slug: str) -> list[WorkflowRow]:
    workflow_url, execution_url = workflow_urls(slug), execution_urls(slug)
    shown_by = signs({each.workflow.pk: each.last for each in listings if each.last})
    return [
        _row(each, shown_by.get(each.workflow.pk, (None, None)), workflow_url, execution_url)
        for each in listings
    ]


def _row(
    listing: Listing,
    shown_by: tuple[Recent | None, Recent | None],
    workflow_url: Callable[[int], str],
    execution_url: Callable[[uuid.UUID], str],
) -> WorkflowRow:
    workflow, totals, failure = listing.workflow, listing.totals, listing.last_failure
    rate = as_percent(totals.failure_rate)
    sign, going = shown_by
    return WorkflowRow(
        name=title_of(workflow),
        external_id=workflow.external_id,
        url=workflow_url(workflow.pk),
        environment=workflow.environment.name,
        status=sign.shown if sign else "unknown",
        going=going.shown if going else "",
        total=totals.total,
        failed=totals.failed,
        partial=totals.count(Status.PARTIAL),
        rate=rate,
        tone="bad" if totals.failed else "good",
        change=listing.change,
        p50=totals.percentile(50),
        p95=totals.percentile(95),
        spark=[point.totals.total or None for point in listing.points],
        last=listing.last.started_at if listing.last else None,
        reason=reason(failure.node_name, failure.reason) if failure else "",
        failure_url=execution_url(failure.id) if failure else "",
    )


def _summary(found: ListPage, asked: Asked) -> str:
    if not found.rows:
        return ""
    first = (asked.page - 1) * PAGE_SIZE + 1
    said = (
        f"{thousands(first)}–{thousands(first + len(found.rows) - 1)} of {thousands(found.count)}"
    )
    if found.ordered < found.count:
        return f"{said}; p95 is compared among the {BUSIEST} with the most executions"
    return said


def _number(text: str, most: int) -> int | None:
    """A positive whole number up to `most`, else None."""
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(most))
    return int(text) if is_number and 0 < int(text) <= most else None
