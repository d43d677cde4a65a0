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


def count_newer(query: ExecutionQuery, cursor: str, at_most: int) -> int:
    """How many matches stand before a cursor, counted up to `at_most`; raises BrokenCursor.

    Where rows must be compared, those that one page compares at most are counted.
    """
    found = find(plan_of(query), position_in(cursor), True, need=at_most, columns="ids")
    return len(found.rows)


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
