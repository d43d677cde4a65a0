"""What came since a list was shown: the quiet "12 new" above it, asked for every few seconds."""

from __future__ import annotations

from typing import Final

from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone

from monitoring import history
from monitoring.history import BrokenCursor, HistoryPage
from monitoring.ids import uuid_floor
from monitoring.pages.filters import Filters
from tenants.access import TenantRequest

MOST_NEW: Final = 100
"""Counted up to here; more is "99+", and nothing is asked any more."""

UNCHANGED: Final = 204
STOP_ASKING: Final = 286
"""The status by which htmx swaps the answer and ends polling."""


def news_url(filters: Filters, page: HistoryPage) -> str | None:
    """Where to ask what came since `page`; None where nothing can come."""
    is_first = page.newer is None and not filters.params.keys() & {"after", "before"}
    if filters.trouble or not is_first or filters.query.end is not None:
        return None
    if not page.rows:
        return filters.address(since=history.cursor_of(uuid_floor(timezone.now())))
    asked = {"since": history.cursor_of(page.rows[0].id), "rows": str(len(page.rows))}
    if page.older is not None or page.searched_to is not None:
        asked |= {"from": history.cursor_of(page.rows[-1].id), "rows": str(len(page.rows) - 1)}
    return filters.address(**asked)


def news(request: TenantRequest, filters: Filters) -> HttpResponse:
    """How many executions came to the page; no content while it is what the page says already.

    One indexed question, which compares no more rows than a page of the list does.
    """
    rows = request.GET.get("rows", "0")
    if not (rows.isascii() and rows.isdigit() and len(rows) < 4):
        raise BadRequest("This address was not made here.")
    shown = history.Shown(request.GET.get("since", ""), request.GET.get("from"), int(rows))
    try:
        number = history.count_news(filters.query, shown, MOST_NEW)
    except BrokenCursor as error:
        raise BadRequest(str(error)) from error
    if str(number) == request.GET.get("shown", "0"):
        return HttpResponse(status=UNCHANGED)
    context = {
        "number": number,
        "said": f"{MOST_NEW - 1}+" if number == MOST_NEW else str(number),
        "list_url": filters.address("since", "from", "rows", "shown"),
    }
    status = STOP_ASKING if number == MOST_NEW else 200
    return render(request, "monitoring/executions.html#news_part", context, status=status)
