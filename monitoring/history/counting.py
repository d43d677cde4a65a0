"""How many match, and how often an error was seen."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from monitoring.history.plan import plan_of
from monitoring.history.query import ExecutionQuery, position_in
from monitoring.history.reading import count_ids, edge_of, find
from monitoring.models import Execution
from monitoring.prepared import prepared


@dataclass(frozen=True, slots=True)
class Count:
    """How many match; not exact: at least that many."""

    number: int
    is_exact: bool


def count(query: ExecutionQuery, at_most: int = 10_000) -> Count | None:
    """How many match, counted up to `at_most`; None where only a long scan could tell."""
    plan = plan_of(query)
    branches = plan.branches
    if not branches:
        return Count(0, is_exact=True)
    if plan.rest is not None:
        if edge_of(branches, False, at_most + 1) is not None:
            return None
        branches = [branch.filter(plan.rest) for branch in branches]
    number = count_ids(branches, at_most + 1)
    return Count(min(number, at_most), is_exact=number <= at_most)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a first page showed: cursors of its ends, and how many rows beside the oldest end.

    `oldest` None: the page held all, so that what is older is new as well.
    """

    newest: str
    oldest: str | None
    rows: int


def count_news(query: ExecutionQuery, shown: Shown, at_most: int) -> int:
    """How many matches came since a page was shown, counted up to `at_most`; raises BrokenCursor.

    Also those that began earlier than its newest row: told at their end, or matching only now. What
    left the page since (deleted, or matching no more) hides as many of them. Where rows must be
    compared only newer ones are counted, as many as one page compares at most.
    """
    plan, newest, oldest = plan_of(query), position_in(shown.newest), position_in(shown.oldest)
    assert newest is not None
    if plan.rest is not None:
        return len(find(plan, newest, True, need=at_most, columns="ids").rows)
    rows = find(plan, oldest, True, need=at_most + shown.rows, columns="ids").rows
    newer = sum(row.id > newest for row in rows)
    return min(at_most, max(newer, len(rows) - shown.rows))


@dataclass(frozen=True, slots=True)
class SameError:
    """How often an error was seen of late; `is_exact` False: at least."""

    number: int
    workflows: int
    is_exact: bool


def same_error_since(fingerprint: bytes, since: dt.datetime, at_most: int = 1_000) -> SameError:
    """Count the executions with this fingerprint since then, at most that many."""
    found = Execution.objects.filter(fingerprint=fingerprint).started_between(since, None)
    with prepared():
        workflows = list(found.order_by("-id").values_list("workflow_id", flat=True)[: at_most + 1])
    return SameError(min(len(workflows), at_most), len(set(workflows)), len(workflows) <= at_most)
