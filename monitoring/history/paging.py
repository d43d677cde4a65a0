"""Pages by position, and walks through all that match."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from monitoring.history.plan import plan_of
from monitoring.history.query import ExecutionQuery, cursor_of, position_in
from monitoring.history.reading import Columns, attach_names, find, skip
from monitoring.ids import time_of
from monitoring.models import Execution

ITERATED: Final = 200
"""Rows of one step through many: error messages come whole, up to 64 KB each."""


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Executions, newest first, and the cursors to go on with (None: nothing there).

    `searched_to` is set when the search stopped before the page was full: how far it came. Going on
    from there is what the cursor in that direction does.
    """

    rows: list[Execution]
    older: str | None
    newer: str | None
    searched_to: dt.datetime | None


def page(
    query: ExecutionQuery,
    *,
    after: str | None = None,
    before: str | None = None,
    offset: int = 0,
    limit: int = 50,
    whole_messages: bool = True,
) -> HistoryPage:
    """One page of matching executions, newest first.

    `after` and `before` are a page's `older` and `newer`; rows that arrive meanwhile move nothing.
    `offset` skips so many matches beyond. Rows have their workflow and environment, no payload, and
    `reason`, the beginning of the error's message; without `whole_messages` only what a list shows
    (`LIST_FIELDS`). Raises BrokenCursor.
    """
    ascending = before is not None
    position = position_in(before if before is not None else after)
    plan, start = plan_of(query), position
    if offset:
        skipped = skip(plan, position, ascending, offset)
        if skipped.last is None:
            return _paged([], position, ascending, False, skipped.stopped_at)
        start = skipped.last
    columns: Columns = "whole" if whole_messages else "light"
    found = find(plan, start, ascending, need=limit + 1, columns=columns)
    rows = found.rows[:limit]
    has_more = len(found.rows) > limit
    if ascending:
        rows.reverse()
    attach_names(rows)
    return _paged(rows, position, ascending, has_more, None if has_more else found.stopped_at)


def _paged(
    rows: list[Execution],
    position: uuid.UUID | None,
    ascending: bool,
    has_more: bool,
    stopped_at: uuid.UUID | None,
) -> HistoryPage:
    """Put cursors at the ends: onwards where there may be more, back to where one came from."""
    first, last = (rows[0].id, rows[-1].id) if rows else (position, position)
    edge = first if ascending else last
    onwards = stopped_at or (edge if has_more else None)
    back = (last if ascending else first) if position is not None else None
    older, newer = (back, onwards) if ascending else (onwards, back)
    return HistoryPage(
        rows,
        older=cursor_of(older) if older else None,
        newer=cursor_of(newer) if newer else None,
        searched_to=time_of(stopped_at) if stopped_at else None,
    )


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of all that match; `resume_at` is where the next one begins (None: that was all)."""

    rows: list[Execution]
    resume_at: uuid.UUID | None


def chunk(
    query: ExecutionQuery, after: uuid.UUID | None, size: int, *, ids_only: bool = False
) -> Chunk:
    """The next matching executions after that id, newest first, without their names.

    It may be empty although more follow, where a filter finds nothing for a while.
    """
    columns: Columns = "ids" if ids_only else "whole"
    found = find(plan_of(query), after, False, need=size, columns=columns)
    last = found.rows[-1].id if len(found.rows) == size else None
    return Chunk(found.rows, last or found.stopped_at)


def iterate(query: ExecutionQuery, *, size: int = ITERATED) -> Iterator[list[Execution]]:
    """Every matching execution, newest first, in lists of at most `size`, each read by itself.

    Lists may be empty (see `chunk`). Executions that arrive later than the first are not met.
    """
    position: uuid.UUID | None = None
    while True:
        found = chunk(query, position, size)
        attach_names(found.rows)
        yield found.rows
        position = found.resume_at
        if position is None:
            return
