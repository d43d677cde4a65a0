"""Pages of lists that scans make: they don't change, so a cursor is a position in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.db.models import Model, QuerySet

from monitoring.api.answers import Page, Pagination
from monitoring.api.finding import broken_cursor
from monitoring.api.parameters import CURSOR, OFFSET
from tenants.api_access import ApiRequest

Row = TypeVar("Row", bound=Model)
T = TypeVar("T")

_LONGEST = 18  # digits of a position or an id that PostgreSQL can hold


def page_of(
    request: ApiRequest, rows: QuerySet[Row], shown: Callable[[Row], T], limit: int
) -> Page[T]:
    """The page of `rows` (ordered) that `cursor` or `offset` asks for. Raises 400."""
    cursor, offset = CURSOR.of(request), OFFSET.of(request)
    start = number_of(cursor) if cursor else offset
    found = list(rows[start : start + limit + 1])
    return paged(found, shown, limit, offset, rows.count(), str(start + limit))


def page_after(
    request: ApiRequest, rows: QuerySet[Row], shown: Callable[[Row], T], limit: int
) -> Page[T]:
    """A page of `rows` newest first; the cursor is the last one's id, so new rows move nothing."""
    cursor, offset = CURSOR.of(request), OFFSET.of(request)
    older = rows.filter(pk__lt=number_of(cursor)) if cursor else rows
    found = list(older.order_by("-pk")[offset : offset + limit + 1])
    last = str(found[limit - 1].pk) if len(found) > limit else ""
    return paged(found, shown, limit, offset, rows.count(), last)


def paged(
    found: list[Any], shown: Callable[[Any], T], limit: int, offset: int, total: int, cursor: str
) -> Page[T]:
    """The page of one row more than `limit`; `cursor` is where the next one begins."""
    has_more = len(found) > limit
    pagination = Pagination(
        total=total,
        limit=limit,
        offset=offset,
        has_more=has_more,
        next_cursor=cursor if has_more else None,
    )
    return Page([shown(row) for row in found[:limit]], pagination)


def number_of(cursor: str) -> int:
    """The number that a cursor is. Raises 400."""
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= _LONGEST):
        raise broken_cursor()
    return int(cursor)
