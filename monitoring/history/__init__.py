"""The history of executions: filters, pages by position, neighbours, finding by id.

Every question is answered from an index, or by scanning a bounded slice: a filter is split into
branches (ranges of one index each, walked in the order of ids) and a rest that is compared row by
row. Without a rest a page is exact and costs the same wherever it lies; with one it may come short
and says how far it has searched. All of this runs in a tenant's scope.
"""

from monitoring.history.beside import (
    Neighbours,
    attempts_of,
    children_of,
    last_success_before,
    neighbours,
)
from monitoring.history.counting import Count, SameError, Shown, count, count_news, same_error_since
from monitoring.history.finding import find_by_any_id, get, of_ids
from monitoring.history.paging import ITERATED, Chunk, HistoryPage, chunk, iterate, page
from monitoring.history.query import BrokenCursor, ExecutionQuery, cursor_of

__all__ = [
    "ITERATED",
    "BrokenCursor",
    "Chunk",
    "Count",
    "ExecutionQuery",
    "HistoryPage",
    "Neighbours",
    "SameError",
    "Shown",
    "attempts_of",
    "children_of",
    "chunk",
    "count",
    "count_news",
    "cursor_of",
    "find_by_any_id",
    "get",
    "iterate",
    "last_success_before",
    "neighbours",
    "of_ids",
    "page",
    "same_error_since",
]
